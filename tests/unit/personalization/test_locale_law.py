"""The law on amounts, dates, times and phone numbers: by language and zone, constants and columns, slots and loops."""

from collections.abc import Callable
from datetime import UTC, date, time

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

_WORDS = [
    "",
    "abc",
    "1234.50",
    "-0.005",
    "1e9",
    "２",
    "2026-02-30",
    "{{ x }}",
    "+4930123456",
    "👩‍👩‍👧",
    "אבג",
]
_TAGS = [
    "en",
    "de",
    "de-AT",
    "fr-CH",
    "pt-BR",
    "he",
    "ar-EG",
    "hi",
    "ja",
    "sv_SE",
    "zh-TW",
    "de-XX",
    "xx",
    "",
]
_ZONES = ["UTC", "America/New_York", "Asia/Kathmandu", "Europe/Dublin"]
_offsets = st.sampled_from(["", "Z", "+05:45", "-11:00"])
_iso = st.builds("{}{}".format, st.datetimes().map(lambda moment: moment.isoformat()), _offsets)
# A column of what fits, now and then with a null or what does not fit.
_CELLS: dict[str, tuple[pl.DataType, st.SearchStrategy[object], st.SearchStrategy[object]]] = {
    "amount": (pl.Decimal(20, 4), st.decimals(-(10**9), 10**9, places=4), st.none()),
    "number": (pl.Float64(), st.floats(-1e17, 1e17), st.none() | st.floats()),
    "whole": (pl.Int64(), st.integers(-(10**12), 10**12), st.none() | st.just(2**63 - 1)),
    "price": (
        pl.String(),
        st.decimals(-(10**15), 10**15, places=3).map(str),
        st.none() | st.sampled_from(_WORDS),
    ),
    "code": (
        pl.String(),
        st.sampled_from(["EUR", "USD", "jpy", "KWD", "CHF"]),
        st.sampled_from([None, "XYZ"]),
    ),
    "language": (pl.String(), st.sampled_from(_TAGS) | st.none(), st.just("-/-")),
    "zone": (pl.String(), st.sampled_from(_ZONES) | st.none(), st.sampled_from(["", "Europe", "../x"])),
    "day": (pl.Date(), st.dates(), st.none()),
    "seen": (pl.Datetime("us"), st.datetimes(), st.none()),
    "instant": (
        pl.Datetime("us", "Europe/Zurich"),
        st.datetimes(timezones=st.just(UTC)),
        st.none(),
    ),
    "due": (pl.String(), st.dates().map(date.isoformat) | _iso, st.none() | st.sampled_from(_WORDS)),
    "at": (pl.String(), _iso | st.times().map(time.isoformat), st.none() | st.sampled_from(_WORDS)),
    "phone": (
        pl.String(),
        st.sampled_from(["+4930123456", "+15551234567", "+999", "<b>"])
        | st.text(st.characters(codec="utf-8")),
        st.none(),
    ),
}
_code = st.sampled_from(["'EUR'", "'usd'", "'JPY'", "code", "code|default('GBP', true)"])
_locale = st.sampled_from(["", ", 'de'", ", 'he'", ", language", ", locale=language|lower"])
_zone = st.sampled_from(["", "", ", zone='Asia/Tokyo'", ", zone=zone"])
_width = st.sampled_from(["'short'", "'medium'", "'long'", "'full'"])
_day_format = _width | st.sampled_from(["'EEEE, d MMMM y'", "'d. MMM yy'", "\"QQQ w 'of' Y\""])
_clock_format = _width | st.sampled_from(["'HH:mm'", "'h:mm:ss.SSS a'", "'HH:mm xxx'", "'B'"])
_both_format = _width | st.sampled_from(["'y-MM-dd HH:mm'", "'EEE H VV'", "language"])
_format = "{}|{}({}{}{})".format
_printed = st.one_of(
    st.builds("{}|currency({}{})".format, st.sampled_from(["amount", "number", "whole", "price"]), _code, _locale),
    st.builds(_format, st.sampled_from(["day", "instant", "due"]), st.just("date"), _day_format, _locale, _zone),
    st.builds(_format, st.sampled_from(["seen", "instant", "at"]), st.just("time"), _clock_format, _locale, _zone),
    st.builds(_format, st.sampled_from(["seen", "instant", "due"]), st.just("datetime"), _both_format, _locale, _zone),
    st.sampled_from(["phone|phone", "phone|phone('international')", "day|date", "at|time", "seen|datetime",
                     "price|default('0', true)|currency('EUR')", "amount|currency('EUR')|upper", "3|currency(code)",
                     "'2026-01-31'|date('full', language)", "day|date|length", "(price|e)|currency('EUR')"]),
)  # fmt: skip
_wrapped = st.sampled_from(
    [
        "{{{{ {} }}}}",
        "{{{{ {} }}}}",
        "{{% for i in [1, 2] %}}{{{{ {} }}}} {{% endfor %}}",
        "{{% if code == 'EUR' %}}{{{{ {} }}}}{{% endif %}}",
        "{{% set text = {} %}}{{{{ text ~ '!' }}}}",
    ]
)
_templates = st.lists(st.builds(str.format, _wrapped, _printed), min_size=1, max_size=2).map(" & ".join)


@st.composite
def cases(draw: st.DrawFn) -> tuple[pl.DataFrame, str]:
    """A template, and an audience of 1–5 with the columns it reads."""
    template = draw(_templates)
    height = draw(st.integers(1, 5))
    columns = [pl.Series("code", ["EUR"] * height)]
    for name, (dtype, fitting, odd) in _CELLS.items():
        if name in template:
            cells = draw(st.sampled_from([*[fitting] * 9, fitting | odd]))
            values = draw(st.lists(cells, min_size=height, max_size=height))
            columns.append(pl.Series(name, values, dtype=dtype))
    return pl.DataFrame({column.name: column for column in columns}), template


# With test_law.py 2,000 examples: see there.
@settings(max_examples=10 * settings().max_examples)
@given(case=cases(), language=st.sampled_from(_TAGS))
def test_what_filters_by_language_write_is_the_same_in_columns_and_fragments(
    law: Callable[..., object], case: tuple[pl.DataFrame, str], language: str
) -> None:
    frame, template = case
    law(frame, language=language, html=template, text=template)

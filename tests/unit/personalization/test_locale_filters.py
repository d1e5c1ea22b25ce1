# ruff: noqa: E501  # templates and texts stay on one line
"""What amounts, dates, times and phone numbers look like: by language, currency, zone, format and kind of value."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal, localcontext
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from babel.numbers import format_currency
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.personalization.locale_filters import LocaleFilters
from comms_pipeline.personalization.locales import UnfitInput, locale_for
from comms_pipeline.personalization.message import TemplateSource, compile_message
from comms_pipeline.personalization.opaque import OpaqueRenderer

Law = Callable[..., list[str] | None]
_HTML = LocaleFilters(is_html=True)
_TEXT = LocaleFilters()


@pytest.mark.parametrize(
    ("amount", "code", "locale", "expected"),
    [
        ("1234.5", "EUR", None, "€1,234.50"),
        (1234.5, "EUR", "de", "1.234,50\xa0€"),
        (Decimal("1234.50"), "EUR", "de-AT", "€\xa01.234,50"),
        (1234567, "INR", "hi", "₹12,34,567.00"),
        ("1234.5", "CHF", "de-CH", "CHF\xa01’234.50"),
        ("1234.5", "usd", "pt_BR", "US$\xa01.234,50"),
        ("1234.5", "JPY", "ja", "￥1,235"),
        ("1234.5", "KWD", "en", "KWD\xa01,234.500"),
        ("-7", "USD", "en-US", "-$7.00"),
        (0.125, "EUR", "en", "€0.13"),
        (0.1, "EUR", "en", "€0.10"),
        ("-0.001", "EUR", "en", "€0.00"),
        (-0.0, "EUR", "en", "€0.00"),
        (" +7. ", "EUR", "en", "€7.00"),
        (10**18 - 1, "EUR", "en", "€999,999,999,999,999,999.00"),
        ("7", "EUR", "es-CH", "7,00\xa0€"),
        ("7", "EUR", "not a tag", "€7.00"),
        ("7", "DEM", "de", "7,00\xa0DEM"),
    ],
)  # fmt: skip
def test_amounts(amount: object, code: str, locale: str | None, expected: str) -> None:
    assert _HTML.currency(amount, code, locale) == expected


@pytest.mark.parametrize(
    ("filter_name", "value", "arguments", "expected"),
    [
        ("date", "2026-01-31", (), "Jan 31, 2026"),
        ("date", date(2026, 1, 31), ("short",), "1/31/26"),
        ("date", " 2026-01-31 ", ("long", "de"), "31. Januar 2026"),
        ("date", datetime.fromisoformat("2026-01-31T18:30:00"), ("full", "he"), "יום שבת, 31 בינואר 2026"),
        ("date", "2026-01-31", ("EEEE, d MMMM y", "fr"), "samedi, 31 janvier 2026"),
        ("date", "2026-01-31", ("d 'of' MMMM", "en"), "31 of January"),
        ("date", "2026-01-31T23:30:00Z", ("medium", "en", "Asia/Tokyo"), "Feb 1, 2026"),
        ("date", "2026-01-31T23:30:00", ("medium", "en", "Asia/Tokyo"), "Jan 31, 2026"),
        ("date", "2026-01-31", ("medium", "en", "Asia/Tokyo"), "Jan 31, 2026"),
        ("date", "2026-01-01T00:30:00+02:00", (), "Jan 1, 2026"),
        ("time", "18:30", (), "6:30\u202fPM"),
        ("time", time(18, 30, 5), ("medium", "de"), "18:30:05"),
        ("time", time(18, 30, 5), ("full", "de"), "18:30:05"),
        ("time", "T18:30:05", ("HH'h'mm",), "18h30"),
        ("time", "2026-07-31T18:30:00Z", ("short", "en", "America/New_York"), "2:30\u202fPM"),
        ("time", "2026-01-31T18:30:00Z", ("full", "de", "America/New_York"), "13:30:00 Nordamerikanische Ostküsten-Normalzeit"),
        ("datetime", "2026-01-31T18:30:00", (), "Jan 31, 2026, 6:30:00\u202fPM"),
        ("datetime", "2026-01-31 18:30", ("short", "de"), "31.01.26, 18:30"),
        ("datetime", "2026-01-31T18:30:00", ("long", "de"), "31. Januar 2026, 18:30:00"),
        ("datetime", "2026-01-31T18:30:00Z", ("long", "de", "Europe/Berlin"), "31. Januar 2026, 19:30:00 MEZ"),
        ("datetime", "2026-01-31T18:30:00+05:45", ("y-MM-dd HH:mm xxx",), "2026-01-31 18:30 +05:45"),
        ("datetime", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), ("d.M. HH:mm z", "de", "Europe/Berlin"), "25.10. 02:30 MESZ"),
        ("datetime", datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")), ("d.M. HH:mm z", "de"), "25.10. 02:30 MEZ"),
        ("phone", "+4930123456", (), "030 123456"),
        ("phone", "+4930123456", ("international",), "+49 30 123456"),
        ("phone", "+15551234567", ("national",), "(555) 123-4567"),
        ("phone", "+999123456789", (), "+999123456789"),
        ("phone", "030 123456", (), "030 123456"),
        ("phone", "+1 555 <b>", (), "+1 555 <b>"),
        ("phone", "", (), ""),
    ],
)  # fmt: skip
def test_dates_times_and_phone_numbers(filter_name: str, value: object, arguments: tuple[str, ...], expected: str) -> None:  # fmt: skip
    assert getattr(_HTML, filter_name)(value, *arguments) == expected


@pytest.mark.parametrize(
    ("filter_name", "value", "arguments", "problem"),
    [
        ("currency", None, ("EUR",), "no value (null)"),
        ("currency", "", ("EUR",), "text that is no number"),
        ("currency", "1,234.50", ("EUR",), "text that is no number"),
        ("currency", "1e9", ("EUR",), "text that is no number"),
        ("currency", "１２", ("EUR",), "text that is no number"),
        ("currency", "9" * 19, ("EUR",), "text that is no number"),
        ("currency", True, ("EUR",), "a value that is no number"),
        ("currency", [1], ("EUR",), "a value that is no number"),
        ("currency", float("nan"), ("EUR",), "a number too large to be an amount"),
        ("currency", Decimal("1E+999999999"), ("EUR",), "a number too large to be an amount"),
        ("currency", 10**18, ("EUR",), "a number too large to be an amount"),
        ("currency", 1, ("XYZ",), "an unknown currency"),
        ("currency", 1, (None,), "an unknown currency"),
        ("currency", 1, (["EUR"],), "an unknown currency"),
        ("currency", 1, ("EUR", 5), "a language that is no text"),
        ("date", None, (), "no value (null)"),
        ("date", "2026-02-30", (), "text that is no date"),
        ("date", "20260131", (), "text that is no date"),
        ("date", "18:30", (), "text that is no date"),
        ("date", 1_767_225_600, (), "a value that is no date"),
        ("date", "2026-01-31", ("lnog",), "a format that is no pattern of a date"),
        ("date", "2026-01-31", ("HH:mm",), "a format that is no pattern of a date"),
        ("date", "2026-01-31", ("",), "a format that is no pattern of a date"),
        ("date", "2026-01-31", ("d 'of",), "a format that is no pattern of a date"),
        ("date", "2026-01-31", ("y" * 101,), "a format that is no pattern of a date"),
        ("date", "2026-01-31", ("dddd",), "a format with too many letters for one field of a date"),
        ("date", "2026-01-31", (5,), "a format that is no text"),
        ("date", "2026-01-31", ("long", "de", "Europe"), "an unknown time zone"),
        ("date", "2026-01-31", ("long", "de", "../../etc/passwd"), "an unknown time zone"),
        ("date", "2026-01-31", ("long", "de", 5), "an unknown time zone"),
        ("date", "0001-01-01T00:00:00Z", ("long", "de", "America/New_York"), "a moment at the end of time"),
        ("time", "2026-01-31", (), "text that is no time of day"),
        ("time", date(2026, 1, 31), (), "a value that is no time of day"),
        ("time", "18:30", ("HH:mm z",), "a time without a zone, which its format shows"),
        ("datetime", "2026-01-31", (), "text that is no date with a time"),
        ("datetime", "18:30", (), "text that is no date with a time"),
        ("phone", None, (), "no value (null)"),
        ("phone", 4930123456, (), "a value that is no text"),
        ("phone", "+4930123456", ("short",), "an unknown style"),
    ],
)  # fmt: skip
def test_what_a_filter_cannot_use_is_refused(filter_name: str, value: object, arguments: tuple[object, ...], problem: str) -> None:  # fmt: skip
    with pytest.raises(UnfitInput) as caught:
        getattr(_HTML, filter_name)(value, *arguments)
    assert caught.value.problem == problem


@given(
    st.decimals(-(10**17), 10**17, places=5),
    st.sampled_from(["EUR", "JPY", "KWD", "CLF", "INR", "XAU"]),
    st.sampled_from(["en", "de-CH", "hi", "ar-EG", "he", "fa", "es", "pt-PT", "bn", "sv", "ne", "my"]),
)
def test_amounts_equal_babels_own(amount: Decimal, code: str, locale: str) -> None:
    # Babel writes minus zero, and no space between a code and a digit.
    amount = amount if abs(amount) > 1 else abs(amount)
    with localcontext(rounding=ROUND_HALF_UP):
        expected = format_currency(amount, code, locale=locale_for(locale))
    assert _HTML.currency(amount, code, locale).replace("\xa0", "") == expected.replace("\xa0", "")


def test_text_parts_have_plain_spaces() -> None:
    assert _TEXT.currency("7", "EUR", "fr") == "7,00 €"
    assert _TEXT.currency("1234567", "EUR", "fr") == "1 234 567,00 €"
    assert _TEXT.time("18:30") == "6:30 PM"
    assert _TEXT.datetime("2026-01-31T18:30") == "Jan 31, 2026, 6:30:00 PM"


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "€1,234.50 January 31, 2026"),
        ("de", "1.234,50 € 31. Januar 2026"),
        ("de-AT", "€ 1.234,50 31. Jänner 2026"),
        ("pt-BR", "€ 1.234,50 31 de janeiro de 2026"),
        ("de-XX-u-co-phonebk", "1.234,50 € 31. Januar 2026"),
        ("xx-YY", "€1,234.50 January 31, 2026"),
        ("", "€1,234.50 January 31, 2026"),
    ],
)
def test_one_text_in_two_languages_differs_in_columns_and_fragments(
    renderer: OpaqueRenderer, language: str, expected: str
) -> None:
    text = "{{ amount|currency('EUR') }} {{ due|date('long') }}"
    source = TemplateSource(name="t", text=f"{text}|{{% for i in [1] %}}{text}{{% endfor %}}", is_html=False)
    frame = pl.DataFrame({"amount": ["1234.5"], "due": ["2026-01-31"]})
    (group,) = compile_message({"t": source}, language=language).evaluate(frame, renderer=renderer)
    assert group.join("t").to_list() == [f"{expected}|{expected}"]


def test_arguments_may_be_columns(law: Law) -> None:
    frame = pl.DataFrame(
        {
            "amount": [1, 1, 1, 1],
            "code": ["EUR", "EUR", "JPY", "usd"],
            "language": ["de", "en", "xx", None],
            "at": ["2026-01-31T18:30:00Z"] * 4,
            "zone": ["Europe/Berlin", "America/New_York", None, "UTC"],
        }
    )
    template = "{{ amount|currency(code, language) }} {{ at|time('short', locale=language, zone=zone) }}"
    expected = ["1,00 € 19:30", "€1.00 1:30 PM", "¥1 6:30 PM", "$1.00 6:30 PM"]
    assert law(frame, text=template) == expected
    opaque = template.replace("language", "[language][0]").replace("zone=zone", "zone=[zone][0]")
    assert law(frame, text=opaque) == expected


def test_a_default_before_the_filter_stands_in_for_null(law: Law) -> None:
    frame = pl.DataFrame({"amount": [None, "7"], "due": [None, date(2026, 1, 31)]})
    template = "{{ amount|default('0', true)|currency('EUR') }} {{ due|default('2026-02-01', true)|date }} {{ nobody|default(3)|currency('EUR') }}"
    assert law(frame, text=template) == ["€0.00 Feb 1, 2026 €3.00", "€7.00 Jan 31, 2026 €3.00"]
    assert law(frame, text="{{ amount|currency('EUR') if amount else 'free' }}") == ["free", "€7.00"]
    assert law(frame, text="{{ amount|currency('EUR') }}") is None


def test_filters_work_on_the_items_of_a_loop_and_in_map(law: Law) -> None:
    frame = pl.DataFrame(
        {"lines": [[{"price": 9.5, "at": date(2026, 1, 31)}, {"price": 1200.0, "at": date(2026, 2, 1)}]]}
    )
    template = "{% for line in lines %}{{ line.at|date('short') }} {{ line.price|currency('EUR') }}; {% endfor %}{{ lines|map(attribute='price')|map('currency', 'EUR')|join(' + ') }}"
    assert law(frame, language="de", text=template) == [
        "31.01.26 9,50 €; 01.02.26 1.200,00 €; 9,50 € + 1.200,00 €"
    ]


def test_markup_is_not_mistaken_for_text(law: Law) -> None:
    frame = pl.DataFrame({"phone": ["<b>", "+4930123456"]})
    assert law(frame, html="{{ phone|phone }} {{ phone|safe|phone }}") == [
        "&lt;b&gt; <b>",
        "030 123456 030 123456",
    ]


def test_handlebars_names_of_upper_and_lower_are_known(law: Law) -> None:
    assert law(pl.DataFrame({"x": ["Straße"]}), text="{{ x|uppercase }} {{ x|lowercase }}") == [
        "STRASSE straße"
    ]

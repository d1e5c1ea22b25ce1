# ruff: noqa: E501  # templates and texts stay on one line
"""Hand-picked corners of the law: values whose column form could differ from Python's by a hair."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl
import pytest

Law = Callable[..., list[str] | None]


def _text(law: Law, template: str, **columns: object) -> list[str] | None:
    frame = pl.DataFrame(
        {
            name: column if isinstance(column, pl.Series) else pl.Series(column)
            for name, column in columns.items()
        }
    )
    return law(frame, text=template)


def test_floats_print_as_python_prints_them(law: Law) -> None:
    values = [0.1, -0.0, 1e16, 1e-5, 123456789.125, float("nan"), float("-inf"), 5e-324]
    assert _text(law, "{{ x }}", x=values) == [
        "0.1", "-0.0", "1e+16", "1e-05", "123456789.125", "nan", "-inf", "5e-324",
    ]  # fmt: skip


def test_zero_and_minus_zero_stay_apart_in_fragments(law: Law) -> None:
    assert _text(law, "{% for i in [x] %}{{ i }}{% endfor %}", x=[0.0, -0.0]) == ["0.0", "-0.0"]
    assert _text(law, "{{ x|list }}", x=[[0.0], [-0.0]]) == ["[0.0]", "[-0.0]"]


def test_decimals_keep_their_places(law: Law) -> None:
    tiny = pl.Series([Decimal("0.00000001"), Decimal("0")], dtype=pl.Decimal(20, 8))
    assert _text(law, "{{ x }}", x=[Decimal("1.50"), Decimal("0.00")]) == ["1.50", "0.00"]
    assert _text(law, "{{ x }}", x=tiny) == ["1E-8", "0E-8"]


def test_moments_print_as_python_prints_them(law: Law) -> None:
    naive = [
        datetime.fromisoformat("2024-01-02T03:04:05"),
        datetime.fromisoformat("0999-01-02T03:04:05.000678"),
    ]
    zurich = pl.Series(
        [datetime(2024, 10, 27, 0, 30, tzinfo=UTC), datetime(2024, 10, 27, 1, 30, tzinfo=UTC)]
    ).dt.convert_time_zone("Europe/Zurich")
    assert _text(law, "{{ x }}", x=naive) == ["2024-01-02 03:04:05", "0999-01-02 03:04:05.000678"]
    assert _text(law, "{{ x }}", x=zurich) == ["2024-10-27 02:30:00+02:00", "2024-10-27 02:30:00+01:00"]
    assert _text(law, "{{ x.strftime('%H:%M %Z') }}", x=zurich) == ["02:30 CEST", "02:30 CET"]
    assert zurich.dtype == pl.Datetime("us", ZoneInfo("Europe/Zurich").key)


@pytest.mark.parametrize(
    ("template", "x", "expected"),
    [
        ("{{ x + 1 }}", 2**63 - 1, "9223372036854775808"),
        ("{{ x * x }}", 2**40, "1208925819614629174706176"),
        ("{{ -x }}", -(2**63), "9223372036854775808"),
        ("{{ x / 2 }}", 2**53 + 1, "4503599627370496.0"),
        ("{{ x // 2 }} {{ x % 3 }}", -7, "-4 2"),
        ("{{ x == 9007199254740993.0 }}", 2**53 + 1, "False"),
        ("{{ x == true }}", 1, "True"),
        ("{{ x * 0.1 }}", 3, "0.30000000000000004"),
        ("{{ 1 < x < 5 }}", 3, "True"),
    ],
)  # fmt: skip
def test_whole_numbers_do_not_overflow_or_round(law: Law, template: str, x: int, expected: str) -> None:
    assert _text(law, template, x=[x]) == [expected]


def test_nan_equals_nothing(law: Law) -> None:
    assert _text(law, "{{ x == x }} {{ x != 1 }} {{ x < 1 }}", x=[float("nan")]) == ["False True False"]


def test_none_prints_none_and_is_not_missing(law: Law) -> None:
    template = "{{ x }} {{ x is defined }} {{ x is none }} {{ x|default('d') }} {{ x|default('d', true) }} {{ x ~ '!' }}"
    assert _text(law, template, x=["a", None]) == ["a True False a a a!", "None True True None d None!"]


def test_none_in_arithmetic_fails(law: Law) -> None:
    assert _text(law, "{{ x + 1 }}", x=[1, None]) is None


def test_a_condition_guards_what_follows(law: Law) -> None:
    template = "{% if x is not none and x > 1 %}{{ x + 1 }}{% elif x %}{{ 10 / x }}{% endif %}"
    assert _text(law, template, x=[5, 1, None, 0]) == ["6", "10.0", "", ""]


def test_an_inline_if_guards_what_follows(law: Law) -> None:
    assert _text(law, "{{ (10 / x if x else 'none') ~ '' }}", x=[5, 0]) == ["2.0", "none"]
    assert _text(law, "{{ 'many' if x > 1 }}", x=[5, 0]) == ["many", ""]


def test_structs_and_lists_are_reached_into(law: Law) -> None:
    places = [{"city": "Bern", "geo": {"lat": 1.5}}, {"city": None, "geo": {"lat": 2.0}}]
    template = "{{ x.city }} {{ x['geo'].lat }} {{ y[0] }} {{ y[-1] }} {{ y|length }} {{ y|join('-') }}"
    assert _text(law, template, x=places, y=[["a"], ["b", "c"]]) == ["Bern 1.5 a a 1 a", "None 2.0 b c 2 b-c"]


def test_markup_is_escaped_once(law: Law) -> None:
    frame = pl.DataFrame({"x": ["<&'\">", "a"]})
    template = "{{ x }}|{{ x|e }}|{{ x|safe }}|{{ x|upper }}|{% set y %}<i>{{ x }}</i>{% endset %}{{ y }}|{{ y ~ x }}"
    assert law(frame, html=template) == [
        "&lt;&amp;&#39;&#34;&gt;|&lt;&amp;&#39;&#34;&gt;|<&'\">|&lt;&amp;&#39;&#34;&gt;|<i>&lt;&amp;&#39;&#34;&gt;</i>|"
        "<i>&lt;&amp;&#39;&#34;&gt;</i>&lt;&amp;&#39;&#34;&gt;",
        "a|a|a|A|<i>a</i>|<i>a</i>a",
    ]


def test_data_stays_data(law: Law) -> None:
    hostile = ["{{ 7*7 }}", "-s1-", "a\r\nBcc: b", "{% if x %}", "s0", "$1 \\1 %s {0}", "\x00"]
    assert _text(law, "{{ x }}{{ x|replace('a', x) if false else '' }}", x=hostile) == hostile


@pytest.mark.parametrize("series", [
    pl.Series(["a", "b"], dtype=pl.Categorical), pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])),
    pl.Series([1.1, 2.5], dtype=pl.Float32), pl.Series([1, 255], dtype=pl.UInt8), pl.Series([2**64 - 1, 0], dtype=pl.UInt64),
    pl.Series([None, None]), pl.Series([[], [None]], dtype=pl.List(pl.Int8)),
])  # fmt: skip
def test_unusual_column_types_print_as_python_values(law: Law, series: pl.Series) -> None:
    assert _text(law, "{{ x }} {{ x is none }} {{ [x] }}", x=series) is not None

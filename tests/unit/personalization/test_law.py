"""The law, on generated templates and audiences: columns, groups and fragments together equal Jinja2's own output."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

_SCHEMA = pl.Schema(
    {
        "name": pl.String,
        "company": pl.String,
        "age": pl.Int64,
        "points": pl.Int32,
        "score": pl.Float64,
        "vip": pl.Boolean,
        "joined": pl.Date,
        "seen": pl.Datetime("us"),
        "price": pl.Decimal(12, 2),
        "tags": pl.List(pl.String),
        "counts": pl.List(pl.Int64),
        "address": pl.Struct({"city": pl.String, "zip": pl.Int64, "geo": pl.Struct({"lat": pl.Float64})}),
        "lines": pl.List(pl.Struct({"title": pl.String, "amount": pl.Float64})),
    }
)
_WORDS = ["", "Ann", "o'brien & söhne", "<b>bold</b>", "{{ name }}", "-s1-", "אבג", "👩‍👩‍👧 ok", "ß ŉ İ", "a\r\nb",
          "  pad\t", "\x1c", "ΑΣ", "ǆ", "$1 %s", "{% if %}", "12", "3.7", "&amp;", "long words that go on and on"]  # fmt: skip
_text = st.sampled_from(_WORDS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_whole = st.sampled_from([0, 1, 2, -1, 7, 2**53 + 1, 2**62, -(2**63)]) | st.integers(-100, 100)
_number = st.sampled_from([0.0, -0.0, 0.1, 1e16, 1e-5, 2.5, 1e300, float("nan"), float("inf")]) | st.floats()
_CELLS: dict[str, st.SearchStrategy[object]] = {
    "name": _text,
    "company": _text,
    "age": _whole,
    "points": st.integers(-(2**31), 2**31 - 1) | st.integers(0, 9),
    "score": _number,
    "vip": st.booleans(),
    "joined": st.dates(),
    "seen": st.datetimes() | st.just(datetime(2024, 2, 29, 12, 30)),
    "price": st.decimals(-(10**6), 10**6, places=2),
    "tags": st.lists(_text | st.none(), max_size=3),
    "counts": st.lists(_whole, max_size=3),
    "address": st.fixed_dictionaries(
        {
            "city": _text | st.none(),
            "zip": _whole,
            "geo": st.fixed_dictionaries({"lat": _number}) | st.none(),
        }
    ),
    "lines": st.lists(st.fixed_dictionaries({"title": _text, "amount": _number}), max_size=3),
}


@st.composite
def audiences(draw: st.DrawFn) -> pl.DataFrame:
    """A frame of 1–6 contacts: some columns absent, some with nulls, most without."""
    height = draw(st.integers(1, 6))
    absent = draw(st.sets(st.sampled_from(list(_CELLS)), max_size=2))
    columns = []
    for name, cell in _CELLS.items():
        if name in absent:
            continue
        cells = draw(st.sampled_from([cell, cell, cell | st.none(), st.none()]))
        values = draw(st.lists(cells, min_size=height, max_size=height))
        columns.append(pl.Series(name, values, dtype=_SCHEMA[name]))
    return pl.DataFrame(columns)


_names = st.sampled_from([*_CELLS, *_CELLS, "x", "y", "nobody"])
_constants = st.sampled_from(
    ["'a'", "'<i>'", "''", '"\\"quoted\\""', "1", "0", "2", "2.5", "true", "false", "none", "'é'", "-3"]
)
_attributes = st.sampled_from(
    ["address.city", "address.zip", "address.geo.lat", "address['city']", "address.nowhere", "address.items()",
     "tags[0]", "tags[-1]", "name[0]", "name[:2]", "name[1:]", "counts[1]", "lines[0].title", "name.upper()",
     "joined.year", "name.__class__", "loop"]
)  # fmt: skip
_FILTERS = ["upper", "lower", "title", "capitalize", "trim", "length", "first", "last", "e", "safe", "urlencode",
            "striptags", "int", "float", "string", "abs", "round", "round(1)", "join", "join(', ')", "join('<')",
            "default('x')", "default('<', true)", "d(name)", "d(0, true)", "replace('a', '<b>')", "truncate(6)",
            "truncate(3, true, '')", "trim('a')", "list", "sum", "sort", "reverse", "wordcount", "tojson", "center(9)",
            "replace('n', 'N', 1)", "escape", "count"]  # fmt: skip
_TESTS = ["defined", "undefined", "none", "not none", "string", "number", "even", "odd", "divisibleby(3)", "mapping",
          "eq 1", "gt 3", "in ['a', 'Ann']", "boolean", "integer", "float", "sequence", "true"]  # fmt: skip


def _joined(pattern: str) -> Callable[..., str]:
    return lambda *parts: pattern.format(*parts)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "==", "!=", "<", ">=", "and", "or", "~", "in", "not in"])
    return st.one_of(
        st.builds(_joined("{}|{}"), inner, st.sampled_from(_FILTERS)),
        st.builds(_joined("{}|{}"), inner, st.sampled_from(_FILTERS)),
        st.builds(_joined("({} {} {})"), inner, operators, inner),
        st.builds(_joined("({} {} {})"), inner, operators, _constants),
        st.builds(_joined("({} ~ {} ~ {})"), inner, inner, inner),
        st.builds(_joined("({} is {})"), inner, st.sampled_from(_TESTS)),
        st.builds(_joined("({} if {} else {})"), inner, inner, inner),
        st.builds(_joined("({} if {})"), inner, inner),
        st.builds(_joined("(not {})"), inner),
        st.builds(_joined("(-{})"), inner),
        st.builds(_joined("({} in ['a', 'Ann', ''])"), inner),
        st.builds(_joined("'%.2f'|format({})"), inner),
        st.builds(_joined("({} < {} < 9)"), inner, inner),
        st.builds(_joined("[{}, {}]"), inner, inner),
        st.builds(_joined("({}|default({}))"), inner, inner),
        st.builds(_joined("m({})"), inner),
    )


_expressions = st.recursive(_names | _names | _attributes | _constants, _compound, max_leaves=4)
_literals = st.sampled_from(["", " ", "Hi ", "<p>\n", "& co", "\n", "{# c #}", "{% raw %}{{ x }}{% endraw %}", "{{ 'c' }}"])


def _statement(body: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    targets = st.sampled_from(["x", "y", "name"])
    return st.one_of(
        st.builds(_joined("{{% if {} %}}{}{{% endif %}}"), _expressions, body),
        st.builds(_joined("{{% if {} %}}{}{{% elif {} %}}{}{{%- else %}}{}{{% endif %}}"),
                  _expressions, body, _expressions, body, body),
        st.builds(_joined("{{% set {} = {} %}}"), targets, _expressions),
        st.builds(_joined("{{% set x, y = {}, {} %}}"), _expressions, _expressions),
        st.builds(_joined("{{% set {} %}}{}{{% endset %}}"), targets, body),
        st.builds(_joined("{{% set {} | upper %}}{}{{% endset %}}"), targets, body),
        st.builds(_joined("{{% for x in {} %}}{}{{{{ loop.index }}}}{{% else %}}none{{% endfor %}}"), _expressions, body),
        st.builds(_joined("{{% macro m(a) %}}[{{{{ a }}}}{}]{{% endmacro %}}"), body),
        st.builds(_joined("{{% with x = {} %}}{}{{% endwith %}}"), _expressions, body),
        st.builds(_joined("{{% filter upper %}}{}{{% endfilter %}}"), body),
        st.builds(_joined("{{% call m(1) %}}{}{{% endcall %}}"), body),
        st.builds(_joined("{{% autoescape false %}}{{{{ {} }}}}{{% endautoescape %}}"), _expressions),
        st.sampled_from(["{% include 'greeting' %}", "{% import 'macros' as k %}{{ k.badge(name) }}"]),
    )  # fmt: skip


def _sequence(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    printed = st.builds(_joined("{{{{ {} }}}}"), _expressions)
    pieces = st.one_of(printed, printed, _literals, inner, _statement(inner))
    return st.lists(pieces, min_size=1, max_size=4).map("".join)


_templates = st.recursive(
    st.builds(_joined("{}{{{{ {} }}}}"), _literals, _expressions), _sequence, max_leaves=3
)
_INCLUDES = {
    "greeting": "Dear {{ name|default('friend') }}{% set y = 1 %}{{ x|default('-') }}\n",
    "macros": "{% macro badge(text) %}<i>{{ text }}</i>{% endmacro %}",
}


@given(frame=audiences(), html=_templates, text=_templates, max_groups=st.sampled_from([32, 32, 2, 1]))
@example(
    frame=pl.DataFrame({"name": ["a"], "joined": [date(1, 1, 1)], "price": [Decimal("1.50")]}),
    html="{{ price }}{{ joined }}",
    text="{{ name }}",
    max_groups=1,
)
def test_what_is_joined_equals_what_jinja2_writes(
    law: Callable[..., object], frame: pl.DataFrame, html: str, text: str, max_groups: int
) -> None:
    law(frame, includes=_INCLUDES, max_groups=max_groups, html=html, text=text)

"""The law, on generated templates and audiences: columns, groups and fragments together equal Jinja2's own output."""

import re
from collections.abc import Callable, Container
from datetime import date, datetime
from decimal import Decimal

import polars as pl
from hypothesis import example, given, settings
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
_WORDS = [
    *[
        "",
        "Ann",
        "o'brien & söhne",
        "<b>bold</b>",
        "{{ name }}",
        "-s1-",
        "אבג",
        "👩‍👩‍👧 ok",
        "ß ŉ İ",
        "a\r\nb",
        "  pad\t",
        "\x1c",
    ],
    *["ΑΣ", "ǆ", "$1 %s", "{% if %}", "12", "3.7", "&amp;", "long words that go on and on"],
]
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
    "seen": st.datetimes() | st.just(datetime.fromisoformat("2024-02-29T12:30")),
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
def audiences(draw: st.DrawFn, used: Container[str]) -> pl.DataFrame:
    """A frame of 1–6 contacts with the columns used: some absent, some with nulls, most without."""
    height = draw(st.integers(1, 6))
    names = [name for name in _CELLS if name in used]
    absent = draw(st.sets(st.sampled_from(names), max_size=1)) if len(names) > 1 else ()
    columns = []
    for name, cell in _CELLS.items():
        if name not in names or name in absent:
            continue
        cells = draw(st.sampled_from([*[cell] * 8, cell | st.none(), st.none()]))
        values = draw(st.lists(cells, min_size=height, max_size=height))
        columns.append(pl.Series(name, values, dtype=_SCHEMA[name]))
    return pl.DataFrame(columns)


def _joined(pattern: str) -> Callable[..., str]:
    return lambda *parts: pattern.format(*parts)


def _built(pattern: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(_joined(pattern), *parts)


_TEXTS = [
    *[
        "name",
        "company",
        "address.city",
        "x",
        "name[:2]",
        "name[1:]",
        "tags|join(', ')",
        "'a'",
        "'<i>'",
        "''",
        "'é'",
    ],
]
_NUMBERS = ["age", "points", "score", "price", "address.zip", "y", "1", "0", "2", "2.5", "-3", "10", "true"]
_OTHERS = [
    *[
        "vip",
        "joined",
        "seen",
        "tags",
        "counts",
        "address",
        "lines",
        "none",
        "nobody",
        "tags[0]",
        "tags[-1]",
        "name[0]",
    ],
    *[
        "counts[1]",
        "lines[0].title",
        "address.geo.lat",
        "address['city']",
        "address.nowhere",
        "address.items()",
        "loop",
    ],
    *["name.upper()", "joined.year", "name.__class__", "joined|date", "seen|datetime('long', 'de')"],
]
_TEXT_FILTERS = ["upper", "lower", "title", "capitalize", "trim", "e", "safe", "urlencode", "striptags", "string",
                 "default('x')", "default('<', true)", "d(company)", "replace('a', '<b>')", "truncate(6)",
                 "truncate(3, true, '')", "trim('a')", "center(9)", "replace('n', 'N', 1)", "escape", "phone",
                 "uppercase", "lowercase"]  # fmt: skip
_NUMBER_FILTERS = ["abs", "round", "round(1)", "int", "float", "default(2)", "d(0, true)", "currency('EUR')"]
_FILTERS = [*_TEXT_FILTERS, *_NUMBER_FILTERS, "length", "count", "first", "last", "join", "join('<')", "list", "sum",
            "sort", "reverse", "wordcount", "tojson", "currency('CHF', name)", "date", "datetime('short')"]  # fmt: skip
_TESTS = ["defined", "undefined", "none", "not none", "string", "number", "mapping", "boolean", "integer", "float",
          "sequence", "true", "eq 1", "in ['a', 'Ann']", "even", "odd", "divisibleby(3)", "gt 3"]  # fmt: skip


def _text_compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    filtered = _built("{}|{}", inner, st.sampled_from(_TEXT_FILTERS))
    chosen = _built("({} if {} else {})", inner, _conditions, inner)
    return (
        filtered
        | filtered
        | chosen
        | _built("({} ~ {} ~ {})", inner, inner, _numbers)
        | _built("({} + {})", inner, inner)
    )


def _number_compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    filtered = _built("{}|{}", inner, st.sampled_from(_NUMBER_FILTERS))
    return (
        filtered
        | _built("({} {} {})", inner, st.sampled_from("+-*/%"), inner)
        | _built("(-{})", inner)
        | _built("({}|length)", _simple_texts)
    )


_simple_texts = st.sampled_from(_TEXTS)
_numbers = st.recursive(st.sampled_from(_NUMBERS), _number_compound, max_leaves=3)
_conditions = st.one_of(
    st.sampled_from(
        ["vip", "name", "age", "tags", "not vip", "nobody", "company is none", "nobody is defined"]
    ),
    _built(
        "({} {} {})", _simple_texts, st.sampled_from(["==", "!=", "<", ">=", "in", "not in"]), _simple_texts
    ),
    _built("({} {} {})", _numbers, st.sampled_from(["==", "!=", "<", ">="]), _numbers),
    _built("({} in ['a', 'Ann', ''])", _simple_texts),
    _built("({} is {})", st.sampled_from([*_TEXTS, *_NUMBERS, *_OTHERS]), st.sampled_from(_TESTS)),
    _built("(vip {} {})", st.sampled_from(["and", "or"]), _simple_texts),
)
_texts = st.recursive(_simple_texts, _text_compound, max_leaves=4)


def _wild(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "==", "<", "and", "or", "~", "in", "not in"])
    return st.one_of(
        _built("{}|{}", inner, st.sampled_from(_FILTERS)),
        _built("({} {} {})", inner, operators, inner),
        _built("({} if {})", inner, inner),
        _built("(not {})", inner),
        _built("'%.2f'|format({})", inner),
        _built("({} < {} < 9)", inner, inner),
        _built("[{}, {}]", inner, inner),
        _built("({}|default({}))", inner, inner),
        _built("m({})", inner),
    )


_anything = st.recursive(st.sampled_from([*_TEXTS, *_NUMBERS, *_OTHERS]), _wild, max_leaves=3)
_expressions = st.one_of(_texts, _texts, _texts, _numbers, _numbers, _conditions, _anything)
_literals = st.sampled_from(
    ["", " ", "Hi ", "<p>\n", "& co", "\n", "{# c #}", "{% raw %}{{ x }}{% endraw %}", "{{ 'c' }}"]
)


def _statement(body: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    targets = st.sampled_from(["x", "y", "name"])
    return st.one_of(
        st.builds(_joined("{{% if {} %}}{}{{% endif %}}"), _conditions, body),
        st.builds(_joined("{{% if {} %}}{}{{% elif {} %}}{}{{%- else %}}{}{{% endif %}}"),
                  _conditions, body, _conditions, body, body),
        st.builds(_joined("{{% set {} = {} %}}"), targets, _expressions),
        st.builds(_joined("{{% set x, y = {}, {} %}}"), _expressions, _expressions),
        st.builds(_joined("{{% set {} %}}{}{{% endset %}}"), targets, body),
        st.builds(_joined("{{% set {} | upper %}}{}{{% endset %}}"), targets, body),
        st.builds(_joined("{{% for x in {} %}}{}{{{{ loop.index }}}}{{% else %}}none{{% endfor %}}"),
                  st.sampled_from(["tags", "counts", "lines", "name", "age"]), body),
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
_PREAMBLE = "{% set x = company|default('c') %}{% set y = 2 %}{% macro m(a) %}({{ a }}){% endmacro %}"
_INCLUDES = {
    "greeting": "Dear {{ name|default('friend') }}{% set y = 1 %}{{ x|default('-') }}\n",
    "macros": "{% macro badge(text) %}<i>{{ text }}</i>{% endmacro %}",
}


@st.composite
def cases(draw: st.DrawFn) -> tuple[pl.DataFrame, str, str]:
    """An audience and two templates; drawing columns that neither reads would take half of the time."""
    html, text = draw(_templates), draw(_templates)
    used = {"name", "company", *re.findall(r"\w+", html + text)}
    return draw(audiences(used)), html, text


# With test_locale_law.py 2,000 examples: each draws 10 times what the profile says, which is 100 (tests/conftest.py).
@settings(max_examples=10 * settings().max_examples)
@given(case=cases(), max_groups=st.sampled_from([32, 32, 2, 1]))
@example(
    case=(
        pl.DataFrame({"name": ["a"], "joined": [date(1, 1, 1)], "price": [Decimal("1.50")]}),
        "{{ price }}{{ joined }}",
        "{{ name }}",
    ),
    max_groups=1,
)
def test_what_is_joined_equals_what_jinja2_writes(
    law: Callable[..., object], case: tuple[pl.DataFrame, str, str], max_groups: int
) -> None:
    frame, html, text = case
    law(frame, includes=_INCLUDES, max_groups=max_groups, html=_PREAMBLE + html, text=_PREAMBLE + text)

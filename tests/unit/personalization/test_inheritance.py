# ruff: noqa: E501  # templates and texts stay on one line
"""Includes, imports and blocks joined at compile time: the same text as Jinja2, or a clear refusal."""

from collections.abc import Callable

import polars as pl
import pytest

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.personalization.message import TemplateSource, compile_message

_FRAME = pl.DataFrame({"name": ["Ann", "<Bob>"], "vip": [True, False], "tags": [["a", "b"], []]})
_INCLUDES = {
    "base": "{% set tone = 'calm' %}<head>{% block head %}base {{ name }}{% endblock %}</head>\n"
    "{% block body %}{% block inner %}inner of base{% endblock %}{% endblock %}{% if vip %}{% block foot %}{% endblock %}{% endif %}",
    "middle": "{% extends 'base' %}{% block head %}middle ({{ super() }}){% endblock %}",
    "list": "{% for tag in tags %}{% block item scoped %}{{ tag }}{% endblock %}{% endfor %}",
    "needs": "{% block must required %}{% endblock %}",
    "row": "{% set cell = name %}[{{ cell }}/{{ tag|default('-') }}]\n",
    "sets": "{% set name = 'hidden' %}{{ name }}",
    "macros": "{% set sign = '!' %}{% macro shout(text) %}<b>{{ text|upper }}{{ sign }}</b>{% endmacro %}",
}


@pytest.mark.parametrize(
    "text",
    [
        "{% extends 'base' %}",
        "{% extends 'middle' %}{% block head %}top [{{ super() }}] {{ super() }}{% endblock %} ignored",
        "{% extends 'base' %}{% block inner %}{{ name|upper }}{{ tone }}{% endblock %}{% block foot %}bye{% endblock %}",
        "{% extends 'base' %}{% block body %}{{ super() }} and more{% endblock %}",
        "before {% set tone = 'loud' %}{% extends 'base' %}{% set name = 'set' %}{% block body %}{{ name }}{% endblock %}",
        "{% extends 'base' %}{% macro m(x) %}({{ x }}){% endmacro %}{% block body %}{{ m(name) }}{% endblock %}",
        "{% extends 'base' %}{% block body %}{% set x = 1 %}{% include 'row' %}{{ x }}{% endblock %}",
        "{% extends 'list' %}{% block item %}<{{ tag }}{{ name }}>{% endblock %}",
        "{% extends 'needs' %}{% block must %}filled{% endblock %}",
        "{% block a %}{{ name }}{% endblock %} {% block b %}{% set name = 'x' %}{{ name }}{% endblock %} {{ name }}",
        "{% include 'row' %}{% include 'nothing' ignore missing %}{% include 'sets' %}{{ name }}",
        "{% for tag in tags %}{% include 'row' %}{% set name = tag %}{% endfor %}",
        "{% include 'sets' %}{% set name = 'later' %}{{ name }}",
        "{% set tag %}{% include 'row' %}{% endset %}{{ tag }}",
        "{% import 'macros' as m %}{{ m.shout(name) }}{{ m.sign }}",
        "{% from 'macros' import shout as s, sign %}{{ s('a' ~ name) }}{% if vip %}{{ sign }}{% endif %}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ x }}{% endmacro %}{% set x = name %}{{ a() }}",
        "{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% set x = 2 %}{{ m() }}",
        "{% set x = [name] %}{% set y = x + [1] %}{{ y }}{{ y|length }}{% set x = 5 %}{{ x }}{{ y }}",
        "{% set x = tags %}{% if vip %}{% set x = x + ['v'] %}{% endif %}{{ x|join('+') }}",
        "{% set a, b = name, vip %}{{ b }}{{ a }}",
        "{% autoescape false %}{{ name }}{% endautoescape %}{{ name }}{% filter lower %}{{ name }}{% endfilter %}",
        "{% macro box() %}[{{ caller(name) }}]{% endmacro %}{% call(n) box() %}{{ n }}{{ vip }}{% endcall %}",
        "{% raw %}{{ name }}{% endraw %}{# no #}{{- name -}}  \n{%- if vip -%}  yes  {%- endif %}\n",
        "{%- set x -%} a {{ name }} {%- endset -%}|{{ x }}|\n\n",
    ],
)  # fmt: skip
def test_joined_templates_equal_jinja2(law: Callable[..., object], text: str) -> None:
    for max_groups in (32, 1):
        assert law(_FRAME, includes=_INCLUDES, max_groups=max_groups, html=text, text=text) is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{% if a %}{% extends 'base' %}{% endif %}", "extends must stand once"),
        ("{% extends 'base' %}{% if a %}b{% endif %}", "has this outside a block"),
        ("{% extends 'needs' %}", "block must is required"),
        ("{% block a %}{% endblock %}{% block a %}{% endblock %}", "defined twice"),
        (
            "{% for i in x %}{% block a %}{{ i }}{% endblock %}{% endfor %}",
            "block a stands inside another statement",
        ),
        (
            "{% block a %}{% set x = 1 %}{% block b %}{{ x }}{% endblock %}{% endblock %}",
            "block b cannot see x",
        ),
        ("{% block a %}{{ super() }}{% endblock %}", "super is available as"),
        ("{% block a %}{{ self.a() }}{% endblock %}", "self is not available"),
        ("{% autoescape false %}{% include 'row' %}{% endautoescape %}", "do not inherit autoescape"),
        ("{% import 'macros' as m with context %}", "import with context is not available"),
        ("{% include 'row' without context %}", "include without context is not available"),
        ("{% include ['row', 'list'] %}", "the template's name is not a constant"),
    ],
)
def test_what_cannot_be_joined_exactly_is_refused(text: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=problem):
        compile_message({"text": TemplateSource(name="t", text=text, is_html=False)}, includes=_INCLUDES)

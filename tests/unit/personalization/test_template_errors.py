# ruff: noqa: E501  # templates and texts stay on one line
"""What the author of a template reads when it is wrong: place, excerpt and fix, never a recipient's data."""

import polars as pl
import pytest

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.personalization.message import TemplateSource, compile_message
from comms_pipeline.personalization.opaque import OpaqueRenderer

_FRAME = pl.DataFrame(
    {
        "first_name": ["Ann", None, "Cid"],
        "address": [{"city": "Bern"}] * 3,
        "points": [1, 0, 2],
        "paid": ["7", "7", "abc"],
        "at": ["2026-01-31T18:30"] * 3,
    },
)


def _error(text: str, renderer: OpaqueRenderer | None = None, **includes: str) -> str:
    source = TemplateSource(name="a.html", text=text, is_html=True)
    with pytest.raises(TemplateError) as caught:
        compile_message({"html": source}, includes=includes).evaluate(_FRAME, renderer=renderer)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Hi\n{{ first_name }", "a.html:2:15: unexpected '}' in `{{ first_name }`. Correct the tag or expression here."),
        ("Hi {{ a b }}", "a.html:1:9: expected token 'end of print statement', got 'b' in `Hi {{ a b }}`. Correct the tag or expression here."),
        ("Hi {% if a %}", "a.html:1:12: unexpected end of template in `Hi {% if a %}`. Add the missing end tag."),
        ("{% fro x in y %}", "a.html:1:4: there is no tag fro in `{% fro x in y %}`. Did you mean from? Use the tags of Jinja2."),
        ("a\n\n  {{ first_name|uper }}", "a.html:3:17: there is no filter uper in `{{ first_name|uper }}`. Did you mean upper? Use a filter of Jinja2 or of this project."),
        ("{{ a is difined }}", "a.html:1:6: there is no test difined in `{{ a is difined }}`. Did you mean defined? Use a test of Jinja2 or of this project."),
        ("{{ paid|curency('EUR') }}", "a.html:1:9: there is no filter curency in `{{ paid|curency('EUR') }}`. Did you mean currency? Use a filter of Jinja2 or of this project."),
        ("{{ paid|currency }}", "a.html:1:9: filter currency: missing a required argument: 'code' in `{{ paid|currency }}`. Write it as in {{ value|currency('JPY', 'de') }}."),
        ("{{ at|date(zon='UTC') }}", "a.html:1:7: filter date: got an unexpected keyword argument 'zon' in `{{ at|date(zon='UTC') }}`. Write it as in {{ value|date('EEEE, d MMMM y', zone='Asia/Tokyo') }}."),
        ("{{ paid|currency('EURO') }}", "a.html:1:9: filter currency gets an unknown currency (EURO) in `{{ paid|currency('EURO') }}`. Write an ISO 4217 code such as EUR."),
        ("{{ paid|currency('EUR', 'english') }}", "a.html:1:9: filter currency gets an unknown language (english) in `{{ paid|currency('EUR', 'english') }}`. Write a language tag such as de or pt-BR."),
        ("{{ at|date('lnog') }}", "a.html:1:7: filter date gets a format that is no pattern of a date (lnog) in `{{ at|date('lnog') }}`. Use short, medium, long, full or a pattern such as EEEE, d MMMM y."),
        ("{{ at|time(zone='America/NewYork') }}", "a.html:1:7: filter time gets an unknown time zone (America/NewYork) in `{{ at|time(zone='America/NewYork') }}`. Write a zone of the IANA list, such as America/New_York."),
        ("{{ paid|phone('nice') }}", "a.html:1:9: filter phone gets an unknown style (nice) in `{{ paid|phone('nice') }}`. Write national or international."),
        ("{% include 'foter' %}", "a.html:1:4: there is no template foter in `{% include 'foter' %}`. Did you mean footer? Add it to the message's includes."),
        ("{% include name %}", "a.html:1:4: the template's name is not a constant in `{% include name %}`. Write the name in quotes."),
        ("{% extends 'loop' %}", "loop:1:4: loop includes itself, or too many others in `{% include 'loop' %}`. Break the circle."),
        ("{# open", "a.html:1:3: missing end of comment tag in `{# open`. Correct the tag or expression here."),
        ("{{ '\\ud800' }}", "a.html:1:4: text has half of a surrogate pair in `{{ '\\ud800' }}`. Write the character itself."),
        ("{% for i in x %}{{ y }}{% endfor %}{% set y = 1 %}", "a.html:1:39: y is read inside a block or loop before it is set here: Jinja2 finds it undefined there in `{% for i in x %}{{ y }}{% endfor %}{% set y = 1 %}`. Set it under another name."),
    ],
)  # fmt: skip
def test_compile_errors_name_place_excerpt_and_fix(text: str, error: str) -> None:
    assert _error(text, footer="bye", loop="{% include 'loop' %}") == error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Hi\n {{ frist_name }}", "a.html:2:5: frist_name is undefined for 3 of 3 recipients in `{{ frist_name }}`. Did you mean first_name? Guard it with default() or `is defined`."),
        ("{{ address.citi }}", "a.html:1:11: citi is undefined for 3 of 3 recipients in `{{ address.citi }}`. Did you mean city? Guard it with default() or `is defined`."),
        ("{{ frist_name|upper }}", "a.html:1:15: frist_name is undefined for 3 of 3 recipients in `{{ frist_name|upper }}`. Did you mean first_name? Guard it with default() or `is defined`."),
        ("{{ first_name + '!' }}", "a.html:1:4: values of the wrong type meet for 1 of 3 recipients in `{{ first_name + '!' }}`. Guard None with default(); convert with int, float or string."),
        ("x\n{{ 1 / points }}", "a.html:2:4: a number is divided by zero for 1 of 3 recipients in `{{ 1 / points }}`. Test the divisor first."),
        ("{% if points %}{{ none + points }}{% endif %}", "a.html:1:19: values of the wrong type meet for 2 of 3 recipients in `{% if points %}{{ none + points }}{% endif %}`. Guard None with default(); convert with int, float or string."),
        ("{{ paid|currency('USD') }}", "a.html:1:9: filter currency gets text that is no number for 1 of 3 recipients in `{{ paid|currency('USD') }}`. Pass a number or numeric text such as 1234.50."),
        ("{{ 'abc'|currency('USD') }}", "a.html:1:10: filter currency gets text that is no number for 3 of 3 recipients in `{{ 'abc'|currency('USD') }}`. Pass a number or numeric text such as 1234.50."),
        ("{{ first_name|date }}", "a.html:1:15: filter date gets text that is no date for 2 of 3 recipients in `{{ first_name|date }}`. Pass ISO 8601 text such as 2026-01-31, a date or a datetime."),
        ("{{ first_name|phone }}", "a.html:1:15: filter phone gets no value (null) for 1 of 3 recipients in `{{ first_name|phone }}`. Guard it with default(…, true) or `if`."),
        ("{{ paid[:1]|currency(first_name) }}", "a.html:1:13: filter currency gets an unknown currency for 2 of 3 recipients in `{{ paid[:1]|currency(first_name) }}`. Write an ISO 4217 code such as EUR."),
        ("{{ [7]|map('currency', 'EURO')|join }}", "a.html:1:32: filter currency gets an unknown currency (EURO) for 3 of 3 recipients in `{{ [7]|map('currency', 'EURO')|join }}`. Write an ISO 4217 code such as EUR."),
        ("{{ at|datetime('HH:mm z') }}", "a.html:1:7: filter datetime gets a time without a zone, which its format shows for 3 of 3 recipients in `{{ at|datetime('HH:mm z') }}`. Leave the zone out of the format, or pass a time with its offset."),
        ("{{ paid|round }}", "a.html:1:9: filter round gets a value of the wrong type for 3 of 3 recipients in `{{ paid|round }}`. Guard None with default(); convert with int, float or string."),
        ("{{ paid|filesizeformat }}", "a.html:1:9: filter filesizeformat gets a value of the wrong type for 1 of 3 recipients in `{{ paid|filesizeformat }}`. Guard None with default(); convert with int, float or string."),
        ("{{ nobody|currency('EUR') }}", "a.html:1:11: nobody is undefined for 3 of 3 recipients in `{{ nobody|currency('EUR') }}`. Guard it with default() or `is defined`."),
        ("{{ 7|currency(curency) }}", "a.html:1:6: curency is undefined for 3 of 3 recipients in `{{ 7|currency(curency) }}`. Guard it with default() or `is defined`."),
        ("{{ at|date(zone=zone) }}", "a.html:1:7: zone is undefined for 3 of 3 recipients in `{{ at|date(zone=zone) }}`. Guard it with default() or `is defined`."),
        ("{{ nobody|phone }}", "a.html:1:11: nobody is undefined for 3 of 3 recipients in `{{ nobody|phone }}`. Guard it with default() or `is defined`."),
        ("{% include 'part' %}", "part:2:4: nobody is undefined for 3 of 3 recipients in `{{ nobody }}`. Guard it with default() or `is defined`."),
        ("{% import 'macros' as m %}{{ m.f() }}", "macros:2: nobody is undefined for 3 of 3 recipients. Guard it with default() or `is defined`."),
    ],
)  # fmt: skip
def test_evaluation_errors_name_place_count_and_fix(renderer: OpaqueRenderer, text: str, error: str) -> None:
    macros = "{% macro f() %}\n{{ nobody }}{% endmacro %}"
    assert _error(text, renderer, part="\n{{ nobody }}", macros=macros) == error


def test_errors_never_repeat_data(renderer: OpaqueRenderer) -> None:
    frame = pl.DataFrame({"secret": ["Ann Example"], "box": [{"a": 1}]})
    for text in (
        "{{ box[secret] }}",
        "{{ secret + 1 }}",
        "{{ [1][secret] }}",
        "{{ secret.nothing }}",
        "{{ secret|currency('EUR') }}",
        "{{ 7|currency(secret) }}",
        "{{ '2026-01-31'|date(secret) }}",
        "{{ '2026-01-31'|date(zone=secret) }}",
        "{{ '+4930123456'|phone(secret) }}",
        "{{ secret|round }}",
    ):
        message = compile_message({"t": TemplateSource(name="t", text=text, is_html=False)})
        with pytest.raises(TemplateError) as caught:
            message.evaluate(frame, renderer=renderer)
        assert "Example" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_column_of_bytes_is_refused(renderer: OpaqueRenderer) -> None:
    message = compile_message({"t": TemplateSource(name="t", text="{{ blob }}", is_html=False)})
    with pytest.raises(TemplateError, match="a column it reads is of a type templates cannot hold"):
        message.evaluate(pl.DataFrame({"blob": [b"a"]}), renderer=renderer)

"""The text version of an HTML template: tags gone, words and expressions kept."""

import jinja2
import pytest

from comms_pipeline.planning.plain_text import derived_text, with_derived

PAGE = """\
<!doctype html>
<html>
<head>
{% include "partials/head.html" %}
<title>See you on Saturday</title>
<style>.card > p { color: #2f5d50; }</style>
</head>
<body>
<!--[if mso]><p>Only for Outlook</p><![endif]-->
<table role="presentation">
<tr><td>
  <h1>Ana &amp; Ben</h1>
  <p>Dear {{ name }},<br class="wide">only {% if days < 2 %}hours{% else %}{{ days }} days{% endif %} to go!</p>
  <ul><li>Doors 2:30&nbsp;pm</li><li>Dinner 5:30&nbsp;pm</li></ul>
  <a class="button" href="https://rsvp.example/?a=1&amp;g={{ guest_id }}">Answer <b>now</b></a>
</td></tr>
</table>
{% include "partials/footer.html" %}
</body>
</html>
"""


def test_a_page_becomes_lines_of_text():
    assert derived_text(PAGE) == (
        "Ana & Ben\n\n"
        "Dear {{ name }},\n"
        "only {% if days < 2 %}hours{% else %}{{ days }} days{% endif %} to go!\n\n"
        "Doors 2:30 pm\nDinner 5:30 pm\n\n"
        "Answer now (https://rsvp.example/?a=1&g={{ guest_id }})\n\n"
        '{% include "text-of:partials/footer.html" %}'
    )


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("{% if a < b and c > d %}<p>x</p>{% endif %}", "{% if a < b and c > d %}x\n{% endif %}"),
        ("<p>{{ '<b>' if a<b else '>' }}</p>", "{{ '<b>' if a<b else '>' }}"),
        ("<td>Ceremony</td><td>3 pm</td>", "Ceremony 3 pm"),
        ("<th>Due</th>\n<td>{{ due }}</td>", "Due\n{{ due }}"),
        ('<img alt="a > b" src="x.png">After', "After"),
        ("5 &lt; 6 &amp;&amp; 7 &gt; 6", "5 < 6 && 7 > 6"),
        ("Caf&eacute; &#8364;5 &mdash; d&#x27;or", "Café €5 — d'or"),
        ("<script>if (a < b) { x() }</script>Text", "Text"),
        ("a {# a <note> #} b", "a {# a <note> #} b"),
        ("<a href='mailto:x@y.example'>Write</a>", "Write (mailto:x@y.example)"),
        ('<a name="top">Top</a>', "Top"),
        ('<a href="{{ unsubscribe_url }}">Stop</a>', "Stop ({{ unsubscribe_url }})"),
        ("{%- include 'a.html' -%}", "{%- include 'text-of:a.html' -%}"),
        (
            '{% extends "base.html" %}{% block body %}<p>Hi</p>{% endblock %}',
            '{% extends "text-of:base.html" %}{% block body %}Hi\n{% endblock %}',
        ),
        (
            '{% from "macros.html" import button %}{% import "m.html" as m %}',
            '{% from "text-of:macros.html" import button %}{% import "text-of:m.html" as m %}',
        ),
        ("", ""),
    ],
)
def test_tags_go_and_expressions_stay(html, text):
    assert derived_text(html) == text


def test_braces_written_as_entities_stay_words():
    template = derived_text("<p>Write &#123;&#123; name &#125;&#125; or &#123;% if %&#125;</p>")

    assert jinja2.Template(template).render(name="Ada") == "Write {{ name }} or {% if %}"


def test_includes_layouts_and_macros_are_text_too():
    templates = {
        "base.html": "<body>{% block body %}{% endblock %}{% include 'footer.html' %}</body>",
        "footer.html": "<p>{{ postal_address }}</p>",
        "macros.html": '{% macro button(label, url) %}<a href="{{ url }}">{{ label }}</a>{% endmacro %}',
        "page.html": "{% extends 'base.html' %}{% block body %}{% from 'macros.html' import button %}"
        "<h1>Hi {{ name }}</h1>{{ button('Go', 'https://x.example') }}<br>{% endblock %}",
    }
    environment = jinja2.Environment(loader=jinja2.DictLoader(with_derived(templates)))

    text = environment.get_template("text-of:page.html").render(name="A & B", postal_address="1 Harbor Lane")

    assert text == "Hi A & B\nGo (https://x.example)\n1 Harbor Lane"
    assert with_derived(templates)["page.html"] == templates["page.html"]

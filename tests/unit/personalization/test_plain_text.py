"""The plain text of a page: what people see of it, links with their addresses, nothing hidden."""

import polars as pl
import pytest

from comms_pipeline.personalization.plain_text import plain_column, plain_text

PAGE = """\
<?xml version="1.0" encoding="utf-8"?>
<!doctype html>
<html>
<head>
<title>See you on Saturday</title>
<style>.card > p { color: #2f5d50; }</style>
</head>
<body>
<div style="display:none;max-height:0">When and where</div>
<!--[if mso]><p>Only for Outlook</p><![endif]-->
<table role="presentation">
<tr><td style="padding:40px"><img src="https://a.example/x.png" alt="Ana and Ben"></td></tr>
<tr><td align="center">
  <h1>Ana &amp; Ben</h1>
  <p>Dear Ada,<br class="wide">only 3 days   to go!</p>
  <ul><li>Doors 2:30&nbsp;pm</li><li>Dinner 5:30&nbsp;pm</li></ul>
  <table>
    <caption>Timetable</caption>
    <tr><th>3 pm</th><td>Ceremony</td></tr>
    <tr><th>8:30 pm</th><td>Music</td></tr>
  </table>
  <table role="presentation">
    <tr><td><a class="button" href="https://rsvp.example/?a=1&amp;g=2">Answer <b>now</b></a></td></tr>
  </table>
</td></tr>
</table>


<p></p><p></p>
<p>1 Harbor Lane</p>
</body>
</html>
"""


def test_a_page_becomes_lines_of_text():
    assert plain_text(PAGE) == (
        "[Ana and Ben]\n\n"
        "Ana & Ben\n\n"
        "Dear Ada,\n"
        "only 3 days to go!\n\n"
        "* Doors 2:30 pm\n* Dinner 5:30 pm\n"
        "Timetable\n3 pm     Ceremony\n8:30 pm  Music\n\n"
        "Answer now (https://rsvp.example/?a=1&g=2)\n\n"
        "1 Harbor Lane"
    )


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<table><tr><td>Ceremony</td><td>3 pm</td></tr></table>", "Ceremony  3 pm"),
        ('<img alt="a > b" src="x.png"> After', "[a > b] After"),
        ('<img alt="" src="x.png">After<img src="y.png">', "After"),
        ('<a href="https://x.example"><img alt="Go" src="x.png"></a>', "Go (https://x.example)"),
        ('<a href="https://x.example"><img src="x.png"></a>', "https://x.example"),
        ('<a href="https://x.example">https://x.example</a>', "https://x.example"),
        ("<a href='mailto:x@y.example'>x@y.example</a>", "x@y.example"),
        ("<a href='mailto:x@y.example'>Write</a>", "Write (mailto:x@y.example)"),
        ('<a href="https://x.example">See <b>here</b> </a>.', "See here (https://x.example)."),
        ('<a name="top">Top</a> <a href="#top">Up</a>', "Top Up"),
        ("5 &lt; 6 &amp;&amp; 7 &gt; 6", "5 < 6 && 7 > 6"),
        ("Caf&eacute; &#8364;5 &mdash; d&#x27;or", "Café €5 — d'or"),
        ("<script>if (a < b) { x() }</script>Text", "Text"),
        ("<p hidden>No</p><p>Yes</p>", "Yes"),
        ('<p>a<span style="color:red; DISPLAY : none">b</span>c</p>', "ac"),
        ("<p>one</p><br><br><br><p>two</p>", "one\n\ntwo"),
        ("<p>x</p><pre>a\n   b</pre>", "x\n\na\n   b"),
        ("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b"),
        ("", ""),
        (" <!-- x --> ", ""),
        ("just words", "just words"),
        ("مرحبا 🙂", "مرحبا 🙂"),
    ],
)
def test_what_is_seen_is_said(html, text):
    assert plain_text(html) == text


def test_a_column_of_pieces_is_read_where_it_is_markup():
    column = pl.Series(["Ada", "O&#39;Brien", "", "<li>A &amp; B</li><li>C</li>", "O&#39;Brien", "5 &lt; 6"])

    assert plain_column(column).to_list() == ["Ada", "O'Brien", "", "* A & B\n* C", "O'Brien", "5 < 6"]


def test_a_column_without_markup_stays_itself():
    column = pl.Series(["Ada", "Bo > Cy", ""])

    assert plain_column(column) is column

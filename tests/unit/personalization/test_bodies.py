"""Finished e-mail bodies: CSS in the tags, preheader, derived text, our own tracking. Slots stay what they were."""

import re
from html import escape, unescape

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comms_pipeline.domain.links import Links, UnsafeTarget
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import TokenKeys
from comms_pipeline.personalization.bodies import Bodies
from comms_pipeline.personalization.html_tags import start_tags
from comms_pipeline.personalization.inlining import inline_css
from comms_pipeline.personalization.message import RenderedGroup
from comms_pipeline.personalization.plain_text import plain_text
from comms_pipeline.personalization.slot_marks import SlotMarks

LINKS = Links(
    keys=TokenKeys.from_secret(b"a secret of this test"),
    public_url="https://mail.lakeside.example",
    organisation_id="lakeside",
    channel=Channel.EMAIL,
)
STYLE = (
    "<style>p { color: red; margin: 0 } .note { color: #333 !important }"
    " @media (max-width: 9px) { p { color: blue } }</style>"
)


def group(html, *slots, **parts):
    """A group of as many recipients as the slots have values; `html` and `parts` are skeletons."""
    columns = {f"s{number}": list(values) for number, values in enumerate(slots)}
    height = len(slots[0]) if slots else 1
    skeletons = {"html": html, **parts}
    return RenderedGroup(
        rows=pl.Series("row", range(height), dtype=pl.UInt32),
        parts={part: (text,) if isinstance(text, str) else text for part, text in skeletons.items()},
        slots=pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
        if slots
        else pl.DataFrame(height=1),
    )


def recipients(height):
    return pl.DataFrame(
        {
            "message_id": [f"{number:032x}" for number in range(height)],
            "contact_id": [f"{number:032x}" for number in range(height)],
            "address_key": [bytes(16)] * height,
        }
    )


def finished(given, tracking=None):
    return Bodies(tracking=tracking).finish(given, recipients(len(given.rows)))


def inlined(page):
    return inline_css(page, SlotMarks(character="\ue000")).text


def test_rules_go_into_the_tags_they_apply_to():
    page = f"<!DOCTYPE html>\n<head>{STYLE}</head><BODY><P class=\"note\">a &copy; b<br/>c</P ><p STYLE='margin:1px'>d"

    assert inlined(page) == (
        f'<!DOCTYPE html>\n<head>{STYLE}</head><BODY><P class="note" style="margin: 0;color: #333 !important">'
        'a &copy; b<br/>c</P ><p style="color: red;margin: 1px">d'
    ).replace('!important">', '!important;">')


@pytest.mark.parametrize(
    "page",
    [
        "<!doctype html><p class=x>a</p>",
        '<link rel="stylesheet" href="style.css"><p>a</p>',
        "<!-- <style>p { color: red }</style> --><p>a</p>",
        "<title><style>p { color: red }</style></title><p>a</p>",
        "",
        "5 < 6 & 7 > 6",
    ],
)
def test_a_page_without_rules_stays_byte_for_byte(page):
    assert inlined(page) == page


def test_no_file_is_read_and_nothing_but_style_changes(tmp_path):
    (tmp_path / "style.css").write_text("p { color: green }", encoding="utf-8")
    links = f'<link rel="stylesheet" href="{tmp_path}/style.css"><link rel=stylesheet href="http://127.0.0.1:9/x.css">'
    mso = "<!--[if mso]><table><tr><td><p>x</p><![endif]--><!--[if !mso]><!--><i>y</i><!--<![endif]-->"
    table = "<table><tr><td nowrap><b>é&nbsp;</b><img src=a.png></table>"
    page = f"<style>b {{ font-family: \"A B\", 'C' }}</style>{links}{mso}{table}"

    assert inlined(page) == page.replace("<b>", "<b style=\"font-family: 'A B', 'C';\">")


def test_slots_stand_where_they_stood():
    html = (
        f"{STYLE}<title>",
        0,
        "</title><table>",
        1,
        '<tr><td>x</td></tr></table><p title="',
        0,
        '" style="width:',
        2,
        'px">',
        1,
        "</p>",
    )

    done = finished(group(html, ["Hi"], ["a &amp; b"], ["7"]))

    assert done.parts["html"] == (
        f"{STYLE}<title>", 0, "</title><table>", 1, '<tr><td>x</td></tr></table><p title="', 0,
        '" style="color: red;margin: 0;width: ', 2, 'px">', 1, "</p>",
    )  # fmt: skip
    assert done.join("html")[0].endswith('width: 7px">a &amp; b</p>')


@pytest.mark.parametrize(
    "html",
    [
        (STYLE, '<p class="', 0, '">x</p>'),
        (STYLE, "<p ", 0, ">x</p>"),
        (STYLE, '<p style="', 0, '">x</p>'),
    ],
)
def test_a_tag_whose_style_a_slot_decides_is_left_to_the_style_element(html):
    joined = ("".join([html[0], html[1]]), *html[2:])

    done = finished(group((*joined[:-1], joined[-1] + "<p>y</p>"), ["note"]))

    assert done.parts["html"] == (*joined[:-1], joined[-1] + '<p style="color: red;margin: 0;">y</p>')


def test_what_cannot_be_read_stays_and_is_said():
    bodies = Bodies()

    done = bodies.finish(group(f'{STYLE}<p style="oops">a</p><tr><td>b</td></tr><p>c</p>'), recipients(1))

    assert done.parts["html"] == (
        f'{STYLE}<p style="oops">a</p><tr><td>b</td></tr><p style="color: red;margin: 0;">c</p>',
    )
    assert bodies.faults == (
        "the style of a <p> is not CSS",
        "a <tr> stands where mail programs ignore it",
        "a <td> stands where mail programs ignore it",
    )


def test_a_page_that_is_one_slot_keeps_its_rules_and_is_named():
    bodies = Bodies()
    given = group((0,), [f"{STYLE}<p>Ada</p>", f"{STYLE}<p>Bo</p>"])

    done = bodies.finish(given, recipients(2))

    assert done.join("html").to_list() == given.join("html").to_list()
    assert done.join("text").to_list() == ["Ada", "Bo"]
    assert len(bodies.faults) == 1


CONTENT = ["<p>%s</p>", "<b>%s</b>", "<td>%s</td>", "<div class=note>%s<p>x</p></div>", "<table>%s<tr><td>y</table>",
           "<!-- c --><i>%s</i>", "<title>%s</title>", "<p>a<p class='big note'>%s", "<li>%s", "<a href='#'>%s</a>",
           "<!--[if mso]>%s<![endif]-->", "%s"]  # fmt: skip
ATTRIBUTES = ['<a href="https://x.example/%s">x</a>', '<img alt="%s" class=note src="https://x.example/i.png">',
              "<p title='%s' style='margin:3px'>x</p>",
              '<td width="%s" style="color:blue!important">z</td>']  # fmt: skip
RULES = ["p { color: red }", ".note { margin: 0 }", "p.big { font: 17px/27px Georgia, serif }",
         "td, b { padding: 1px }",
         "* { box-sizing: border-box }", "p + p { color: green !important }", "a:hover { color: blue }",
         "div > p:first-child { margin: 1px }", "@media screen { p { color: pink } }", "i, title { x: y"]  # fmt: skip
words = st.text(st.characters(exclude_categories=["Cs", "Co", "Cc"]), min_size=1, max_size=12).filter(
    str.strip
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(RULES), max_size=5),
    st.lists(st.tuples(st.sampled_from(CONTENT + ATTRIBUTES), words), max_size=8),
)
def test_inlining_skeletons_equals_inlining_whole_messages(rules, pieces):
    head = f"<style>{' '.join(rules)}</style>"
    skeleton, slots = [head], []
    for template, word in pieces:
        before, after = template.split("%s")
        skeleton[-1] += before
        skeleton += [len(slots), after]
        slots.append([escape(word)])
    given_group = group(tuple(piece for piece in skeleton if piece != ""), *slots)

    done = finished(given_group)

    assert done.join("html")[0] == inlined(given_group.join("html")[0])
    styles = re.compile(r" style=(\"[^\"]*\"|'[^']*')")
    assert styles.sub("", done.join("html")[0]) == styles.sub("", given_group.join("html")[0])


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("<>/=\"'- !ab\n\ue001"), max_size=40))
def test_any_text_survives(page):
    done = finished(group((f"<style>a {{ b: c }}</style>{page}", 0), ["x"]))

    assert re.sub(r' style="b: c;?"', "", done.join("html")[0]) == f"<style>a {{ b: c }}</style>{page}x"


def test_tags_are_found_as_browsers_find_them():
    page = (
        "<!doctype html><p a b=1 C='>' d=\"<i>\"e>5 < 6<br/><!-- <b> --><!--><u><style><s></style x><title><s></TITLE>"
        "</p <q>><textarea><s></textarea><? <s> ><a href=x/y/>"
    )

    tags = list(start_tags(page))

    assert [tag.name for tag in tags] == ["p", "br", "u", "style", "title", "textarea", "a"]
    assert [(each.name, each.value) for each in tags[0].attributes] == [
        ("a", ""), ("b", "1"), ("c", ">"), ("d", "<i>"), ("e", ""),
    ]  # fmt: skip
    assert tags[-1].attribute("href").value == "x/y/"


@pytest.mark.parametrize(
    "filling", ["<p " + "a " * 50_000, "<p" + ' a="' * 20_000, "<" * 100_000, "<!--" * 30_000]
)
def test_long_nonsense_is_read_in_one_go(filling):
    assert list(start_tags(filling)) == []


def test_the_preheader_opens_the_body_and_is_hidden():
    given = group(
        '<html><head><title>t</title></head><body class="x"><p>Hello</p></body></html>',
        ["Ada &amp; Co"],
        preheader=("For ", 0),
        subject="s",
    )

    done = finished(given)

    page = done.join("html")[0]
    assert '<body class="x"><div style="display:none;' in page
    assert 'mso-hide:all;">For Ada &amp; Co&#847;&zwnj;&nbsp;' in page
    assert page.endswith("&nbsp;</div><p>Hello</p></body></html>")
    assert set(done.parts) == {"subject", "html", "text"}
    assert done.join("text")[0] == "Hello"


@pytest.mark.parametrize(
    ("page", "before"),
    [
        ("<p>x</p>", ""),
        ("<!doctype html><p>x</p>", "<!doctype html>"),
        ("<head></head><p>x</p>", "<head></head>"),
    ],
)
def test_a_page_without_a_body_has_a_preheader_too(page, before):
    done = finished(group(page, preheader="News"))

    assert done.join("html")[0].startswith(f'{before}<div style="display:none')
    assert finished(group(page, preheader=" ")).join("html")[0] == page


def test_the_text_part_says_what_the_page_says_to_each():
    html = (
        "<title>", 1, "</title><style>.off { display: none }</style><p class=off>hidden</p><p>Dear ", 0, "!</p><ul>", 2,
        '</ul><a href="', 3, '">Stop</a>',
    )  # fmt: skip
    given = group(
        html,
        ["O&#39;Brien", "Bo"],
        ["t", "t"],
        ["<li>A &amp; B</li><li><a href='https://x.example'>C</a></li>", ""],
        ["https://x.example/?a=1&amp;b=2", "https://x.example/"],
    )

    done = finished(given)

    assert done.join("text").to_list() == [
        "Dear O'Brien!\n\n* A & B\n* C (https://x.example)\nStop (https://x.example/?a=1&b=2)",
        "Dear Bo!\n\n\nStop (https://x.example/)",
    ]
    assert done.join("html")[0].count("O&#39;Brien") == 1


def test_slots_that_read_the_same_are_shared_by_page_and_text():
    done = finished(group(("<p>", 0, "</p>"), ["Ada", "Bo"]))

    assert done.parts["text"] == (0,)
    assert done.slots.columns == ["s0"]


def test_a_text_part_of_its_own_is_kept():
    done = finished(group(("<p>", 0, "</p>"), ["A &amp; B"], ["A & B"], text=("Hi ", 1)))

    assert done.parts["text"] == ("Hi ", 1)
    assert done.slots.columns == ["s0", "s1"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=9), min_size=4, max_size=4)
)
def test_deriving_from_skeletons_equals_deriving_from_whole_messages(names):
    html = (
        "<h1>", 0, "</h1><table role=presentation><tr><td>x ", 1, "</td></tr></table><ul><li>", 2,
        "</ul><a href='https://x.example/", 3, "'>go</a>",
    )  # fmt: skip
    given_group = group(html, *([escape(name)] for name in names))

    assert finished(given_group).join("text")[0] == plain_text(given_group.join("html")[0])


def test_literal_links_and_a_pixel_lead_by_way_of_us_when_we_track():
    html = (
        '<body><a href="https://x.example/?a=1&amp;b=2">1</a><a href=https://y.example>2</a>'
        '<a href="https://x.example/?a=1&amp;b=2">3</a><a href="', 0, '">Stop</a><a href="https://z.example/', 1,
        '">4</a><a href="mailto:a@b.example">5</a><a href="#x">6</a><a href="https://mail.lakeside.example/about">7</a>'
        '<link href="https://w.example"></body></html>',
    )  # fmt: skip
    given = group(
        html, ["https://mail.lakeside.example/u/1", "https://mail.lakeside.example/u/2"], ["a", "b"]
    )

    done = finished(given, tracking=LINKS)

    sent = recipients(2)
    one = LINKS.click_urls(sent, "https://x.example/?a=1&b=2").to_list()
    two = LINKS.click_urls(sent, "https://y.example").to_list()
    pixel = LINKS.open_urls(sent).to_list()
    for row, page in enumerate(done.join("html")):
        assert [unescape(link) for link in re.findall(r'<a href="?([^"> ]*)', page)] == [
            one[row], two[row], one[row], f"https://mail.lakeside.example/u/{row + 1}",
            f"https://z.example/{'ab'[row]}", "mailto:a@b.example", "#x", "https://mail.lakeside.example/about",
        ]  # fmt: skip
        assert f'<link href="https://w.example"><img src="{pixel[row]}" width="1"' in page
        assert page.endswith(';"></body></html>')
    assert done.join("text")[0].startswith("1 (https://x.example/?a=1&b=2)")


def test_the_trap_is_the_last_thing_of_the_page_and_nobody_meets_it():
    bodies = Bodies(trap=LINKS)

    done = bodies.finish(group(("<body><p>Hi ", 0, "</p></body>"), ["Ada", "Bo"]), recipients(2))

    traps = LINKS.trap_urls(recipients(2)).to_list()
    for row, page in enumerate(done.join("html")):
        (trap,) = [tag for tag in start_tags(page) if tag.name == "a"]
        told = {
            name: trap.attribute(name).meaning
            for name in ("href", "aria-hidden", "tabindex", "clicktracking")
        }
        assert told == {
            "href": traps[row],
            "aria-hidden": "true",
            "tabindex": "-1",
            "clicktracking": "off",
        }
        assert "display:none" in trap.attribute("style").meaning
        assert page.endswith("></a></body>")
    assert len(set(traps)) == 2
    assert done.join("text").to_list() == ["Hi Ada", "Hi Bo"]


def test_pixel_and_trap_go_together():
    page = Bodies(tracking=LINKS, trap=LINKS).finish(group("<p>Hi</p>"), recipients(1)).join("html")[0]

    assert page.count("/o/") == page.count("/t/") == 1
    assert page.count("/c/") == 0


def test_nothing_is_tracked_unless_asked_and_an_unsafe_link_is_refused():
    page = '<a href="https://x.example/a b">x</a>'

    assert finished(group(page)).join("html")[0] == page
    with pytest.raises(UnsafeTarget):
        finished(group(page), tracking=LINKS)


def test_a_skeleton_is_finished_once(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "comms_pipeline.personalization.bodies.plain_text", lambda page: calls.append(page) or "text"
    )
    bodies = Bodies()

    for name in ("Ada", "Bo"):
        bodies.finish(group(("<p>", 0, "</p>"), [name]), recipients(1))
    bodies.finish(group(("<b>", 0, "</b>"), ["Cy"]), recipients(1))

    assert len(calls) == 2


def test_marks_are_no_character_of_the_template():
    done = finished(group(("<p>\ue000", 0, "\ue001</p>"), ["x"]))

    assert done.parts["html"] == ("<p>\ue000", 0, "\ue001</p>")

"""What `check` finds in templates people write, and where; how files and campaigns become drafts."""

import pytest

from comms_pipeline.builtin_templates import TextChannel
from comms_pipeline.domain.errors import NotFound, TemplateError
from comms_pipeline.domain.message import MessageClass
from comms_pipeline.personalization.message import TemplateSource
from comms_pipeline.previews.checks import Severity, check
from comms_pipeline.previews.drafts import Draft, drafts_of, file_draft
from comms_pipeline.previews.rendering import example_frame, render, write

PAGE = '<html lang="en"><head><title>x</title></head><body>{}</body></html>'


def draft(text: str, part: str = "html", **changes) -> Draft:
    values = {
        "name": "x",
        "channel": TextChannel.EMAIL,
        "parts": {part: TemplateSource(name=f"x.{part}", text=text, is_html=part == "html")},
        "includes": {"box.html": '<div>\n<a href="/in">in</a></div>'},
        "message_class": MessageClass.TRANSACTIONAL,
    }
    return Draft(**{**values, **changes})


def found(text: str, part: str = "html", **changes) -> list[str]:
    return [f"{each.severity} {each.culprit}: {each.problem}" for each in check(draft(text, part, **changes))]


def in_page(body: str) -> list[str]:
    return found(PAGE.format(f"\n{body}"))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="http://a.example">a</a>', "2:1: the link 'http://a.example' is not absolute and https"),
        ('{{ x }} <a href="/a">a</a>', "2:9: the link '/a' is not absolute and https"),
        ("<p>\n <a>a</a></p>", "3:2: <a> leads nowhere"),
        ('<img src="https://a.example/b.png">', "2:1: the picture has no alt text"),
        ('<img src="b.png" alt="">', "2:1: the link 'b.png' is not absolute and https"),
        ("<b>a", "2:1: <b> is never closed"),
        ("<b>a</i></b>", "2:5: </i> closes nothing"),
        ("{% if x %}<b>{% endif %}a", "2:11: <b> is never closed"),
        ("<form></form>", "2:1: mail clients remove <form>"),
    ],
)
def test_an_error_of_a_page_says_where_it_is(body, problem):
    assert in_page(body)[0] == f"error x.html:{problem}"


def test_what_is_in_an_include_is_found_there():
    assert in_page('{% include "box.html" %}') == [
        "error box.html:2:1: the link '/in' is not absolute and https"
    ]


@pytest.mark.parametrize(
    "body",
    [
        '<a href="{{ url }}">a</a><a href="https://a.example/{{ x }}">a</a>',
        '<a href="mailto:a@b.example">a</a><a href="tel:+12025550142">a</a>',
        '<img src="https://a.example/b.png" alt="">',
        "<p>a<br>b<p>c",
        "{% if x %}<b>a</b>{% else %}<i>b</i>{% endif %}",
        "{% for x in y %}<b>{{ x }}</b>{% endfor %}",
    ],
)
def test_a_sound_page_has_no_finding(body):
    assert in_page(body) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ a|curency('USD') }}", "there is no filter curency"),
        ("a\n{% if %}", "expected an expression"),
        ("{{ a", "unexpected end of template"),
    ],
)
def test_syntax_errors_name_the_place(text, problem):
    (finding,) = check(draft(text))
    assert finding.severity is Severity.ERROR
    assert finding.culprit.startswith("x.html:")
    assert problem.lower() in str(finding).lower()


def test_a_page_should_say_its_language_and_title():
    assert found("<p>a</p>") == [
        "warning x.html: it does not say its language",
        "warning x.html: it has no <title>",
    ]


def test_marketing_needs_a_way_out_and_an_address_in_every_part():
    missing = ["marketing needs an unsubscribe link", "marketing needs a postal address"]
    for part in ("html", "text"):
        text = PAGE.format("a") if part == "html" else "a"
        marketing = found(text, part, message_class=MessageClass.MARKETING)
        assert marketing == [f"error x.{part}: {each}" for each in missing]
        unknown = found(text, part, message_class=None)
        assert unknown == [f"warning x.{part}: {each}" for each in missing]
    full = "{{ unsubscribe_url }} {{ postal_address }}"
    assert found(full, "text", message_class=MessageClass.MARKETING) == []


def test_subjects_are_one_short_line():
    assert found("a\nb", "subject") == ["error x.subject: the subject has several lines"]
    assert found("a" * 71, "subject") == ["warning x.subject: the subject is longer than 70 characters"]


def test_sms_that_leaves_gsm7_or_grows_too_long():
    sms = {"channel": TextChannel.SMS}
    assert found("Hi {{ name }} – ok", "text", **sms)[0].startswith(
        "warning x.text:1:15: '–' is not in GSM-7"
    )
    assert found("a" * 1601, "text", **sms)[0].startswith("error x.text: it has 1,601 characters")
    assert found("Hi {{ name }} €", "text", **sms) == []
    assert found("Hi", "text", **sms, message_class=MessageClass.MARKETING) == [
        "warning x.text: marketing SMS should say how to opt out"
    ]


def test_variables_a_manifest_lacks_are_errors():
    assert found("{{ a }} {{ b }}", "text", declared=frozenset({"a"})) == [
        "error x: it reads 'b', which its manifest lacks"
    ]


@pytest.mark.parametrize(
    ("file", "channel", "part"),
    [
        ("a.html", "email", "html"),
        ("a.txt", "email", "text"),
        ("a.subject.txt", "email", "subject"),
        ("a.sms.txt", "sms", "text"),
        ("a.whatsapp.txt", "whatsapp", "text"),
    ],
)
def test_the_name_of_a_file_says_what_it_is(tmp_path, file, channel, part):
    (tmp_path / file).write_text("Hi {{ name }}\n", encoding="utf-8")
    made = file_draft(tmp_path / file)
    assert (made.channel, set(made.parts)) == (channel, {part})
    assert render(made, example_frame(made)).parts[part] == "Hi Ada"


def test_a_file_may_extend_a_built_in_template_and_take_its_examples(tmp_path):
    page = tmp_path / "own.html"
    page.write_text(
        '{% extends "builtin/business/invoice.html" %}\n'
        '{% block brand %}<img src="https://a.example/logo.png" alt="Acme">{% endblock %}',
        encoding="utf-8",
    )
    (made,) = drafts_of(str(page))
    text = render(made, example_frame(made)).parts["html"]
    assert 'alt="Acme"' in text
    assert "Invoice NS-2026-1001" in text


def test_a_variable_without_an_example_reads_as_its_name(tmp_path):
    (tmp_path / "a.txt").write_text("Try {{ favourite }}", encoding="utf-8")
    made = file_draft(tmp_path / "a.txt")
    assert render(made, example_frame(made)).parts["text"] == "Try [favourite]"


def test_a_content_template_is_previewed_by_what_fills_it(tmp_path):
    variables = {
        "var.1": TemplateSource(name="content variable 1", text="{{ name }}", is_html=False),
        "var.2": TemplateSource(name="content variable 2", text="spring", is_html=False),
    }
    made = draft("", channel=TextChannel.WHATSAPP, parts=variables)
    assert check(made) == []
    (written,) = write(render(made, example_frame(made)), tmp_path)
    assert written.name == "preview.whatsapp.txt"
    assert written.read_text(encoding="utf-8") == "content variable 1: Ada\ncontent variable 2: spring"


def test_files_outside_the_folder_are_not_read(tmp_path):
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/a.txt").write_text('{% include "../secret.txt" %}', encoding="utf-8")
    (finding,) = check(file_draft(tmp_path / "inner/a.txt"))
    assert "there is no template ../secret.txt" in finding.problem


def test_what_cannot_be_a_template_is_named(tmp_path):
    (tmp_path / "a.md").touch()
    with pytest.raises(TemplateError, match="its name does not say what it is"):
        drafts_of(str(tmp_path / "a.md"))
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(TemplateError, match="not UTF-8"):
        drafts_of(str(tmp_path / "a.txt"))
    with pytest.raises(NotFound, match="comms templates list"):
        drafts_of("zzz")


def test_the_page_has_its_css_in_the_tags_and_a_derived_text(tmp_path):
    page = tmp_path / "a.html"
    page.write_text(
        "<html><head><style>p { color: #111111; }</style></head><body><p>Hi {{ name }}</p></body></html>",
        encoding="utf-8",
    )
    made = file_draft(page)
    parts = render(made, example_frame(made)).parts
    assert '<p style="color: #111111;">Hi Ada</p>' in parts["html"]
    assert parts["text"].strip() == "Hi Ada"


def test_dark_pages_are_dark_whatever_the_reader_prefers(tmp_path):
    (made,) = [each for each in drafts_of("business/invoice") if each.channel is TextChannel.EMAIL]
    preview = render(made, example_frame(made))
    page, text = write(preview, tmp_path / "new", is_dark=True)
    assert "@media all {" in page.read_text(encoding="utf-8")
    assert "prefers-color-scheme" not in page.read_text(encoding="utf-8")
    first = text.read_text(encoding="utf-8").splitlines()[0]
    assert first == "Subject: Invoice NS-2026-1001: $365.38, due December 8, 2026"

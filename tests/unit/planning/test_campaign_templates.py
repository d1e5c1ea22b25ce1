"""A campaign's templates: compiled per channel and variant, and what is wrong found before anything is sent."""

import polars as pl
import pytest

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.domain.message import Channel
from comms_pipeline.planning.findings import check_blanks
from comms_pipeline.planning.templates import TemplateProblems, check_variables, compile_campaign

TEMPLATES = {
    "news.html": "<h1>Hi {{ name }}</h1><a href=\"{{ unsubscribe_url }}\">Stop</a>{% include 'foot.html' %}",
    "foot.html": "<p>{{ postal_address }} & co</p>",
    "other.html": "<p>Dear {{ title }} {{ name }}</p>",
    "news.txt": "Hi {{ name }}",
}
FRAME = pl.DataFrame(
    {
        "name": ["<Ada>", "Bo"],
        "title": ["Dr", "Mr"],
        "unsubscribe_url": ["https://x.example/u/1", "https://x.example/u/2"],
        "postal_address": "1 Harbor Lane",
    }
)


def texts(message, part, frame=FRAME):
    return [text for group in message.evaluate(frame) for text in group.join(part).to_list()]


def test_the_parts_of_an_email_share_includes_and_variables(spec):
    compiled = compile_campaign(
        spec(templates={"email": {"subject": "News", "preheader": "For {{ name }}", "html": "news.html"}}),
        TEMPLATES,
    )
    message = compiled.messages[Channel.EMAIL, "", "en"]

    assert texts(message, "subject") == ["News", "News"]
    assert texts(message, "preheader") == ["For &lt;Ada&gt;", "For Bo"]
    assert texts(message, "html")[0] == (
        '<h1>Hi &lt;Ada&gt;</h1><a href="https://x.example/u/1">Stop</a><p>1 Harbor Lane & co</p>'
    )
    assert compiled.variables == {"name", "unsubscribe_url", "postal_address"}


def test_filters_write_the_language_of_the_message(spec):
    translated = spec(
        fallbacks={"day": "2026-12-01"}, translations={"de": {"email": {"subject": "{{ day | date }}"}}}
    )

    compiled = compile_campaign(translated, TEMPLATES | {"news.html": "{{ day | date }}"})

    frame = pl.DataFrame({"day": ["2026-12-01"]})
    assert texts(compiled.messages[Channel.EMAIL, "", "en"], "html", frame) == ["Dec 1, 2026"]
    assert texts(compiled.messages[Channel.EMAIL, "", "de"], "html", frame) == ["01.12.2026"]
    assert texts(compiled.messages[Channel.EMAIL, "", "de"], "subject", frame) == ["01.12.2026"]


def test_every_channel_and_variant_is_compiled(spec):
    changed = spec(
        channels=["sms", "email"],
        variants=[{"name": "a"}, {"name": "b", "templates": {"email": {"html": "other.html"}}}],
    )

    compiled = compile_campaign(changed, TEMPLATES)

    assert set(compiled.messages) == {
        (Channel.SMS, "a", "en"),
        (Channel.SMS, "b", "en"),
        (Channel.EMAIL, "a", "en"),
        (Channel.EMAIL, "b", "en"),
    }
    assert texts(compiled.messages[Channel.EMAIL, "b", "en"], "html") == [
        "<p>Dear Dr &lt;Ada&gt;</p>",
        "<p>Dear Mr Bo</p>",
    ]
    assert texts(compiled.messages[Channel.SMS, "a", "en"], "text") == ["Hi <Ada>", "Hi Bo"]


def test_a_template_that_does_not_compile_is_named(spec):
    with pytest.raises(TemplateError, match=r"foot\.html:1"):
        compile_campaign(spec(), TEMPLATES | {"foot.html": "{% if x %}"})


def test_every_template_that_does_not_compile_is_named_once(spec):
    variants = [{"name": "a"}, {"name": "b", "templates": {"email": {"subject": "{{ x"}}}]
    broken = spec(channels=["email", "sms"], variants=variants)

    with pytest.raises(TemplateProblems) as caught:
        compile_campaign(broken, TEMPLATES | {"foot.html": "{% if x %}", "news.txt": "{{ x | nope }}"})

    assert str(caught.value) == str(caught.value.problems[0])
    assert [problem.culprit.split(":")[0] for problem in caught.value.problems] == [
        "foot.html",
        "subject",
        "news.txt",
    ]


def test_a_variable_nobody_has_is_named_with_the_nearest_there_is(spec):
    compiled = compile_campaign(spec(), TEMPLATES | {"foot.html": "{{ rvsp_status }}"})

    with pytest.raises(TemplateError) as caught:
        check_variables(spec(), compiled, {"name", "rsvp_status"})

    assert str(caught.value) == (
        "campaign news: its templates read 'rvsp_status', which no contact has. Did you mean 'rsvp_status'?"
    )


def test_a_variable_like_no_other_asks_for_a_fallback(spec):
    compiled = compile_campaign(spec(), TEMPLATES | {"foot.html": "{{ zodiac }}"})

    with pytest.raises(TemplateError, match="Add it to the contacts, or under 'fallbacks:'"):
        check_variables(spec(), compiled, {"name"})
    with_fallback = spec(fallbacks={"zodiac": "star"})
    check_variables(with_fallback, compile_campaign(with_fallback, TEMPLATES), {"name"})


def checked(spec, template, frame):
    message = compile_campaign(spec(), TEMPLATES | {"news.html": template}).messages[Channel.EMAIL, "", "en"]
    check_blanks(spec(), message, frame, message.evaluate(frame))


@pytest.mark.parametrize("expression", ["name", "name | upper", "name | trim", "'' ~ name"])
def test_no_message_says_none_for_what_a_contact_lacks(spec, expression):
    frame = pl.DataFrame({"name": ["Ada", None, None]})

    with pytest.raises(TemplateError) as caught:
        checked(spec, f"Dear {{{{ {expression} }}}},", frame)

    assert str(caught.value) == (
        "campaign news: 2 messages would say 'None' to contacts without 'name'. "
        "Say what to write instead under 'fallbacks:'"
    )


@pytest.mark.parametrize(
    "template",
    [
        "{% if name %}Dear {{ name }}{% else %}Hello{% endif %}",
        "Dear {{ name or 'friend' }}",
        "Dear {{ name | default('friend', true) }}",
        "{{ diet }}",
        "Nobody, none",
    ],
)
def test_a_template_that_minds_what_is_missing_is_let_through(spec, template):
    frame = pl.DataFrame({"name": ["Ada", None], "diet": ["vegan", "None"]})

    checked(spec, template, frame)
    assert "None" not in texts(
        compile_campaign(spec(), TEMPLATES | {"news.html": template}).messages[Channel.EMAIL, "", "en"],
        "html",
        frame.with_columns(diet=pl.lit("x")),
    )


def test_nobody_at_all_is_no_blank(spec):
    checked(spec, "Dear {{ name }}", pl.DataFrame(schema={"name": pl.String}))
    with pytest.raises(TemplateError, match="1 messages would say 'None'"):
        checked(spec, "Dear {{ name }}", pl.DataFrame({"name": [None]}, schema={"name": pl.String}))

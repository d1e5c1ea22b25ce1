"""Built-in files and manifests fit together: nothing undeclared, nothing unused, nothing left lying about."""

import polars as pl
import pytest

from comms_pipeline.builtin_templates import (
    TextChannel,
    builtin_fallbacks,
    builtin_names,
    builtin_source,
    builtin_template,
    builtin_templates,
)
from comms_pipeline.domain.errors import NotFound
from comms_pipeline.planning.variables import OWN_COLUMNS, PROVIDED
from comms_pipeline.previews.drafts import builtin_drafts
from comms_pipeline.previews.rendering import STAND_INS, example_frame, render

every_template = pytest.mark.parametrize("template", builtin_templates(), ids=lambda each: each.name)
PARTIALS = {
    "builtin/base.html",
    "builtin/news/layout.html",
    "builtin/parts/button.html",
    "builtin/parts/choices.html",
    "builtin/parts/choices.txt",
    "builtin/wedding/layout.html",
}


def test_what_there_is():
    assert {each.name: " ".join(each.channels) for each in builtin_templates()} == {
        "account/invitation": "email",
        "business/collection-notice": "email sms whatsapp messenger",
        "business/invoice": "email sms whatsapp messenger",
        "business/low-stock": "email sms",
        "business/payment-confirmation": "email sms whatsapp messenger",
        "business/payment-link": "email sms whatsapp messenger",
        "news/announcement": "email sms",
        "news/newsletter": "email",
        "sponsor/prospectus": "email",
        "wedding/invitation": "email sms",
        "wedding/rsvp-reminder": "email sms messenger",
        "wedding/week-of-details": "email sms",
    }


def test_every_file_is_a_part_of_a_template_or_shared_by_several():
    parts = {
        name
        for each in builtin_templates()
        for channel in each.channels
        for name in each.parts(channel).values()
    }
    assert set(builtin_names()) == parts | PARTIALS


@every_template
def test_the_manifest_declares_exactly_what_the_texts_read(template):
    read = frozenset().union(*(draft.compiled.variables for draft in builtin_drafts(template)))
    assert read - PROVIDED == set(template.variables)


@every_template
def test_variables_are_described_and_fallbacks_fit_examples(template):
    for name, variable in template.variables.items():
        assert variable.description.endswith("."), name
        assert name not in PROVIDED
        assert variable.fallback is None or variable.fallback == "" or isinstance(variable.fallback, str)


@every_template
def test_it_renders_with_nothing_but_fallbacks_and_what_is_required(template):
    required = {
        name: template.examples()[name] for name, each in template.variables.items() if each.is_required
    }
    for draft in builtin_drafts(template):
        values = {**STAND_INS, **template.fallbacks(), **required}
        preview = render(draft, pl.DataFrame([values]))
        assert all(preview.parts.values()), draft.channel
        assert "None" not in "".join(preview.parts.values())


def test_everything_a_message_is_given_has_a_stand_in():
    assert set(STAND_INS) >= PROVIDED | OWN_COLUMNS


def test_lists_are_printed_item_by_item():
    draft = next(
        each for each in builtin_drafts(builtin_template("business/invoice")) if each.channel == "email"
    )
    text = render(draft, example_frame(draft)).parts["text"]
    assert "4 x Oak shelf: $240.00\n12 x Steel bracket: $95.38\n1 x Delivery: $30.00\n" in text


def test_an_optional_picture_comes_with_its_description():
    draft = builtin_drafts(builtin_template("wedding/invitation"))[0]
    frame = example_frame(draft).with_columns(photo_url=pl.lit("https://example.com/us.jpg"))
    page = render(draft, frame).parts["html"]
    assert '<img src="https://example.com/us.jpg" width="600" alt="Ana and Ben by the lake"' in page


@pytest.mark.parametrize(
    ("days", "title"),
    [(1, "A friendly reminder"), (7, "Your payment is overdue"), (30, "Please pay now")],
)
def test_a_collection_notice_grows_firmer(days, title):
    draft = builtin_drafts(builtin_template("business/collection-notice"))[0]
    frame = example_frame(draft).with_columns(days_overdue=pl.lit(days))
    assert f">{title}</h1>" in render(draft, frame).parts["html"]


@pytest.mark.parametrize(
    "name", ["business/invoice", "builtin/business/invoice", "builtin/business/invoice.sms.txt"]
)
def test_a_template_is_found_by_its_name_and_by_its_files(name):
    assert builtin_template(name).title == "Invoice"


def test_an_unknown_template_names_the_nearest():
    with pytest.raises(NotFound, match=r"Did you mean 'business/invoice'\?"):
        builtin_template("business/invoce")


def test_sources_go_by_their_reserved_name():
    assert builtin_source("business/invoice.html") is None
    assert builtin_source("builtin/business/invoice.yaml") is None
    assert (builtin_source("builtin/business/invoice.html") or "").startswith(
        '{% extends "builtin/base.html" %}'
    )


def test_fallbacks_are_those_of_the_templates_used():
    assert builtin_fallbacks(["builtin/wedding/rsvp-reminder.sms.txt", "own.html"]) == {
        "name": "friend",
        "plus_one": "no",
    }


def test_text_messages_have_one_part():
    assert builtin_template("business/invoice").parts(TextChannel.WHATSAPP) == {
        "text": "builtin/business/invoice.whatsapp.txt"
    }

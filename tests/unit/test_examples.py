"""The examples load, their templates render, and their data files are what the generator writes."""

import csv
import importlib.util
import re
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType

import duckdb
import jinja2
import orjson
import phonenumbers
import pytest
from jinja2 import meta

from comms_pipeline.audience.definition import check_fields, compile_audience
from comms_pipeline.campaign_files import CampaignFile, load_folder
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.segment import CONTACT_FIELDS
from comms_pipeline.domain.sms import SmsEncoding, encoding, segments
from comms_pipeline.domain.template_sources import message_sources

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = {"wedding": "guests.csv", "sponsor": "leads.csv", "billing": "customers.csv"}
PROVIDED = {"unsubscribe_url", "postal_address", "organisation_name", "sender_name", "campaign_id"}
PROVIDED_VALUES = {
    "unsubscribe_url": "https://mail.lakeside.example/u/token",
    "postal_address": "1 Harbor Lane",
    "organisation_name": "Lakeside",
    "sender_name": "Ana & Ben",
    "campaign_id": "campaign",
}
CAMPAIGNS = {
    "wedding": ["wedding-invitation", "wedding-rsvp-reminder", "wedding-week-of-details"],
    "sponsor": ["sponsor-follow-up", "sponsor-prospectus"],
    "billing": ["billing-invoice", "billing-payment-overdue"],
}


@cache
def rows(example: str) -> list[dict[str, str]]:
    with (EXAMPLES / example / DATA[example]).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples_generate", EXAMPLES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def campaigns() -> list[tuple[str, CampaignFile]]:
    return [(name, campaign) for name in CAMPAIGNS for campaign in load_folder(EXAMPLES / name).campaigns]


def renderings(
    campaign: CampaignFile, source: str, rows: list[dict[str, str]], *, is_html: bool
) -> list[str]:
    """The text for each row; an empty cell counts as missing, which only a fallback makes good."""
    environment = jinja2.Environment(
        autoescape=is_html,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.DictLoader(dict(campaign.templates)),
    )
    template = environment.from_string(source)
    given = [{key: value for key, value in row.items() if value} for row in rows]
    return [template.render(dict(campaign.spec.fallbacks) | row | PROVIDED_VALUES) for row in given]


everything = pytest.mark.parametrize(
    ("example", "campaign"), [pytest.param(*each, id=each[1].spec.id) for each in campaigns()]
)


@pytest.mark.parametrize("example", CAMPAIGNS)
def test_a_folder_holds_an_organisation_and_its_campaigns(example):
    folder = load_folder(EXAMPLES / example)

    assert folder.organisation is not None
    assert folder.organisation.postal_address
    assert [campaign.spec.id for campaign in folder.campaigns] == CAMPAIGNS[example]


@everything
def test_templates_use_only_columns_of_the_data_and_provided_variables(example, campaign):
    names = set()
    for source in campaign.templates.values():
        names |= meta.find_undeclared_variables(jinja2.Environment(autoescape=True).parse(source))

    assert names - set(rows(example)[0]) - PROVIDED == set()
    check_fields(campaign.spec.audience, set(rows(example)[0]))


@everything
def test_every_row_renders_on_every_channel(example, campaign):
    for channel in campaign.spec.channels:
        for variant in ("", *(each.name for each in campaign.spec.variants)):
            sources = message_sources(campaign.spec, campaign.templates, channel, variant)
            for part, template in sources.items():
                for text in renderings(campaign, template.source, rows(example), is_html=part == "html"):
                    assert text.strip()
                    assert "None" not in text
                    assert part != "subject" or "\n" not in text


@everything
def test_marketing_email_offers_to_unsubscribe_and_says_from_where_it_comes(example, campaign):
    is_marketing = campaign.spec.message_class is MessageClass.MARKETING
    sources = message_sources(campaign.spec, campaign.templates, Channel.EMAIL)

    for part in sources.keys() - {"subject"}:
        [text] = renderings(campaign, sources[part].source, rows(example)[:1], is_html=part == "html")
        assert "1 Harbor Lane" in text
        assert (PROVIDED_VALUES["unsubscribe_url"] in text) is is_marketing


@everything
def test_html_is_accessible(example, campaign):
    source = message_sources(campaign.spec, campaign.templates, Channel.EMAIL)["html"].source
    [html] = renderings(campaign, source, rows(example)[:1], is_html=True)

    assert '<html lang="en"' in html
    assert 'name="color-scheme" content="light dark"' in html
    assert re.search(r"<title>[^<]+</title>", html)
    assert all('alt="' in image for image in re.findall(r"<img[^>]*>", html))
    layout_tables = re.findall(r"<table[^>]*>(?!\s*<caption)", html)
    assert all('role="presentation"' in table for table in layout_tables)


@everything
def test_text_messages_fit_one_segment_and_tell_how_to_stop(example, campaign):
    if Channel.SMS not in campaign.spec.channels:
        assert campaign.spec.templates.sms is None
        return
    source = message_sources(campaign.spec, campaign.templates, Channel.SMS)["text"].source
    texts = renderings(campaign, source, rows(example), is_html=False)

    assert all(text.endswith("Reply STOP to opt out") for text in texts)
    plain = [text for text in texts if encoding(text) is SmsEncoding.GSM7]
    assert {segments(text) for text in plain} == {1}
    assert len(plain) > 0.8 * len(texts)


@pytest.mark.parametrize(
    ("campaign_id", "count"),
    [
        ("wedding-invitation", 322),
        ("wedding-rsvp-reminder", 145),
        ("wedding-week-of-details", 118),
        ("sponsor-prospectus", 208),
        ("sponsor-follow-up", 208),
        ("billing-invoice", 65),
        ("billing-payment-overdue", 117),
    ],
)
def test_audiences_find_whom_they_mean(campaign_id, count):
    example, campaign = next(each for each in campaigns() if each[1].spec.id == campaign_id)
    table = [
        {name: row.get(name) or None for name in CONTACT_FIELDS}
        | {"contact_id": str(number), "attributes": orjson.dumps(row).decode()}
        for number, row in enumerate(rows(example))
    ]
    query = compile_audience(campaign.spec.audience, campaign.spec.organisation)
    with duckdb.connect(":memory:") as lake:
        lake.execute("create schema core")
        lake.execute("create table core.contact_scores (contact_id varchar, human_clicks bigint)")
        columns = ", ".join(
            f"{name} varchar" for name in (*sorted(CONTACT_FIELDS), "contact_id", "attributes")
        )
        lake.execute(f"create table core.contacts ({columns}, organisation_id varchar, is_erased boolean)")
        values = ", ".join(f"${name} as {name}" for name in table[0])
        lake.executemany(
            f"insert into core.contacts by name select {values}, $organisation as organisation_id,"
            " false as is_erased",
            [{**row, "organisation": campaign.spec.organisation} for row in table],
        )
        found = lake.execute(query.sql, query.parameters).fetchall()

    assert len(found) == count


@pytest.mark.parametrize("name", ["wedding/guests.csv", "sponsor/leads.csv", "billing/customers.csv"])
def test_the_generator_writes_the_committed_bytes(name):
    assert generator().content(name) == (EXAMPLES / name).read_bytes()


@pytest.mark.parametrize("example", DATA)
def test_addresses_are_reserved_for_examples(example):
    for row in rows(example):
        domain = row["email"].lower().rpartition("@")[2]
        assert domain.endswith(".example") or "@" not in row["email"] or not domain


@pytest.mark.parametrize(("example", "faulty"), [("wedding", 2), ("billing", 1)])
def test_telephone_numbers_are_valid_but_for_those_wrong_on_purpose(example, faulty):
    written = [row["phone"] for row in rows(example) if row["phone"]]
    kinds = Counter(is_valid_telephone(phone) for phone in written)

    assert kinds[False] == faulty
    assert kinds[True] > 100


def is_valid_telephone(text: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, "US"))
    except phonenumbers.NumberParseException:
        return False

import os
from pathlib import Path

import pytest

from comms_pipeline.campaign_files import InvalidCampaignFiles, load_campaign, load_folder, load_organisation
from comms_pipeline.domain.errors import InvalidCampaign
from comms_pipeline.domain.organisation import Organisation

CAMPAIGN = """\
id: spring-news
organisation: lakeside
audience:
  all:
    - field: segment
      op: eq
      value: warm
channels: [email, sms]
sender:
  from_email: hello@lakeside.example
  from_name: Lakeside
postal_address: 1 Harbor Lane, Portland
templates:
  email:
    subject: file:subject.txt
    html: news.html
  sms: {text: news.sms.txt}
"""
FILES = {
    "campaign.yaml": CAMPAIGN,
    "subject.txt": "Hello {{ name }}\n",
    "news.html": '<p>Hello</p>\n{% include "partials/footer.html" %}',
    "news.sms.txt": "Hello. Reply STOP to opt out",
    "partials/footer.html": '{% import "partials/macros.html" as m %}{{ m.line() }}',
    "partials/macros.html": "{% macro line() %}--{% endmacro %}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "campaigns"
    for name, text in FILES.items():
        write(home, name, text)
    return home


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def errors(folder: Path, text: str = CAMPAIGN) -> list[str]:
    """The messages for a campaign file, without the folder's path."""
    write(folder, "campaign.yaml", text)
    with pytest.raises(InvalidCampaignFiles) as caught:
        load_campaign(folder / "campaign.yaml")
    assert str(caught.value) == str(caught.value.problems[0])
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_campaign_comes_with_every_template_it_needs(folder):
    spec, templates = load_campaign(folder / "campaign.yaml")

    assert spec.id == "spring-news"
    assert templates == {name: text for name, text in FILES.items() if name != "campaign.yaml"}


def test_templates_of_translations_and_variants_are_collected(folder):
    german = "{email: {subject: Neues, preheader: file:vorschau.txt, html: de/news.html}, sms: {text: de/news.sms.txt}}"
    variant = "{name: b, templates: {email: {html: b.html}}, translations: {de: {email: {html: de/b.html}}}}"
    for name in ("vorschau.txt", "de/news.html", "de/news.sms.txt", "b.html", "de/b.html"):
        write(folder, name, f"This is {name}")
    write(
        folder,
        "campaign.yaml",
        f"{CAMPAIGN}translations: {{de: {german}}}\nvariants: [{{name: a}}, {variant}]\n",
    )

    templates = load_campaign(folder / "campaign.yaml").templates

    assert set(templates) == {name for name in FILES if name != "campaign.yaml"} | {
        "vorschau.txt",
        "de/news.html",
        "de/news.sms.txt",
        "b.html",
        "de/b.html",
    }
    assert templates["de/b.html"] == "This is de/b.html"


def test_a_missing_template_of_a_translation_is_named_at_its_line(folder):
    text = f"{CAMPAIGN}translations:\n  de:\n    email: {{html: nwes.html}}\n"

    assert errors(folder, text) == [
        "campaign.yaml:20: template 'nwes.html': there is no such file. Did you mean 'news.html'?"
    ]


def test_built_in_templates_come_with_what_they_extend_and_their_fallbacks(folder):
    write(folder, "mine.html", '{% extends "builtin/news/layout.html" %}')
    text = CAMPAIGN.replace("html: news.html", "html: mine.html").replace(
        "text: news.sms.txt", "text: builtin/news/announcement.sms.txt"
    )
    write(folder, "campaign.yaml", f"{text}fallbacks: {{name: dear reader}}\n")

    spec, templates = load_campaign(folder / "campaign.yaml")

    assert {"mine.html", "builtin/news/layout.html", "builtin/base.html"} < set(templates)
    assert templates["builtin/base.html"].startswith("<!doctype html>")
    assert spec.fallbacks["name"] == "dear reader"
    assert spec.fallbacks["details"] == ""


def test_a_built_in_template_misspelt_is_named_with_the_nearest(folder):
    # The folder of this name is ours, whatever lies on the disk.
    write(folder, "builtin/news/anouncement.html", "<p>Mine</p>")

    assert errors(folder, CAMPAIGN.replace("html: news.html", "html: builtin/news/anouncement.html")) == [
        "campaign.yaml:16: template 'builtin/news/anouncement.html': there is no such built-in template. "
        "Did you mean 'builtin/news/announcement.html'?"
    ]
    assert errors(folder, CAMPAIGN.replace("html: news.html", "html: builtin/../../zzz")) == [
        "campaign.yaml:16: template 'builtin/../../zzz': there is no such built-in template. "
        "See `comms templates list`"
    ]


def test_line_numbers_are_those_of_the_node_at_fault(folder):
    text = (
        CAMPAIGN.replace("op: eq", "op: eqq")
        .replace("from_name", "fromname")
        .replace("channels: [email, sms]", "channels:\n  - email\n  - emial")
    )

    assert errors(folder, text) == [
        "campaign.yaml:6: 'eqq' is not a value of 'op'. Did you mean 'eq'?",
        "campaign.yaml:10: 'emial' is not a value of 'channels'. Did you mean 'email'?",
        "campaign.yaml:11: 'from_name' is missing. Add 'from_name:'",
        "campaign.yaml:13: unknown key 'fromname'. Did you mean 'from_name'?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id: [\n", "campaign.yaml:2: not valid YAML: expected the node content, but found '<stream end>'. "),
        (CAMPAIGN + "id: again\n", "campaign.yaml:18: duplicate key 'id'. Remove one of them"),
        ("", "campaign.yaml:1: 'the file' must hold keys and values. Write 'key: value' lines under it"),
        ("- 1\n", "campaign.yaml:1: 'the file' must hold keys and values. Write 'key: value' lines under it"),
        (
            CAMPAIGN.replace("postal_address: 1 Harbor Lane, Portland\n", ""),
            "campaign.yaml:1: marketing e-mail needs a postal address. "
            "Add 'postal_address:' here or in organisation.yaml",
        ),
    ],
)
def test_unreadable_or_incomplete_yaml_is_reported_by_line(folder, text, message):
    assert errors(folder, text)[0].startswith(message)


def test_sql_outside_the_fence_is_reported_at_its_line(folder):
    start = CAMPAIGN.index("audience:")
    end = CAMPAIGN.index("channels:")
    text = f"{CAMPAIGN[:start]}audience:\n  sql: |\n    select contact_id\n    from secrets\n{CAMPAIGN[end:]}"

    assert errors(folder, text) == [
        "campaign.yaml:4: audience sql: 'secrets' is not a relation audiences may read. "
        "Did you mean 'events'?"
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nwes.html",
            "campaign.yaml:16: template 'nwes.html': there is no such file. Did you mean 'news.html'?",
        ),
        ("zzz.html", "campaign.yaml:16: template 'zzz.html': there is no such file. Create it"),
        (
            "../outside.html",
            "campaign.yaml:16: template '../outside.html': the path leads out of the campaign's folder. "
            "Keep templates below it",
        ),
        (
            "/etc/hostname",
            "campaign.yaml:16: template '/etc/hostname': the path leads out of the campaign's folder. "
            "Keep templates below it",
        ),
        (
            "link.html",
            "campaign.yaml:16: template 'link.html': the path leads out of the campaign's folder. "
            "Keep templates below it",
        ),
        ("latin.html", "campaign.yaml:16: template 'latin.html': it is not UTF-8 text. Save it as UTF-8"),
        (
            "large.html",
            "campaign.yaml:16: template 'large.html': it is larger than 1 MiB. "
            "Shorten it; host images elsewhere and link to them",
        ),
        (
            "partials",
            "campaign.yaml:16: template 'partials': there is no such file. Create it",
        ),
    ],
)
def test_unusable_template_files_are_reported_where_they_are_named(folder, name, message):
    write(folder.parent, "outside.html", "secret")
    os.symlink(folder.parent / "outside.html", folder / "link.html")
    (folder / "latin.html").write_bytes("é".encode("latin-1"))
    write(folder, "large.html", "x" * 1_048_577)

    assert errors(folder, CAMPAIGN.replace("html: news.html", f"html: {name}")) == [message]


def test_problems_inside_templates_are_reported_at_their_line(folder):
    write(folder, "news.html", '<p>\n{% include "partials/footr.html" %}\n{% include other %}')
    write(folder, "news.sms.txt", "Hello\n{% if x %}")
    write(folder, "subject.txt", "one\ntwo")

    assert errors(folder) == [
        "news.html:3: the name of an included template is not a plain text. "
        'Write {% include "footer.html" %}',
        "news.html:2: template 'partials/footr.html': there is no such file. Did you mean 'footer.html'?",
        "news.sms.txt:2: Unexpected end of template. Jinja was looking for the following tags: "
        "'elif' or 'else' or 'endif'. The innermost block that needs to be closed is 'if'. "
        "Correct the template",
        "subject.txt: a subject or preheader has several lines. Write it on one line",
    ]


def test_the_postal_address_comes_from_the_organisation_when_left_out(folder):
    write(folder, "organisation.yaml", "id: lakeside\nname: Lakeside\npostal_address: 2 Mill Street")
    write(folder, "campaign.yaml", CAMPAIGN.replace("postal_address: 1 Harbor Lane, Portland\n", ""))

    assert load_campaign(folder / "campaign.yaml").spec.postal_address == "2 Mill Street"


def test_a_campaign_of_another_organisation_is_refused(folder):
    write(folder, "organisation.yaml", "id: hillside\nname: Hillside")

    assert errors(folder) == [
        "campaign.yaml:2: organisation 'lakeside' is not the one of organisation.yaml. Write hillside"
    ]


@pytest.mark.parametrize(
    ("topics", "fix"),
    [
        ("topics: {newsletter: Monthly news, events: Invitations}", "Did you mean 'newsletter'?"),
        ("topics: {events: Invitations}", "Use one of: events, general"),
        ("", "Add 'topics:' to it"),
    ],
)
def test_a_topic_the_organisation_does_not_have_is_refused(folder, topics, fix):
    write(folder, "organisation.yaml", f"id: lakeside\nname: Lakeside\n{topics}")

    assert errors(folder, CAMPAIGN + "topic: newslettr") == [
        f"campaign.yaml:18: topic 'newslettr' is not in organisation.yaml. {fix}"
    ]


@pytest.mark.parametrize("topic", ["newsletter", "general"])
def test_a_campaign_may_have_a_topic_of_its_organisation_or_none(folder, topic):
    write(folder, "organisation.yaml", "id: lakeside\nname: Lakeside\ntopics: {newsletter: Monthly news}")
    write(folder, "campaign.yaml", f"{CAMPAIGN}topic: {topic}")

    assert load_campaign(folder / "campaign.yaml").spec.topic == topic


def test_without_an_organisation_beside_it_any_topic_will_do(folder):
    write(folder, "campaign.yaml", f"{CAMPAIGN}topic: newsletter")

    assert load_campaign(folder / "campaign.yaml").spec.topic == "newsletter"


def test_faults_of_hours_and_caps_are_reported_at_their_line(folder):
    assert errors(folder, CAMPAIGN + "hours:\n  days_off: [saturday]\n  open: late\n") == [
        "campaign.yaml:20: 'late' are not hours of a day. Write e.g. \"09:00-20:00\""
    ]
    caps = "caps:\n  - {channel: email, messages: 5, days: 7}\n  - {channel: fax, messages: 5, days: 7}\n"
    write(folder, "organisation.yaml", f"id: lakeside\nname: Lakeside\n{caps}")
    assert errors(folder) == [
        "organisation.yaml:5: 'fax' is not a value of 'channel'. Use one of: email, sms, whatsapp"
    ]


def test_an_organisation_has_an_id_a_name_and_an_address(folder):
    write(folder, "organisation.yaml", "id: lakeside\nname: Lakeside\npostal_address: 2 Mill Street")

    assert load_organisation(folder / "organisation.yaml") == Organisation(
        id="lakeside", name="Lakeside", postal_address="2 Mill Street"
    )


def test_a_faulty_organisation_is_reported_by_line(folder):
    write(folder, "organisation.yaml", "id: lakeside\nname: Lakeside\naddress: 2 Mill Street")

    with pytest.raises(InvalidCampaign) as caught:
        load_folder(folder)

    assert caught.value.culprit == f"{folder / 'organisation.yaml'}:3"
    assert caught.value.fix == "Did you mean 'postal_address'?"


def test_a_folder_is_its_organisation_and_campaigns_without_mappings(folder):
    write(folder, "organisation.yaml", "id: lakeside\nname: Lakeside")
    write(folder, "contacts.map.yaml", "organisation: lakeside")
    write(folder, "a.yml", CAMPAIGN.replace("spring-news", "autumn-news"))

    loaded = load_folder(folder)

    assert loaded.organisation == Organisation(id="lakeside", name="Lakeside")
    assert [campaign.spec.id for campaign in loaded.campaigns] == ["autumn-news", "spring-news"]


def test_a_folder_reports_the_problems_of_every_file(folder):
    write(folder, "a.yaml", CAMPAIGN.replace("class", "x").replace("id: spring-news", "id: A"))
    write(folder, "b.yaml", CAMPAIGN)

    with pytest.raises(InvalidCampaignFiles) as caught:
        load_folder(folder)

    assert [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems] == [
        "a.yaml:1: 'A' is not an id. Use up to 63 of a-z, 0-9 and '-', not starting with '-'",
        "campaign.yaml: another file of this folder has the id 'spring-news' too. "
        "Give each campaign its own id",
    ]


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InvalidCampaign, match=r"nowhere\.yaml: there is no such file\. Check the path"):
        load_campaign(tmp_path / "nowhere.yaml")
    with pytest.raises(
        InvalidCampaign, match=r"nowhere: there is no such folder\. Name a folder of campaign files"
    ):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(
        InvalidCampaign, match=r"it holds no campaign file\. Add a \.yaml file with a campaign"
    ):
        load_folder(tmp_path)

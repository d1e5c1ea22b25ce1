"""The check of a whole campaign, and what an organisation's file puts into the ledger, on real stores."""

from pathlib import Path

import pytest
from audiences import Club, people

from comms_pipeline.campaign_files import load_folder
from comms_pipeline.domain.errors import NotFound, TemplateError
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tiers import Tier
from comms_pipeline.ledger import caps, limits, sends
from comms_pipeline.ledger.caps import Cap
from comms_pipeline.loader.contacts import import_contacts
from comms_pipeline.planning import stages
from comms_pipeline.planning.applying import apply_folder
from comms_pipeline.planning.campaign_check import NotSendable, check_campaign, require_sendable
from comms_pipeline.planning.emergency import note_emergency

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = {"wedding": "guests", "sponsor": "leads", "billing": "customers"}
EMERGENCY = {"class": "emergency", "emergency_reason": "The venue has no power"}
ORGANISATION = """\
id: {id}
name: The Club
postal_address: 1 Harbor Lane
topics: {{news: News of the club}}
caps: [{{channel: email, messages: 5, days: 7}}, {{channel: sms, messages: 1, days: 1, topic: news}}]
tier: {tier}
"""


@pytest.fixture
def club(shared_stores, tmp_path) -> Club:
    return Club.founded(shared_stores, tmp_path)


def failed(club: Club) -> dict[str, str]:
    return {item.rule.id: item.found for item in check_campaign(club.stores, club.id).failed}


def organise(club: Club, tier: str) -> None:
    """Apply the club's folder with an organisation file that says everything."""
    text = ORGANISATION.format(id=club.id, tier=tier)
    (club.folder / "campaign" / "organisation.yaml").write_text(text, encoding="utf-8")
    apply_folder(club.stores, club.folder / "campaign")


def quotas(club: Club) -> dict[str, int]:
    with club.stores.ledger() as ledger:
        found = limits.quotas(ledger)
    return {quota.period: quota.allowed for quota in found if quota.scope == f"organisation:{club.id}"}


@pytest.mark.parametrize("example", DATA)
def test_examples_lose_points_for_their_domain_alone(stores, example):
    folder = EXAMPLES / example
    apply_folder(stores, folder)
    import_contacts(stores, folder / f"{DATA[example]}.csv", folder / f"{DATA[example]}.map.yaml")

    for campaign in load_folder(folder).campaigns:
        check = check_campaign(stores, campaign.spec.id)
        assert [item.rule.id for item in check.failed] == ["sender-reserved-domain"], campaign.spec.id
        assert check.score == 97
        require_sendable(check, campaign.spec.id)


def test_a_message_of_every_channel_variant_and_language_is_looked_at(club):
    club.enrol(people(2, phone="+12125550101"))
    club.announce(
        channels=["email", "sms"],
        templates={"email": {"subject": "News", "html": "news.html"}, "sms": {"text": "news.txt"}},
        variants=[
            {"name": "a"},
            {
                "name": "b",
                "templates": {"email": {"subject": "RE: News"}},
                "translations": {"de": {"email": {"subject": "Neues"}}},
            },
        ],
        translations={"de": {"sms": {"text": "de.txt"}}},
        files={"news.txt": "The Club: data rates. STOP ends it", "de.txt": "Neues. Data rates. STOP"},
    )

    found = failed(club)

    assert found["subject-no-answer"] == "email b en: it begins with 'RE:'"
    assert found["sms-brand"] == (
        "sms a de: it names neither sender nor organisation; sms b de: it names neither sender nor organisation"
    )


def test_a_blocking_item_is_raised_with_its_rule_and_fix(club):
    club.enrol(people(1))
    club.announce(templates={"email": {"subject": "Fwd: {{ name }}", "html": "news.html"}})

    check = check_campaign(club.stores, club.id)

    with pytest.raises(NotSendable) as caught:
        require_sendable(check, club.id)
    assert str(caught.value) == (
        f"campaign {club.id}: email: it begins with 'Fwd:' (rule subject-no-answer v1, 15 USC 7704(a)(2), "
        "subject headings must not deceive). Take it out: nobody wrote first"
    )


def test_a_campaign_that_reaches_nobody_yet_is_checked_as_far_as_it_can_be(club):
    club.announce()

    assert failed(club)["looked-at"] == (
        "nobody of the audience can be reached by email: its message was not looked at"
    )


def test_links_are_judged_as_written_also_where_we_note_clicks_ourselves(club):
    club.enrol(people(1))
    page = '<p>{{ unsubscribe_url }} {{ postal_address }} <a href="https://evil.org/">bank.com</a></p>'
    club.announce(tracking="own", files={"news.html": page})

    assert failed(club)["links-honest"] == "email: it shows bank.com and leads to evil.org"


def test_what_planning_refuses_the_check_refuses(club):
    club.enrol(people(1))
    club.announce(templates={"email": {"subject": "{{ nickname }}", "html": "news.html"}})

    with pytest.raises(TemplateError, match="its templates read 'nickname', which no contact has"):
        check_campaign(club.stores, club.id)
    with pytest.raises(NotFound):
        check_campaign(club.stores, "nowhere")


def test_the_audience_of_a_send_is_the_one_that_is_written_for_it(club):
    club.enrol(people(101))
    club.announce()
    organise(club, "free")
    context = club.send()

    assert check_campaign(club.stores, context).blocking == ()  # nobody yet
    stages.write_audience(club.stores, context)
    (item,) = check_campaign(club.stores, context).blocking
    assert (item.rule.id, item.found) == ("tier-recipients", "101 recipients; tier free allows 100")
    assert check_campaign(club.stores, context, audience_size=100).blocking == ()


def test_an_organisations_topics_caps_and_tier_are_stored_with_it(club):
    club.announce()
    organise(club, "starter")

    with club.stores.ledger() as ledger:
        stored = sends.get_organisation(ledger, club.id)
        assert stored.topics == {"news": "News of the club"}
        assert stored.tier is Tier.STARTER
        assert caps.caps_of(ledger, club.id) == [
            Cap(channel=Channel.EMAIL, topic="*", messages=5, hours=168),
            Cap(channel=Channel.SMS, topic="news", messages=1, hours=24),
        ]
    assert quotas(club) == {"hour": 200, "day": 1000}


def test_quotas_go_with_the_tier_and_those_set_by_hand_stay(club):
    club.announce()
    organise(club, "free")
    assert quotas(club) == {"hour": 50, "day": 200}
    organise(club, "unlimited")
    assert quotas(club) == {}

    with club.stores.ledger() as ledger:
        limits.put_quota(ledger, f"organisation:{club.id}", "hour", 7)
    organise(club, "unlimited")
    assert quotas(club) == {"hour": 7}


def test_a_folder_that_cannot_be_applied_leaves_the_organisation_as_it_was(club):
    club.announce()
    organise(club, "starter")
    (club.folder / "campaign" / "news.html").write_text("{{ name | nofilter }}", encoding="utf-8")

    with pytest.raises(TemplateError):
        organise(club, "free")

    assert quotas(club) == {"hour": 200, "day": 1000}


def test_the_reason_of_an_emergency_is_noted_once_for_each_send(club):
    club.announce(**EMERGENCY)
    context = club.send()

    with club.stores.ledger() as ledger:
        assert note_emergency(ledger, context)
        assert not note_emergency(ledger, context)
        rows = ledger.execute(
            "select actor, action, details from audit where subject = %s", (f"send/{club.id}",)
        ).fetchall()
    details = {"reason": "The venue has no power", "campaign": club.id, "version": 1}
    assert rows == [("planning", "emergency", details)]


def test_nothing_is_noted_of_what_is_no_emergency(club):
    club.announce()

    with club.stores.ledger() as ledger:
        assert not note_emergency(ledger, club.send())
        (count,) = ledger.execute(
            "select count(*) from audit where subject = %s", (f"send/{club.id}",)
        ).fetchone()
    assert count == 0

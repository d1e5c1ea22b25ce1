"""A send's plan on real stores: who gets what, once, and nobody is lost."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from audiences import DUE, Club, people

from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.errors import InvalidSegment, NotFound, TemplateError
from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose
from comms_pipeline.ledger import sends, suppressions
from comms_pipeline.ledger.suppressions import Suppression
from comms_pipeline.loader.contacts import import_contacts
from comms_pipeline.planning import stages
from comms_pipeline.planning.applying import apply_folder
from comms_pipeline.planning.dry_run import dry_run
from comms_pipeline.planning.occurrences import add_due_occurrences
from comms_pipeline.planning.rendering import ContactsChanged
from comms_pipeline.providers.base import joined

WEDDING = Path(__file__).parents[2] / "examples" / "wedding"
TRANSACTIONAL = {"class": "transactional"}
SMS = {"templates": {"sms": {"text": "news.txt"}}, "channels": ["sms"]}


@pytest.fixture
def club(shared_stores, tmp_path) -> Club:
    return Club.founded(shared_stores, tmp_path)


def texts(club: Club, part: str) -> dict[str, str]:
    """What the queued messages say, by address."""
    return {
        address: text
        for content, payload in club.queued()
        for address, text in zip(payload["address"], joined(content.parts[part], payload), strict=True)
    }


def suppress(club: Club, channel: Channel, address: str, organisation: str | None = None) -> None:
    key = address_keys(pl.Series([address]), channel, club.stores.secret)[0]
    with club.stores.ledger() as ledger:
        row = Suppression(
            organisation_id=organisation or club.id,
            channel=channel,
            address_key=key,
            reason=SuppressionReason.BOUNCED,
            source="test",
        )
        assert suppressions.suppress(ledger, [row]) == 1


def test_the_wedding_is_planned_and_queued_to_the_last_guest(stores):
    apply_folder(stores, WEDDING)
    import_contacts(stores, WEDDING / "guests.csv", WEDDING / "guests.map.yaml")
    club = Club(stores=stores, folder=WEDDING, id="wedding-invitation")
    suppress(club, Channel.EMAIL, "ada.fofana@oakfield.example", "lakeside-weddings")
    suppress(club, Channel.SMS, "+12025550100", "lakeside-weddings")
    suppress(club, Channel.SMS, "+12065550100", "lakeside-weddings")

    assert club.plan() == 317
    assert club.funnel() == stages.Funnel(
        audience=319,
        excluded=2,
        messages=317,
        distinct_messages=317,
        accepted=0,
        refused=0,
        deferred=0,
        cancelled=0,
        unknown=0,
    )
    assert club.funnel().is_planned_whole
    assert club.exclusions() == {"not-suppressed": 2, "address-present": 1}
    by_channel = "select channel, lane, count(*), count(segments) from campaign.messages where send_id = $id"
    assert club.rows(f"{by_channel} group by all order by all") == [
        ("email", "email:sendgrid", 267, 0),
        ("sms", "sms:twilio", 50, 50),
    ]

    assert club.plan() == 0
    assert club.enqueue() == 317
    assert club.enqueue() == 0
    assert sum(payload.height for _, payload in club.queued()) == 317
    said = texts(club, "text")
    assert len(said) == 317
    assert said["+17025550100"] == (
        "Hi Jasmine Olsen! Ana & Ben marry on June 19, 2027 in Portland. Please RSVP: "
        "rsvp.lakeside-weddings.example Reply STOP to opt out"
    )
    assert said["noah.ueda@oakfield.example"].startswith("Dear Noah Ueda,\n")
    assert not any("None" in text or "{{" in text for text in said.values())


def test_every_recipient_gets_a_way_out_of_their_own(club):
    club.enrol(people(3))
    club.announce()
    club.plan()
    club.enqueue()

    [(content, payload)] = club.queued()
    assert content.has_one_click
    for row in payload.iter_rows(named=True):
        prefix, _, token = row["unsubscribe_url"].rpartition("/")
        claims = club.stores.token_keys.verify(token, Purpose.UNSUBSCRIBE)
        assert prefix == "https://mail.lakeside.example/u"
        assert claims is not None
        assert (claims.message_id, claims.organisation_id) == (row["message_id"], club.id)
        assert claims.address_key == row["address_key"]
        assert row["unsubscribe_url"] in texts(club, "html")[row["address"]]


def test_a_transactional_message_carries_no_unsubscribe_link(club):
    club.enrol(people(2))
    club.announce({"news.html": "Hello {{ name }}"}, **TRANSACTIONAL)
    club.plan()
    club.enqueue()

    [(content, payload)] = club.queued()
    assert not content.has_one_click
    assert "unsubscribe_url" not in payload.columns
    assert texts(club, "html")["p1@people.example"] == "Hello Person 1"


def test_planning_again_only_adds_whom_the_plan_lacks(club):
    club.enrol(people(3))
    club.announce()

    assert (club.plan(), club.plan()) == (3, 0)
    assert (club.enqueue(), club.enqueue()) == (3, 0)

    club.enrol([{"email": "late@people.example", "name": "Late"}])
    assert (club.plan(), club.enqueue(), club.plan(), club.enqueue()) == (1, 1, 0, 0)
    generations = (
        "select generation, count(*) from campaign.messages where send_id = $id group by all order by all"
    )
    assert club.rows(generations) == [(0, 3), (1, 1)]
    assert len(texts(club, "html")) == 4
    assert club.funnel().is_planned_whole


def test_who_left_the_segment_stays_accounted_for(club):
    club.enrol([{**row, "tier": tier} for row, tier in zip(people(3), ["gold", "gold", "tin"], strict=True)])
    club.announce(audience={"field": "tier", "op": "eq", "value": "gold"})
    assert club.plan() == 2

    club.enrol(people(1, tier="tin"))
    assert club.plan() == 0

    funnel = club.funnel()
    assert (funnel.audience, funnel.messages, funnel.excluded) == (2, 2, 0)
    assert club.rows("select count(*) from campaign.decisions where send_id = $id") == [(2,)]


def test_who_left_the_segment_before_being_planned_is_gone(club):
    club.enrol(people(2, tier="gold"))
    club.announce(audience={"field": "tier", "op": "eq", "value": "gold"})
    context = club.send()
    assert stages.write_audience(club.stores, context) == 2

    club.enrol(people(1, tier="tin"))
    assert club.plan() == 1
    assert club.funnel().audience == 1


def test_of_those_who_share_an_address_the_planned_one_keeps_it(club):
    club.enrol([{"external_id": "9", "email": "both@people.example", "name": "Nine"}])
    club.announce()
    assert club.plan() == 1

    # Whatever their ids are, one of these comes before the ninth.
    club.enrol([{"external_id": f"{n}", "email": "both@people.example", "name": f"{n}"} for n in range(8)])
    assert club.plan() == 0
    assert club.exclusions() == {"unique-address": 8}
    assert club.funnel().is_planned_whole


def test_a_contact_is_reached_on_the_first_channel_it_may_be_reached_on(club):
    club.enrol(
        [
            {"email": "both@people.example", "phone": "+12125550101", "name": "Both"},
            {"email": "mail@people.example", "phone": "", "name": "Mail"},
            {"email": "", "phone": "+12125550102", "name": "Phone"},
            {"email": "stopped@people.example", "phone": "+12125550103", "name": "Stopped"},
        ]
    )
    suppress(club, Channel.SMS, "+12125550103")
    club.announce(
        {"news.txt": "Hi {{ name }}"},
        channels=["sms", "email"],
        templates={"email": {"subject": "News", "html": "news.html"}, "sms": {"text": "news.txt"}},
    )

    assert club.plan() == 4
    club.enqueue()
    assert {address: text for address, text in texts(club, "text").items() if address.startswith("+")} == {
        "+12125550101": "Hi Both",
        "+12125550102": "Hi Phone",
    }
    assert len(texts(club, "text")) == 4
    assert club.exclusions() == {}


def test_two_that_enqueue_at_once_add_every_message_once(club):
    club.enrol(people(40))
    club.announce(batch_size=3)
    club.plan()

    with ThreadPoolExecutor(2) as pool:
        added = list(pool.map(lambda _: club.enqueue(), range(2)))

    assert sorted(added) == [0, 40]
    assert [payload.height for _, payload in club.queued()] == [3] * 13 + [1]
    assert len(texts(club, "html")) == 40


def test_slots_too_large_for_a_request_get_a_content_of_their_own(club):
    rows = people(3)
    rows[1]["story"] = "long " * 2_001
    rows[2]["story"] = "short"
    club.enrol(rows)
    club.announce(
        {"news.html": "<p>{{ name }}: {{ story }}</p>"}, fallbacks={"story": "none yet"}, **TRANSACTIONAL
    )
    club.plan()
    club.enqueue()

    batches = club.queued()
    assert sorted((payload.height, len(content.parts["html"])) for content, payload in batches) == [
        (1, 1),
        (2, 5),
    ]
    [(large, payload)] = [each for each in batches if each[1].height == 1]
    assert payload.columns == ["message_id", "contact_id", "address", "address_key"]
    assert large.parts["html"] == (f"<p>Person 1: {('long ' * 2_001).strip()}</p>",)
    assert texts(club, "html")["p0@people.example"] == "<p>Person 0: none yet</p>"


def test_attributes_may_have_the_names_of_our_own_columns(club):
    names = ("address", "message_id", "channel", "variant", "score", "segments", "engagement_score", "s0")
    rows = [row | {name: f"{name} {n}" for name in names} for n, row in enumerate(people(2))]
    club.enrol(rows, attributes={name: f'"{name}"' for name in names})
    club.announce({"news.html": " ".join(f"{{{{ {name} }}}}" for name in names)}, **TRANSACTIONAL)
    club.plan()
    club.enqueue()

    assert texts(club, "html") == {
        f"p{n}@people.example": " ".join(f"{name} {n}" for name in names) for n in range(2)
    }


def test_an_attribute_few_have_is_there_for_every_slice(club, monkeypatch):
    for module in ("messages", "queueing"):
        monkeypatch.setattr(f"comms_pipeline.planning.{module}.SLICE", 2)
    rows = people(7)
    rows[3]["discount"] = "-5"
    rows[4]["discount"] = "20"
    club.enrol(rows)
    template = (
        "{% if discount is none %}no{% elif discount < 0 %}minus{% else %}{{ discount * 2 }}{% endif %}"
    )
    club.announce({"news.html": template}, **TRANSACTIONAL)

    assert club.plan() == 7
    assert club.enqueue() == 7
    said = texts(club, "html")
    assert [said[f"p{n}@people.example"] for n in range(7)] == ["no", "no", "no", "minus", "40", "no", "no"]


def test_a_later_contact_may_lack_what_the_first_ones_had(club):
    club.enrol(people(2, note="hi"))
    club.announce({"news.html": "{% if note %}{{ note }}{% endif %}!"}, **TRANSACTIONAL)
    assert club.plan() == 2

    club.enrol([{"email": "late@people.example", "name": "Late"}])
    assert (club.plan(), club.enqueue()) == (1, 3)
    assert texts(club, "html")["late@people.example"] == "!"


def test_a_text_message_may_have_the_unsubscribe_link_too(club):
    club.enrol([{"phone": "+12125550101", "name": "Ada"}])
    club.announce({"news.txt": "Hi {{ name }}: {{ unsubscribe_url }}"}, **SMS)

    assert (club.plan(), club.enqueue()) == (1, 1)
    text = texts(club, "text")["+12125550101"]
    assert text.startswith("Hi Ada: https://mail.lakeside.example/u/")


def test_variants_say_different_things_and_keep_their_contacts(club):
    club.enrol(people(30))
    club.announce(
        variants=[
            {"name": "a", "templates": {"email": {"subject": "A {{ name }}"}}},
            {"name": "b", "templates": {"email": {"subject": "B {{ name }}"}}},
        ]
    )
    club.plan()
    club.enqueue()

    query = "select email, variant from campaign.messages join core.contacts using (contact_id) where send_id = $id"
    planned = dict(club.rows(query))
    assert set(planned.values()) == {"a", "b"}
    assert {address: subject[:1].lower() for address, subject in texts(club, "subject").items()} == planned


def test_a_template_that_reads_what_nobody_has_fails_before_anything_is_written(club):
    club.enrol(people(2, rsvp_status="pending"))
    club.announce({"news.html": "Hi {{ name }}, {{ rvsp_status }}"})

    with pytest.raises(TemplateError, match=r"'rvsp_status', which no contact has\. Did you mean"):
        club.plan()

    assert club.rows("select * from campaign.messages where send_id = $id") == []
    assert club.enqueue() == 0
    assert club.queued() == []


def test_a_template_that_would_say_none_fails_before_anything_is_written(club):
    club.enrol([*people(2), {"email": "nameless@people.example"}])
    club.announce()

    with pytest.raises(TemplateError, match="1 messages would say 'None' to contacts without 'name'"):
        club.plan()
    assert club.rows("select * from campaign.messages where send_id = $id") == []

    club.announce(fallbacks={"name": "friend"})
    with club.stores.ledger() as ledger:
        ledger.execute("update send set version = 2 where send_id = %s", (club.id,))
    assert (club.plan(), club.enqueue()) == (3, 3)


@pytest.mark.parametrize(
    "sql",
    [
        "select contact_id from contacts where shoe_size > 44",
        "select email from contacts",
        "select contact_id from contacts where email::int > 5",
    ],
)
def test_an_audience_that_does_not_run_is_an_error_and_writes_nothing(club, sql):
    club.enrol(people(2))
    club.announce(audience={"sql": sql})

    with pytest.raises(InvalidSegment) as caught:
        club.plan()

    assert "@" not in str(caught.value)
    for table in ("sends", "audiences", "decisions", "messages"):
        assert club.rows(f"select * from campaign.{table} where send_id = $id") == []


def test_an_address_that_went_after_planning_stops_the_queue_whole(club):
    rows = [
        {"external_id": f"{n}", "email": f"p{n}@people.example", "phone": "+12125550101"} for n in range(3)
    ]
    club.enrol(rows)
    club.announce({"news.html": "Hi"}, **TRANSACTIONAL)
    assert club.plan() == 3
    club.enrol([rows[1] | {"email": ""}])

    with pytest.raises(ContactsChanged, match="1 of its planned contacts have no email address any more"):
        club.enqueue()
    assert club.queued() == []

    club.enrol([rows[1] | {"email": "new@people.example"}])
    assert club.enqueue() == 3
    assert sorted(texts(club, "html")) == ["new@people.example", "p0@people.example", "p2@people.example"]


def test_a_dry_run_says_what_would_happen_and_changes_nothing(club):
    club.enrol(
        [*people(4), {"phone": "+12125550101", "name": "Phone"}, {"phone": "+12125550102", "name": "P"}]
    )
    suppress(club, Channel.EMAIL, "p0@people.example")
    club.announce(
        {"news.txt": "Hi {{ name }}"},
        channels=["email", "sms"],
        templates={"email": {"subject": "News", "html": "news.html"}, "sms": {"text": "news.txt"}},
    )
    lake_files = club.stores.settings.lake_path

    def everything() -> tuple[object, ...]:
        with club.stores.ledger() as ledger:
            tables = ("send", "batch", "content", "enqueued", "outcome", "suppression", "audit")
            counts = [ledger.execute(f"select count(*) from {table}").fetchone() for table in tables]
        snapshots = club.rows("select max(snapshot_id) from ducklake_snapshots('lake') where $id != ''")
        return counts, snapshots, sorted(lake_files.rglob("*.parquet"))

    before = everything()
    result = dry_run(club.stores, club.id)

    assert everything() == before
    assert (result.audience, result.excluded) == (6, 1)
    assert result.planned.by_channel.rows() == [("email", 3, 0), ("sms", 2, 2)]
    assert ("not-suppressed", "suppressed: bounced", 1) in result.exclusions

    # The real thing does just that, and a dry run then finds nothing left to do.
    assert club.plan() == 5
    assert dry_run(club.stores, club.id).planned.messages == 0


def test_a_dry_run_fails_as_planning_would(club):
    club.enrol(people(1))
    club.announce({"news.html": "{{ zodiac }}"})

    with pytest.raises(TemplateError):
        dry_run(club.stores, club.id)
    with pytest.raises(NotFound):
        dry_run(club.stores, "unheard-of")


def test_nobody_in_the_audience_is_a_plan_of_nothing(club):
    club.announce()

    assert (club.plan(), club.enqueue()) == (0, 0)
    assert club.funnel().is_planned_whole
    assert club.funnel().is_settled


def test_a_send_nobody_made_is_not_found(shared_stores):
    with pytest.raises(NotFound, match="send unheard-of: it does not exist"):
        stages.context_of(shared_stores, "unheard-of")


def test_applying_a_folder_again_changes_nothing(club):
    club.announce()
    with club.stores.ledger() as ledger:
        first = sends.get_campaign(ledger, club.id)
    [again] = apply_folder(club.stores, club.folder / "campaign")

    assert (again.version, again.is_new, again.due) == (1, False, "by hand")
    with club.stores.ledger() as ledger:
        assert sends.get_campaign(ledger, club.id) == first


def test_a_campaign_with_a_time_of_its_own_gets_its_send(club):
    club.announce(schedule={"at": "2027-06-14T09:00:00-04:00"})

    with club.stores.ledger() as ledger:
        send = sends.get_send(ledger, club.id)
    assert f"{send.due_at:%Y-%m-%d %H:%M}" == "2027-06-14 13:00"
    assert (send.version, send.status, send.requested_run_at) == (1, "scheduled", None)


def test_a_folder_with_a_bad_template_is_applied_not_at_all(club):
    with pytest.raises(TemplateError):
        club.announce({"news.html": "{{ name | reverse_order }}"})

    with club.stores.ledger() as ledger:
        assert sends.get_organisation(ledger, club.id).name == "Founding"
        with pytest.raises(NotFound):
            sends.get_campaign(ledger, club.id)


def test_a_due_occurrence_becomes_a_send_once(club):
    club.announce(schedule={"cron": "30 1 * * *", "time_zone": "America/New_York"})
    with club.stores.ledger() as ledger:
        ledger.execute(
            "update campaign_version set applied_at = '2026-10-20 12:00+00' where campaign_id = %s",
            (club.id,),
        )

        # A long outage is made up for by its last occurrence; clocks go back on the 1st of November.
        assert add_due_occurrences(ledger, DUE.replace(month=11, hour=5, minute=29)) == [
            f"{club.id}--20261031T0530Z"
        ]
        assert add_due_occurrences(ledger, DUE.replace(month=11, hour=5, minute=29)) == []
        assert add_due_occurrences(ledger, DUE.replace(month=11, hour=5, minute=30)) == [
            f"{club.id}--20261101T0530Z"
        ]
        assert add_due_occurrences(ledger, DUE.replace(month=11, hour=8)) == []
        assert add_due_occurrences(ledger, DUE.replace(month=11, day=2, hour=8)) == [
            f"{club.id}--20261102T0630Z"
        ]
        due = ledger.execute(
            "select count(*) from send where campaign_id = %s and due_at::time in ('05:30', '06:30')",
            (club.id,),
        ).fetchone()
    assert due == (3,)


def test_an_hour_that_comes_twice_has_two_sends(club):
    club.announce(schedule={"cron": "0 * * * *", "time_zone": "America/New_York"})
    with club.stores.ledger() as ledger:
        ledger.execute(
            "update campaign_version set applied_at = '2026-11-01 04:30+00' where campaign_id = %s",
            (club.id,),
        )
        added = [
            send_id.removeprefix(f"{club.id}--")
            for hour in range(5, 8)
            for send_id in add_due_occurrences(ledger, DUE.replace(month=11, hour=hour))
            if send_id.startswith(club.id)
        ]
    assert added == ["20261101T0500Z", "20261101T0600Z", "20261101T0700Z"]

"""What a plan chooses for each contact, from what the lake knows: who is left out, by which channel, when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from audiences import DUE, Club, people

from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.models import rebuild
from comms_pipeline.loader.watermarks import Mark, move_marks, next_load_id
from comms_pipeline.planning import stages
from comms_pipeline.stores import Stores

BOTH = {
    "channels": ["email", "sms"],
    "templates": {"email": {"subject": "News", "html": "news.html"}, "sms": {"text": "news.txt"}},
}
TEXT = {"news.txt": "Hi {{ name }}"}
NOW = DUE + timedelta(minutes=5)


@pytest.fixture
def club(shared_stores, tmp_path) -> Club:
    return at(Club.founded(shared_stores, tmp_path), NOW)


def at(club: Club, moment: datetime) -> Club:
    """The same club at another time."""
    stores: Stores = replace(club.stores, now=lambda: moment)
    vars(stores).update(lake=club.stores.lake)
    return replace(club, stores=stores)


def contact_ids(club: Club) -> dict[str, str]:
    """By the part of the address before the @, or the phone number."""
    name = "coalesce(split_part(email, '@', 1), phone)"
    query = f"select {name}, contact_id from core.contacts where organisation_id = $id"
    return dict(club.rows(query))


def learn(club: Club, table: str, rows: list[dict[str, Any]]) -> None:
    """Add rows to a model, as if it had found them."""
    with club.stores.lake.writer() as writer:
        schema = writer.cursor.execute(f"select * from {table} limit 0").pl().schema
        frame = pl.DataFrame([row | {"computed_at": NOW} for row in rows], schema=dict(schema))
        writer.append(table, frame)


def texts_read(contact_id: str, messages: int, engaged: int) -> dict[str, Any]:
    """A row of core.contact_scores: what a contact got by SMS, and how often it answered."""
    steps = {"taken": {"times": messages}, "engaged": {"times": engaged}}
    return {"contact_id": contact_id, "organisation_id": "reading", "sms_steps": steps}


def record_events(club: Club, *events: tuple[str, str, datetime, str], kind: str = "opened") -> None:
    """Events of one kind: (contact id, message id, when, verdict)."""
    with club.stores.lake.writer() as writer:
        schema = writer.cursor.execute("select * from core.events limit 0").pl().schema
        rows = [
            {
                "event_id": f"{club.id}-{kind}-{number}",
                "message_id": message_id,
                "contact_id": contact_id,
                "provider": "sendgrid",
                "kind": kind,
                "occurred_at": moment,
                "received_at": moment,
                "verdict": verdict,
            }
            for number, (contact_id, message_id, moment, verdict) in enumerate(events)
        ]
        load_id = next_load_id(writer)
        frame = pl.DataFrame(rows, schema=dict(schema)).with_columns(load_id=pl.lit(load_id, pl.Int64))
        writer.append("core.events", frame)
        move_marks(writer, {Mark.LOADS: load_id}, NOW)


def planned(club: Club, column: str) -> dict[str, Any]:
    """A column of the plan, by the part of the address before the @, or the phone number."""
    query = (
        f"select coalesce(split_part(email, '@', 1), phone), m.{column}::varchar from campaign.messages m "
        "join core.contacts using (contact_id) where send_id = $id"
    )
    return dict(club.rows(query))


def test_a_holdout_is_excluded_by_a_rule_of_its_own(club):
    rows = people(400)
    for row in rows[:200]:
        row["phone"] = "no number"
    club.enrol([*rows, {"phone": "+12125550101", "name": "Phone only"}])
    club.announce(holdout=0.25)

    added = club.plan()

    excluded = club.exclusions()
    assert excluded["holdout"] == pytest.approx(100, abs=35)
    assert club.funnel().is_planned_whole
    # Who can be compared with: nothing but the holdout speaks against them.
    control = club.rows(
        "select count(*) from campaign.decisions where send_id = $id "
        "and [rule.rule_id for rule in rules] = ['holdout']"
    )
    assert control == [(401 - added - excluded["address-present"],)]
    evidence = club.rows(
        "select distinct rule.evidence from (select unnest(rules) as rule from campaign.decisions "
        "where send_id = $id) where rule.rule_id = 'holdout'"
    )
    assert evidence == [("held out: 25 % of contacts, to compare with",)]


def test_who_is_planned_stays_so_when_the_holdout_grows(club):
    club.enrol(people(40))
    club.announce()
    assert club.plan() == 40

    club.announce(holdout=0.5)
    with club.stores.ledger() as ledger:
        ledger.execute("update send set version = 2 where send_id = %s", (club.id,))

    assert club.plan() == 0
    assert club.exclusions() == {}
    assert club.funnel().is_planned_whole


def test_the_channel_is_the_contacts_wish_then_its_habit_then_the_first_listed(club):
    rows = people(6)
    for number, wish in enumerate([" SMS ", "Email", "pigeon", "", "", ""]):
        rows[number] |= {"phone": f"+1212555010{number}", "preferred_channel": wish}
    rows[5]["phone"] = ""
    club.enrol(rows)
    club.announce(TEXT, **BOTH)
    ids = contact_ids(club)
    learn(
        club,
        "core.contact_scores",
        [*(texts_read(ids[name], 5, 5) for name in ("p1", "p3", "p5")), texts_read(ids["p4"], 4, 4)],
    )

    assert club.plan() == 6

    assert planned(club, "channel") == {
        "p0": "sms",
        "p1": "email",
        "p2": "email",
        "p3": "sms",
        # Four messages tell too little; and what one has no address for is no choice.
        "p4": "email",
        "p5": "email",
    }


def test_listed_channels_are_taken_as_listed(club):
    club.enrol(people(1, phone="+12125550101", preferred_channel="sms"))
    club.announce(TEXT, **BOTH, channel_choice="listed")
    club.plan()

    assert planned(club, "channel") == {"p0": "email"}


def test_affinity_is_the_smoothed_share_of_messages_somebody_engaged_with(club):
    rows = [*people(3), {"phone": "+12125550101", "name": "Phone"}]
    club.enrol(rows)
    club.announce(TEXT, **BOTH)
    club.plan()
    ids, messages = contact_ids(club), planned(club, "message_id")
    taken = [(contact_id, messages[name], NOW, "unknown") for name, contact_id in ids.items()]
    record_events(club, *taken, kind="delivered")
    record_events(
        club,
        (ids["p0"], messages["p0"], NOW, "human"),
        (ids["p0"], messages["p0"], NOW + timedelta(hours=1), "human"),
        (ids["p1"], messages["p1"], NOW, "machine"),
    )
    refresh_message_status(club.stores)
    rebuild(club.stores, "core.contact_scores")

    found = club.rows(
        "select coalesce(email, phone), channel, messages, human_engaged, affinity from core.channel_affinity "
        "join core.contacts using (contact_id) where organisation_id = $id order by 1"
    )
    assert found == [
        # Nobody of the club ever engaged with a text: that tells nothing about texts.
        ("+12125550101", "sms", 1, 0, 0.2),
        ("p0@people.example", "email", 1, 1, 2 / 6),
        ("p1@people.example", "email", 1, 0, 1 / 6),
        ("p2@people.example", "email", 1, 0, 1 / 6),
    ]


def test_hours_are_by_the_contacts_own_clock_and_fade(club):
    rows = people(3)
    for row, zone in zip(rows, ["America/New_York", "Asia/Kathmandu", ""], strict=True):
        row["time_zone"] = zone
    club.enrol(rows)
    club.announce()
    club.plan()
    ids, messages = contact_ids(club), planned(club, "message_id")
    summer = datetime(2026, 7, 1, 13, tzinfo=UTC)
    winter = datetime(2026, 12, 1, 14, 50, tzinfo=UTC)
    later = at(club, datetime(2026, 12, 1, 15, tzinfo=UTC) + timedelta(days=90))
    record_events(
        club,
        (ids["p0"], messages["p0"], summer, "human"),
        (ids["p0"], messages["p0"], winter, "human"),
        # A message tells something once: when it was first read.
        (ids["p0"], messages["p0"], winter + timedelta(minutes=5), "human"),
        (ids["p0"], messages["p0"], winter + timedelta(hours=1), "human"),
        (ids["p0"], messages["p0"], winter + timedelta(hours=2), "machine"),
        (ids["p1"], messages["p1"], winter, "human"),
        (ids["p2"], messages["p2"], winter, "human"),
    )
    refresh_message_status(later.stores)
    rebuild(later.stores, "core.send_hours")

    found = club.rows(
        "select email, local_hour, weight from core.send_hours join core.contacts using (contact_id) "
        "where organisation_id = $id order by all"
    )
    assert found == [
        ("p0@people.example", 9, round(0.5 ** (243 / 90), 6)),
        # 14:50 UTC is 20:35 in Nepal.
        ("p1@people.example", 20, 0.5),
        ("p2@people.example", 14, 0.5),
    ]


def test_each_message_is_due_at_its_contacts_best_hour_within_the_window(club):
    rows = people(4)
    zones = ["America/New_York", "Asia/Kathmandu", "America/New_York", ""]
    for row, zone in zip(rows, zones, strict=True):
        row["time_zone"] = zone
    club.enrol(rows)
    ids = contact_ids(club)
    learn(
        club,
        "core.send_hours",
        [
            {"contact_id": ids["p0"], "local_hour": 19, "weight": 30.0},
            {"contact_id": ids["p1"], "local_hour": 7, "weight": 9.0},
        ],
    )
    club.announce(send_time={"within_hours": 24})

    assert club.plan() == 4

    due = planned(club, "due_at")
    assert due == {
        "p0": "2026-12-02 00:00:00+00",
        "p1": "2026-12-02 01:15:00+00",
        # As everybody: at seven in the evening.
        "p2": "2026-12-02 00:00:00+00",
        "p3": "2026-12-01 19:00:00+00",
    }
    assert club.enqueue() == 4
    with club.stores.ledger() as ledger:
        batches = ledger.execute(
            "select due_at, message_count from batch where send_id = %s order by due_at", (club.id,)
        ).fetchall()
    assert [(f"{moment.astimezone(UTC):%d %H:%M}", count) for moment, count in batches] == [
        ("01 19:00", 1),
        ("02 00:00", 2),
        ("02 01:15", 1),
    ]


def test_who_joins_later_shares_the_window_of_the_plan(club):
    club.enrol(people(1))
    ids = contact_ids(club)
    learn(club, "core.send_hours", [{"contact_id": ids["p0"], "local_hour": 8, "weight": 30.0}])
    club.announce(send_time={"within_hours": 24})
    assert club.plan() == 1

    club.enrol([{"email": "late@people.example", "name": "Late"}])
    assert at(club, NOW + timedelta(hours=23)).plan() == 1
    club.enrol([{"email": "later@people.example", "name": "Later"}])
    assert at(club, NOW + timedelta(hours=30)).plan() == 1

    assert planned(club, "due_at") == {
        "p0": "2026-12-02 08:00:00+00",
        "late": "2026-12-02 08:05:00+00",
        "later": "2026-12-02 15:05:00+00",
    }


def test_who_has_no_zone_lives_by_the_clock_of_a_recurring_campaign(club):
    club.enrol(people(2))
    ids = contact_ids(club)
    # By UTC, as for everybody without a zone: seven in the evening in New York.
    learn(club, "core.send_hours", [{"contact_id": ids["p0"], "local_hour": 0, "weight": 30.0}])
    schedule = {"cron": "0 4 * * *", "time_zone": "America/New_York"}
    club.announce(send_time={"within_hours": 24}, schedule=schedule)

    assert club.plan() == 2

    assert planned(club, "due_at") == {"p0": "2026-12-02 00:00:00+00", "p1": "2026-12-02 00:00:00+00"}


def test_without_a_send_time_everything_is_due_at_once(club):
    club.enrol(people(2))
    club.announce()
    club.plan()

    assert set(planned(club, "due_at").values()) == {"2026-12-01 09:05:00+00"}
    assert stages.enqueue_plan(club.stores, club.send()) == 2


def test_slices_choose_as_the_whole_does(club, monkeypatch):
    monkeypatch.setattr("comms_pipeline.planning.messages.SLICE", 3)
    rows = people(10)
    for number, row in enumerate(rows):
        row |= {"phone": f"+1212555010{number}", "time_zone": "America/New_York"}
    club.enrol(rows)
    ids = contact_ids(club)
    hours = [{"contact_id": ids[f"p{n}"], "local_hour": 10 + n, "weight": 30.0} for n in range(10)]
    learn(club, "core.send_hours", hours)
    learn(club, "core.contact_scores", [texts_read(ids[f"p{n}"], 9, 8) for n in range(0, 10, 2)])
    club.announce(TEXT, **BOTH, send_time={"within_hours": 24})

    assert club.plan() == 10

    assert planned(club, "channel") == {f"p{n}": "email" if n % 2 else "sms" for n in range(10)}
    assert planned(club, "due_at") == {
        f"p{n}": f"2026-12-{1 if n < 9 else 2:02} {(15 + n) % 24:02}:00:00+00" for n in range(10)
    }

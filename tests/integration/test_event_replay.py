"""A day read again gives what a first load with the new parser would have given."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

import dagster as dg
import polars as pl
import pytest

from comms_pipeline.definitions import build_definitions
from comms_pipeline.domain.event import EventKind, InvalidEvents, ProviderEvent
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import landing
from comms_pipeline.loader.core_events import refresh_events
from comms_pipeline.loader.events import load_provider_events
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.replay import replay
from comms_pipeline.providers.event_parsers import PARSERS, Parsers
from comms_pipeline.stores import Stores

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MESSAGES = [f"{number:032x}" for number in range(4)]
TABLES = {
    "raw.provider_events": "* exclude (load_id)",
    "raw.event_rejects": "*",
    "core.events": "* exclude (load_id)",
    "core.message_status": "* exclude (updated_at, load_id)",
}


def plan(stores: Stores) -> None:
    rows = [
        {"send_id": "offer", "generation": 1, "message_id": message_id, "contact_id": f"c{number}"}
        | {"channel": "email", "lane": "email:sendgrid", "variant": "", "score": 0.0, "due_at": NOON}
        | {"planned_at": NOON}
        for number, message_id in enumerate(MESSAGES)
    ]
    with stores.lake.writer() as writer:
        writer.append("campaign.messages", pl.DataFrame(rows))


def land(stores: Stores, provider: str, kind: str, body: bytes, at: datetime = NOON) -> None:
    with stores.ledger() as ledger:
        landing_id = landing.land(ledger, provider, kind, "", body)
        ledger.execute("update landing set received_at = %s where landing_id = %s", (at, landing_id))


def told(number: int, kind: str, seconds: int = 0, **fields: object) -> dict[str, object]:
    event = {"event": kind, "timestamp": int(NOON.timestamp()) + seconds, "comms_message": MESSAGES[number]}
    return event | {"sg_event_id": f"{kind}-{number}-{seconds}", "email": "p@people.example"} | fields


def land_three_days(stores: Stores) -> None:
    """The day itself, with repeats on the days around it, events it does not own, and what nobody can read."""
    day = timedelta(days=1)

    def post(at: datetime, *events: dict[str, object]) -> None:
        land(stores, "sendgrid", "events", json.dumps(events).encode(), at)

    post(NOON - day, told(0, "delivered"), told(1, "open", 3))
    post(NOON, told(0, "delivered", sg_event_id="again"), told(0, "teleported", 1), told(1, "delivered", 2))
    post(NOON + timedelta(seconds=1), told(2, "bounce", 4, status="5.1.1"), told(1, "open", 3))
    land(stores, "pigeon", "post", f"{MESSAGES[3]} coo".encode())
    land(stores, "twilio", "status", urlencode({"MessageSid": "SM1", "MessageStatus": "delivered"}).encode())
    post(NOON + day, told(0, "teleported", 1, sg_event_id="later"), told(2, "open", 9))


def _teleports(_: str, body: bytes) -> list[ProviderEvent]:
    """A SendGrid parser that knows a kind more, and reads bounces of the address as failures."""
    events = []
    for event in PARSERS["sendgrid", "events"]("", body):
        kind = {"teleported": EventKind.DELIVERED, "bounce": EventKind.FAILED}.get(event.raw_kind, event.kind)
        events.append(ProviderEvent(**(vars(event) | {"kind": kind})))
    return events


def _coos(_: str, body: bytes) -> list[ProviderEvent]:
    message_id, word = body.decode().split()
    return [
        ProviderEvent(
            provider="pigeon",
            channel=Channel.SMS,
            kind=EventKind.DELIVERED,
            raw_kind=word,
            message_id=message_id,
        )
    ]


def _refuses(_: str, __: bytes) -> list[ProviderEvent]:
    raise InvalidEvents("Twilio webhook", "has no time", "Wait")


BETTER: Mapping[tuple[str, str], object] = {
    **PARSERS,
    ("sendgrid", "events"): _teleports,
    ("pigeon", "post"): _coos,
    ("twilio", "status"): _refuses,
}


def load(stores: Stores, parsers: Parsers = PARSERS) -> None:
    load_provider_events(stores, parsers)
    refresh_events(stores)
    refresh_message_status(stores)


def tables(stores: Stores) -> dict[str, list[tuple[object, ...]]]:
    with stores.lake.reader() as cursor:
        return {
            table: cursor.execute(f"select {columns} from {table} order by all").fetchall()
            for table, columns in TABLES.items()
        }


def emptied(stores: Stores) -> Stores:
    """As if nothing had ever been loaded."""
    with stores.lake.writer() as writer:
        for table in (*TABLES, "raw.watermarks"):
            writer.cursor.execute(f"delete from {table}")
    return stores


@pytest.fixture
def landed(stores: Stores) -> Stores:
    plan(stores)
    land_three_days(stores)
    return stores


def test_every_day_replayed_gives_what_a_first_load_with_the_new_parser_gives(landed):
    load(landed)
    before = tables(landed)
    for days in (-1, 0, 1):
        replay(landed, DAY + timedelta(days=days), BETTER)
    replayed = tables(landed)
    load(emptied(landed), BETTER)

    assert replayed == tables(landed)
    assert replayed != before
    assert [row[3] for row in replayed["raw.event_rejects"]] == ["has no time"]


def test_a_day_replayed_touches_no_other_day(landed):
    load(landed)
    replayed = replay(landed, DAY, BETTER)
    assert (replayed.webhooks, replayed.events, replayed.rejects) == (4, 6, 1)

    with landed.lake.reader() as cursor:
        kinds = cursor.execute(
            "select raw_kind, kind, received_at::date from raw.provider_events "
            "where raw_kind in ('teleported', 'coo') order by all"
        ).fetchall()
    assert kinds == [
        ("coo", "delivered", DAY),
        ("teleported", "delivered", DAY),
        ("teleported", "unknown", DAY + timedelta(days=1)),
    ]


def test_replaying_with_the_same_parser_changes_nothing(landed):
    load(landed)
    before = tables(landed)
    replay(landed, DAY)
    replay(landed, DAY)
    assert tables(landed) == before
    load(landed)
    assert tables(landed) == before


def test_an_event_nobody_tells_any_more_is_gone_and_its_message_stands_lower(landed):
    load(landed)

    def only_deliveries(_: str, body: bytes) -> list[ProviderEvent]:
        parsed = PARSERS["sendgrid", "events"]("", body)
        return [event for event in parsed if event.kind is EventKind.DELIVERED]

    replay(landed, DAY, {**PARSERS, ("sendgrid", "events"): only_deliveries})
    with landed.lake.reader() as cursor:
        found = cursor.execute(
            "select message_id, status, bounced_at from core.message_status order by all"
        ).fetchall()
    # The open of the second message was told the day before as well.
    assert found == [
        (MESSAGES[0], "delivered", None),
        (MESSAGES[1], "opened", None),
        (MESSAGES[2], "opened", None),
        # Only planned: nobody tells anything of it any more.
        (MESSAGES[3], "planned", None),
    ]


def test_what_the_ledger_has_dropped_stays_as_it_was_loaded(landed):
    load(landed)
    before = tables(landed)
    with landed.ledger() as ledger:
        ledger.execute("delete from landing")
    assert replay(landed, DAY, BETTER).webhooks == 0
    assert tables(landed) == before


def test_what_was_never_loaded_is_left_to_the_load(landed):
    assert replay(landed, DAY, BETTER).webhooks == 0
    load(landed)
    land(landed, "sendgrid", "events", json.dumps([told(3, "open", 7)]).encode())
    assert replay(landed, DAY).webhooks == 4
    load(landed)
    with landed.lake.reader() as cursor:
        found = cursor.execute(
            "select count(*) from raw.provider_events where message_id = $m", {"m": MESSAGES[3]}
        )
        assert found.fetchall() == [(1,)]


def test_a_partition_of_the_job_is_a_day(landed):
    load(landed)
    with landed.lake.writer() as writer:
        writer.cursor.execute("delete from core.events")
    definitions = build_definitions(landed.settings, {"stores": landed})
    with dg.instance_for_test() as instance:
        result = definitions.get_job_def("replay_events").execute_in_process(
            partition_key=str(DAY), instance=instance
        )
    assert result.success
    with landed.lake.reader() as cursor:
        assert cursor.execute("select count(*) > 0 from core.events").fetchall() == [(True,)]

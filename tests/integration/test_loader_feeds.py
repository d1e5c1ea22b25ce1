"""What comes back: outcomes and events loaded exactly once, told once, counted as by hand."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import orjson
import polars as pl
import pytest
from audiences import Club, people

from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import TokenClaims
from comms_pipeline.ledger import batches, landing
from comms_pipeline.ledger.server import Database
from comms_pipeline.loader import events as events_loader
from comms_pipeline.loader import outcomes as outcomes_loader
from comms_pipeline.loader.events import load_provider_events, refresh_events
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.models import rebuild
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.models.registry import models
from comms_pipeline.providers.base import RESULTS
from comms_pipeline.providers.own_events import unsubscribe_body
from comms_pipeline.providers.twilio_events import MESSAGE_PARAMETER, ORGANISATION_PARAMETER
from comms_pipeline.stores import Stores

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
EPOCH = int(NOON.timestamp())


@pytest.fixture
def club(shared_stores, tmp_path) -> Club:
    """A club with six members, planned and queued; the feeds are drained before."""
    load_outcomes(shared_stores)
    load_provider_events(shared_stores)
    refresh_events(shared_stores)
    club = Club.founded(shared_stores, tmp_path)
    club.enrol(people(6))
    club.announce()
    club.plan()
    club.enqueue()
    return club


def messages(club: Club) -> list[str]:
    """Message ids by address: p0, p1, …"""
    query = (
        "select message_id from campaign.messages join core.contacts using (contact_id) "
        "where send_id = $id order by email"
    )
    return [row[0] for row in club.rows(query)]


def told(message_id: str | None, kind: str, at: int = EPOCH, **fields: object) -> dict[str, object]:
    """One event as SendGrid tells it."""
    event: dict[str, object] = {"event": kind, "timestamp": at, "email": "p@people.example"} | fields
    return event | ({"comms_message": message_id} if message_id else {})


def land(club: Club, *events: dict[str, object]) -> None:
    """One webhook of SendGrid's."""
    with club.stores.ledger() as ledger:
        landing.land(ledger, "sendgrid", "events", "", orjson.dumps(events))


def record(club: Club, statuses: Sequence[tuple[str, str]], reason: str | None = None) -> None:
    """Outcomes of messages, (message id, status), as one record of their batch."""
    rows = [{"message_id": message_id, "status": status, "reason": reason} for message_id, status in statuses]
    with club.stores.ledger() as ledger:
        [(batch_id,)] = ledger.execute("select batch_id from batch where send_id = %s", (club.id,)).fetchall()
        results = pack(pl.DataFrame(rows, schema=RESULTS))
        batches.record_outcome(ledger, batch_id=batch_id, send_id=club.id, results=results)


def core_events(club: Club, columns: str) -> list[tuple[object, ...]]:
    return club.rows(f"select {columns} from core.events where send_id = $id order by all")


def die(*_: object, **__: object) -> None:
    raise SystemExit("the process ends here")


def test_outcomes_are_loaded_once_and_the_latest_is_the_state(club):
    ids = messages(club)
    record(club, [(message_id, "unknown") for message_id in ids[:3]])
    record(club, [(ids[0], "accepted"), (ids[1], "refused")], reason="invalid")

    assert load_outcomes(club.stores) == 5
    assert load_outcomes(club.stores) == 0
    record(club, [(ids[3], "deferred")])
    assert load_outcomes(club.stores) == 1

    funnel = club.funnel()
    assert (funnel.accepted, funnel.refused, funnel.unknown, funnel.deferred) == (1, 1, 1, 1)
    assert funnel.waiting == 2
    rows = "select distinct provider, count(*) over () from core.outcomes where send_id = $id"
    assert club.rows(rows) == [("sendgrid", 6)]


@pytest.mark.parametrize("loader", [outcomes_loader, events_loader])
def test_a_loader_that_dies_before_its_commit_loads_everything_next_time(club, monkeypatch, loader):
    record(club, [(messages(club)[0], "accepted")])
    land(club, told(messages(club)[0], "delivered"))
    with monkeypatch.context() as patch:
        patch.setattr(loader, "move_watermark", die)
        with pytest.raises(SystemExit):
            load_outcomes(club.stores) if loader is outcomes_loader else load_provider_events(club.stores)

    assert club.rows("select * from core.outcomes where send_id = $id") == []
    assert load_outcomes(club.stores) == 1
    assert load_provider_events(club.stores).events == 1
    assert load_outcomes(club.stores) == 0
    assert load_provider_events(club.stores).events == 0


KILLED = """
import os
from pathlib import Path
from comms_pipeline.loader import events
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

def killed(*_, **__):
    print("appended", flush=True)
    os.kill(os.getpid(), 9)

events.move_watermark = killed
settings = load_settings(Path(os.environ["HOME_FOLDER"]), database_url=os.environ["URL"], secret_key="x")
events.load_provider_events(Stores(settings))
"""


def test_a_loader_that_is_killed_before_its_commit_leaves_the_lock_and_nothing_else(club):
    land(club, told(messages(club)[0], "delivered"))
    environment = os.environ | {
        "HOME_FOLDER": str(club.stores.settings.home),
        "URL": club.stores.server.url(Database.LEDGER),
    }
    process = subprocess.run(
        [sys.executable, "-c", KILLED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (process.stdout, process.returncode) == ("appended\n", -9)

    assert load_provider_events(club.stores).events == 1
    refresh_events(club.stores)
    assert core_events(club, "kind") == [("delivered",)]


def test_rows_beyond_one_commit_are_loaded_in_order_and_once(club, monkeypatch):
    monkeypatch.setattr(events_loader, "_WEBHOOKS_PER_COMMIT", 2)
    monkeypatch.setattr(outcomes_loader, "_ROWS_PER_COMMIT", 2)
    for second, message_id in enumerate(messages(club)[:5]):
        land(club, told(message_id, "delivered", EPOCH + second))
        record(club, [(message_id, "accepted")])

    loaded = load_provider_events(club.stores)
    assert (loaded.webhooks, loaded.events, loaded.rejects) == (5, 5, 0)
    assert load_outcomes(club.stores) == 5
    refresh_events(club.stores)
    assert len(core_events(club, "event_id")) == 5
    assert club.funnel().accepted == 5


def test_an_event_told_again_counts_once(club):
    first, second, *_ = messages(club)
    opened = told(first, "open", sg_event_id="e1", sg_message_id="m.1")
    land(club, opened, opened)
    land(club, opened)
    # Told anew, under another id.
    land(club, opened | {"sg_event_id": "e2"})
    # Told anew under the same id, with another time.
    land(club, opened | {"timestamp": EPOCH + 2})
    # These are events of their own.
    land(
        club,
        opened | {"timestamp": EPOCH + 1, "sg_event_id": "e4"},
        told(second, "open", sg_event_id="e1"),
        told(first, "delivered"),
    )
    land(club, told(first, "click", url="https://a.example"), told(first, "click", url="https://b.example"))

    assert load_provider_events(club.stores).events == 10
    assert refresh_events(club.stores) == 6
    land(club, opened | {"sg_event_id": "e3"})
    load_provider_events(club.stores)
    assert refresh_events(club.stores) == 0
    assert refresh_events(club.stores) == 0
    assert sorted(kind for (kind,) in core_events(club, "kind")) == [
        "clicked",
        "clicked",
        "delivered",
        "opened",
        "opened",
        "opened",
    ]


def test_a_callback_without_a_time_counts_once_however_late_it_is_repeated(club):
    query = urlencode({MESSAGE_PARAMETER: messages(club)[0], ORGANISATION_PARAMETER: club.id})
    body = urlencode(
        {"MessageSid": f"SM{club.id}", "MessageStatus": "delivered", "To": "+12125550101"}
    ).encode()
    for _ in range(2):
        with club.stores.ledger() as ledger:
            landing.land(ledger, "twilio", "status", query, body)
        load_provider_events(club.stores)
        refresh_events(club.stores)

    assert core_events(club, "kind, provider") == [("delivered", "twilio")]


def test_what_matches_no_message_and_what_nobody_knows_is_kept(club):
    unmatched = "select kind, count(*) from core.events where send_id is null group by kind"
    before = dict(club.rows(unmatched))
    request = f"{club.id}.recvd"
    land(
        club,
        told("f" * 32, "delivered", sg_event_id=f"{club.id}-1"),
        told(None, "delivered", sg_event_id=f"{club.id}-2", sg_message_id=request),
        told(None, "delivered", sg_event_id=f"{club.id}-3", sg_message_id=request),
        told(None, "teleported", sg_event_id=f"{club.id}-4"),
        told(None, "delivered", reason=club.id),
        told(None, "delivered", reason=club.id),
        told(messages(club)[0], "teleported", sg_event_id=f"{club.id}-5"),
    )

    load_provider_events(club.stores)
    assert refresh_events(club.stores) == 7
    assert core_events(club, "kind, verdict") == [("unknown", "unknown")]
    assert {kind: count - before.get(kind, 0) for kind, count in club.rows(unmatched)} == {
        "delivered": 5,
        "unknown": 1,
    } | {kind: 0 for kind in before if kind not in {"delivered", "unknown"}}


@pytest.mark.parametrize(
    ("provider", "kind", "body"),
    [
        ("sendgrid", "events", b"{broken"),
        ("sendgrid", "events", b'[{"event": "open", "email": "p@people.example"}, 5]'),
        ("twilio", "status", b"To=%2B12125550101"),
        ("twilio", "inbound", b""),
        ("comms", "unsubscribe", b"[]"),
        ("pigeon", "post", b"coo"),
    ],
)
def test_a_webhook_nobody_can_read_is_kept_as_a_reject_and_holds_nothing_up(club, provider, kind, body):
    with club.stores.ledger() as ledger:
        landing_id = landing.land(ledger, provider, kind, "", body)
    land(club, told(messages(club)[0], "delivered"))

    loaded = load_provider_events(club.stores)
    assert (loaded.webhooks, loaded.events, loaded.rejects) == (2, 1, 1)
    [(found, reason)] = club.rows(
        "select provider, reason from raw.event_rejects where landing_id = $landing", landing=landing_id
    )
    assert found == provider
    assert reason
    assert "@" not in reason
    assert "2125550101" not in reason


def test_no_address_reaches_the_lake_but_in_contacts(club):
    first = messages(club)[0]
    address, number = "p0@people.example", "+12125550199"
    land(
        club,
        told(
            first,
            "bounce",
            email=address,
            reason=f"550 5.1.1 <{address}> unknown; call {number}",
            status="5.1.1",
            sg_message_id="x.y@geopod",
            **{
                "smtp-id": "<1@ismtpd>",
                "nested": {"to": [address, {"cc": f"A <{address}>"}]},
                "note": number,
            },
        ),
        told(first, "click", url="https://a.example/?u=p0%40people.example&t=+12125550199", email=address),
        told(first, f"weird {address}", sg_event_id="w1"),
    )
    form = {"From": number, "To": "+15005550006", "Body": f"STOP {address}", "MessageSid": "SM1"}
    with club.stores.ledger() as ledger:
        landing.land(ledger, "twilio", "inbound", "", urlencode(form).encode())
        status = {
            "MessageSid": "SM2",
            "MessageStatus": "failed",
            "To": number,
            "ErrorMessage": f"no {number}",
        }
        landing.land(ledger, "twilio", "status", "", urlencode(status).encode())
        claims = TokenClaims(
            organisation_id=club.id,
            message_id=first,
            contact_id="c" * 32,
            channel=Channel.EMAIL,
            address_key=b"k" * 16,
        )
        landing.land(ledger, "comms", "unsubscribe", "", unsubscribe_body(claims))
    record(club, [(first, "accepted")])
    load_outcomes(club.stores)
    load_provider_events(club.stores)
    refresh_events(club.stores)
    refresh_message_status(club.stores)
    for model in models():
        rebuild(club.stores, model)

    with club.stores.lake.reader() as cursor:
        tables = cursor.execute(
            "select schema_name || '.' || table_name from duckdb_tables() where database_name = 'lake' "
            "and schema_name in ('raw', 'core', 'campaign', 'mart') order by all"
        ).fetchall()
        assert {(table,) for table, model in models().items() if not model.is_view} < set(tables)
        for (table,) in tables:
            if table != "core.contacts":
                text = f"select t::varchar from {table} t"
                hits = f"select * from ({text}) s (row) where regexp_matches(row, $pattern)"
                pattern = "@people|%40people|2125550199|@geopod|@ismtpd"
                assert cursor.execute(hits, {"pattern": pattern}).fetchall() == [], table


def at(stores: Stores, moment: datetime) -> Stores:
    """The same installation at another time."""
    later = replace(stores, now=lambda: moment)
    vars(later).update(lake=stores.lake)
    return later


def test_marts_are_what_one_counts_by_hand(club):
    ids = messages(club)
    record(
        club, [*((message_id, "accepted") for message_id in ids[:4]), (ids[4], "refused")], reason="invalid"
    )
    land(
        club,
        *(told(message_id, "delivered") for message_id in ids[:3]),
        told(ids[2], "bounce", EPOCH + 5, status="5.1.1"),
        told(ids[0], "open", EPOCH + 10),
        told(ids[0], "open", EPOCH + 20),
        told(ids[1], "open", EPOCH + 1, sg_machine_open=True),
        told(ids[0], "click", EPOCH + 30, url="https://a.example"),
        told(ids[0], "click", EPOCH + 31, url="https://a.example"),
        told(ids[1], "spamreport", EPOCH + 40),
        told(ids[0], "unsubscribe", EPOCH + 50),
    )
    load_outcomes(club.stores)
    load_provider_events(club.stores)
    refresh_events(club.stores)
    refresh_message_status(club.stores)
    later = at(club.stores, NOON + timedelta(days=30))
    for model in models():
        rebuild(later, model)

    [states] = club.rows(
        "select channel, variant, messages, accepted, refused, deferred, cancelled, unknown, waiting "
        "from mart.campaign_performance where send_id = $id"
    )
    assert states == ("email", "", 6, 4, 1, 0, 0, 0, 1)
    [told_of_them] = club.rows(
        "select delivered, bounced, failed, opened, human_opened, clicked, human_clicked, unsubscribed, complained "
        "from mart.campaign_performance where send_id = $id"
    )
    assert told_of_them == (2, 1, 0, 2, 1, 1, 1, 1, 1)
    [rates] = club.rows(
        "select delivery_rate, bounce_rate, open_rate, human_open_rate, click_rate, unsubscribe_rate, complaint_rate "
        "from mart.campaign_performance where send_id = $id"
    )
    assert rates == (2 / 4, 1 / 4, 2 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 2)
    [funnel] = club.rows(
        "select audience, excluded, messages, accepted, refused, deferred, cancelled, unknown, waiting "
        "from mart.send_funnel where send_id = $id"
    )
    assert funnel == (6, 0, 6, 4, 1, 0, 0, 0, 1)

    scores = club.rows(
        "select delivered, human_opens, human_clicks, engagement_score, last_engaged_at is null "
        "from core.contact_scores s join core.contacts c using (contact_id) where s.organisation_id = $id "
        "order by email"
    )
    # Delivered 30 days ago and clicked: weight 0.5^(30/90) over itself and 1. What came back was not delivered.
    assert scores == [
        (1, 1, 1, pytest.approx(0.442493, abs=1e-6), False),
        (1, 0, 0, 0.0, True),
        *[(0, 0, 0, 0.0, True)] * 4,
    ]

    kept = [table for table, model in models().items() if not model.is_view]
    before = {table: club.rows(f"select * from {table} order by all") for table in kept}
    for table in kept:
        assert rebuild(later, table).rows == len(before[table])
    assert {table: club.rows(f"select * from {table} order by all") for table in kept} == before


def test_rates_of_nothing_are_null(club):
    for model in models():
        rebuild(club.stores, model)

    rates = club.rows("select columns('.*_rate') from mart.campaign_performance where send_id = $id")
    assert rates == [(None,) * 10]


def test_who_listened_comes_with_a_higher_score_into_the_next_plan(club):
    land(club, told(messages(club)[0], "open"), told(messages(club)[1], "open", sg_machine_open=True))
    load_provider_events(club.stores)
    refresh_events(club.stores)
    refresh_message_status(club.stores)
    rebuild(at(club.stores, NOON), "core.contact_scores")
    club.announce({"news.html": "Hello {{ name }}"})
    with club.stores.ledger() as ledger:
        ledger.execute("update send set status = 'sending' where send_id = %s", (club.id,))
        # As if nothing had been queued: a queued plan that is gone would rightly stop the next one.
        ledger.execute("delete from enqueued where send_id = %s", (club.id,))
    with club.stores.lake.writer() as writer:
        writer.erase("campaign.messages", "send_id", [club.id])

    replace(club, stores=at(club.stores, NOON + timedelta(days=30))).plan()
    scores = club.rows(
        "select score from campaign.messages join core.contacts using (contact_id) where send_id = $id order by email"
    )
    # Half for knowing the name, a quarter halved by 30 days, half a quarter for one open of at most two.
    assert scores == [(0.75,), *[(0.5,)] * 5]


def test_an_empty_warehouse_has_empty_marts(stores):
    assert load_outcomes(stores) == 0
    assert load_provider_events(stores).webhooks == 0
    assert refresh_events(stores) == 0
    for table, model in (*models().items(), *models().items()):
        assert rebuild(stores, table).rows == (None if model.is_view else 0)


def test_payloads_of_the_queue_are_what_was_packed(club):
    with club.stores.ledger() as ledger:
        [(payload,)] = ledger.execute("select payload from batch where send_id = %s", (club.id,)).fetchall()

    assert sorted(unpack(bytes(payload))["message_id"]) == sorted(messages(club))

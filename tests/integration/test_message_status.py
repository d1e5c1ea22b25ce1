"""Where each message stands: the same whatever the order, the repeats and the runs in which it was told."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.loader.core_events import refresh_events
from comms_pipeline.loader.message_status import rebuild_message_status, refresh_message_status
from comms_pipeline.loader.watermarks import Mark, move_marks, next_load_id
from comms_pipeline.stores import Stores

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
RANKS = {
    **{
        "planned": 0,
        "unknown": 5,
        "cancelled": 10,
        "refused": 11,
        "accepted": 20,
        "sent": 30,
        "deferred": 40,
    },
    **{
        "delivered": 50,
        "failed": 51,
        "bounced": 52,
        "opened": 60,
        "clicked": 61,
        "unsubscribed": 70,
        "complained": 71,
    },
}
KINDS = [
    *(
        "queued",
        "sent",
        "deferred",
        "delivered",
        "rejected",
        "failed",
        "blocked",
        "bounced",
        "opened",
        "clicked",
    ),
    *("unsubscribed", "complained", "subscribed", "inbound", "autoresponded", "unknown"),
]


STEPS = (
    "message_id, send_id, contact_id, channel, organisation_id, status, status_rank, accepted_at, sent_at, "
    "deferred_at, delivered_at, bounced_at, failed_at, first_opened_at, first_human_opened_at, first_clicked_at, "
    "first_human_clicked_at, complained_at, unsubscribed_at, opens, human_opens, clicks, human_clicks, last_event_at"
)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def event(
    message_id: str, kind: str, minute: int, verdict: str = "human", match: str = "message_id"
) -> dict[str, Any]:
    """A row of core.events."""
    return {
        "event_id": uuid4().hex,
        "message_id": message_id,
        "organisation_id": "club",
        "provider": "sendgrid",
        "kind": kind,
        "occurred_at": at(minute),
        "received_at": at(minute),
        "verdict": verdict if kind in ("opened", "clicked") else "unknown",
        "match": match,
    }


def outcome(message_id: str, status: str, number: int) -> dict[str, Any]:
    """A row of core.outcomes; the highest number is the state."""
    return {
        "outcome_id": number,
        "batch_id": 1,
        "send_id": "offer",
        "message_id": message_id,
        "status": status,
        "provider": "sendgrid",
        "recorded_at": at(number),
    }


def plan(stores: Stores, *message_ids: str) -> None:
    rows = [
        {"send_id": "offer", "generation": 1, "message_id": message_id, "contact_id": f"c{message_id}"}
        | {"channel": "email", "lane": "email:sendgrid", "variant": "", "score": 0.0, "due_at": NOON}
        | {"planned_at": NOON}
        for message_id in message_ids
    ]
    with stores.lake.writer() as writer:
        writer.append("campaign.messages", pl.DataFrame(rows))


def add(stores: Stores, events: list[dict[str, Any]], outcomes: list[dict[str, Any]]) -> None:
    """Rows as one run of the loaders adds them."""
    with stores.lake.writer() as writer:
        load_id = next_load_id(writer)
        _append(writer, "core.events", events, load_id)
        _append(writer, "core.outcomes", outcomes, load_id)
        move_marks(writer, {Mark.LOADS: load_id}, NOON)


def _append(writer: LakeWriter, table: str, rows: list[dict[str, Any]], load_id: int) -> None:
    if rows:
        frame = pl.DataFrame(rows, infer_schema_length=None)
        writer.append(table, frame.with_columns(load_id=pl.lit(load_id, pl.Int64)))


def statuses(stores: Stores, columns: str = "* exclude (updated_at, load_id)") -> list[tuple[Any, ...]]:
    with stores.lake.reader() as cursor:
        return cursor.execute(f"select {columns} from core.message_status order by message_id").fetchall()


def test_a_message_has_the_time_of_every_step(stores):
    plan(stores, "m1")
    add(
        stores,
        [
            event("m1", "deferred", 2),
            event("m1", "sent", 1),
            event("m1", "delivered", 3),
            event("m1", "opened", 4, "machine"),
            event("m1", "opened", 6),
            event("m1", "clicked", 5, "proxy"),
            event("m1", "clicked", 7),
            event("m1", "unsubscribed", 8),
        ],
        [outcome("m1", "accepted", 0)],
    )
    assert refresh_message_status(stores) == 1
    assert statuses(stores, STEPS) == [
        (
            *("m1", "offer", "cm1", "email", "club", "unsubscribed", 70),
            # accepted, sent, deferred, delivered, bounced, failed
            *(at(0), at(1), at(2), at(3), None, None),
            # opened, by a person, clicked, by a person, complained, unsubscribed
            *(at(4), at(6), at(5), at(7), None, at(8)),
            *(2, 1, 2, 1, at(8)),
        )
    ]


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (["accepted"], "accepted"),
        (["unknown"], "unknown"),
        (["deferred"], "planned"),
        (["deferred", "accepted"], "accepted"),
        (["accepted", "cancelled"], "cancelled"),
        (["unknown", "refused"], "refused"),
    ],
)
def test_the_latest_outcome_is_where_a_message_stands_until_something_is_heard(stores, told, status):
    add(stores, [], [outcome("m1", each, number) for number, each in enumerate(told)])
    refresh_message_status(stores)
    assert statuses(stores, "status") == [(status,)]
    # Whatever we noted: what the provider delivered, is delivered.
    add(stores, [event("m1", "delivered", 9)], [])
    refresh_message_status(stores)
    assert statuses(stores, "status, delivered_at") == [("delivered", at(9))]


def test_what_is_told_late_fills_its_time_and_lowers_nothing(stores):
    add(stores, [event("m1", "opened", 5)], [])
    refresh_message_status(stores)
    assert statuses(stores, "status, delivered_at, opens") == [("opened", None, 1)]
    add(stores, [event("m1", "delivered", 3), event("m1", "deferred", 2)], [])
    refresh_message_status(stores)
    assert statuses(stores, "status, delivered_at, deferred_at, opens") == [("opened", at(3), at(2), 1)]


def test_every_status_outranks_the_one_before(stores):
    kinds = {kind: n for n, kind in enumerate(KINDS)}
    add(stores, [event(f"m-{kind}", kind, n) for kind, n in kinds.items()], [])
    refresh_message_status(stores)
    found = dict(statuses(stores, "status, status_rank"))
    assert found == {status: RANKS[status] for status in found}
    assert set(found) == set(RANKS) - {"unknown", "cancelled", "refused"}


def test_events_that_belong_to_no_message_of_ours_have_no_status(stores):
    add(stores, [event("f" * 32, "delivered", 1, match="unmatched")], [])
    assert refresh_message_status(stores) == 0
    assert statuses(stores) == []


def test_rows_from_before_load_ids_were_kept_are_taken_up(stores):
    with stores.lake.writer() as writer:
        writer.append("core.events", pl.DataFrame([event("m1", "delivered", 1)]).drop("match"))
        writer.append("core.outcomes", pl.DataFrame([outcome("m2", "accepted", 1)]))
    assert refresh_message_status(stores) == 2
    assert statuses(stores, "message_id, status") == [("m1", "delivered"), ("m2", "accepted")]


def test_a_run_without_news_computes_nothing(stores):
    add(stores, [event("m1", "delivered", 1)], [outcome("m2", "accepted", 2)])
    assert refresh_message_status(stores) == 2
    assert refresh_message_status(stores) == 0
    add(stores, [event("m2", "delivered", 1)], [])
    assert refresh_message_status(stores) == 1


FACTS = st.lists(
    st.one_of(
        st.builds(
            event,
            st.sampled_from(["m1", "m2", "m3"]),
            st.sampled_from(KINDS),
            st.integers(0, 5),
            st.sampled_from(["human", "machine", "proxy", "unknown"]),
        ),
        st.builds(
            outcome,
            st.sampled_from(["m1", "m2", "m3"]),
            st.sampled_from(["accepted", "refused", "unknown", "deferred", "cancelled"]),
            st.integers(0, 1000),
        ),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row.get("event_id") or row["outcome_id"],
)


@settings(max_examples=20)
@given(facts=FACTS, data=st.data())
def test_order_and_parts_make_no_difference(shared_stores, facts, data):
    shuffled = data.draw(st.permutations(facts))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(facts)), max_size=3)))
    parts = [shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, len(facts)], strict=True)]

    def told_in(parts: list[list[dict[str, Any]]]) -> list[tuple[Any, ...]]:
        with shared_stores.lake.writer() as writer:
            for table in ("core.events", "core.outcomes", "core.message_status", "raw.watermarks"):
                writer.cursor.execute(f"delete from {table}")
        for part in parts:
            events = [row for row in part if "event_id" in row]
            add(shared_stores, events, [row for row in part if "outcome_id" in row])
            refresh_message_status(shared_stores)
        return statuses(shared_stores)

    at_once = told_in([facts])
    assert told_in(parts) == at_once
    rebuild_message_status(shared_stores)
    assert statuses(shared_stores) == at_once


def test_a_row_has_the_number_of_the_run_that_computed_it(stores):
    plan(stores, "m1", "m2")
    add(stores, [event("m1", "delivered", 1), event("m2", "delivered", 1)], [])
    refresh_message_status(stores)
    before = dict(statuses(stores, "message_id, load_id"))
    add(stores, [event("m2", "opened", 2)], [])
    refresh_message_status(stores)
    after = dict(statuses(stores, "message_id, load_id"))
    assert before["m1"] == before["m2"] == after["m1"] < after["m2"]

    rebuild_message_status(stores)
    (rebuilt,) = {load_id for _, load_id in statuses(stores, "message_id, load_id")}
    assert rebuilt > after["m2"]


def test_a_run_without_news_writes_nothing(stores):
    plan(stores, "m1")
    add(stores, [event("m1", "delivered", 1)], [])
    refresh_message_status(stores)
    with stores.lake.reader() as cursor:
        snapshot = cursor.execute("select max(snapshot_id) from ducklake_snapshots('lake')").fetchone()
    assert (refresh_message_status(stores), refresh_events(stores), refresh_message_status(stores)) == (
        0,
        0,
        0,
    )
    with stores.lake.reader() as cursor:
        assert (
            cursor.execute("select max(snapshot_id) from ducklake_snapshots('lake')").fetchone() == snapshot
        )


def test_rows_from_before_the_plan_was_part_of_them_are_computed_anew(stores):
    plan(stores, "m1", "m2")
    add(stores, [event("m1", "delivered", 1)], [outcome("m1", "accepted", 0)])
    refresh_message_status(stores)
    with stores.lake.writer() as writer:
        writer.cursor.execute("delete from core.message_status where message_id = 'm2'")
        writer.cursor.execute("update core.message_status set state = null, lane = null, domain = null")
    assert refresh_message_status(stores) == 2
    assert statuses(stores, "message_id, status, state, lane, domain") == [
        ("m1", "delivered", "accepted", "email:sendgrid", "(unknown)"),
        ("m2", "planned", "waiting", "email:sendgrid", "(unknown)"),
    ]
    assert refresh_message_status(stores) == 0


def test_part_by_part_gives_the_same_rows(stores, monkeypatch):
    names = [f"m{number}" for number in range(9)]
    plan(stores, *names[:6])
    add(
        stores,
        [event(name, "delivered", 1) for name in names],
        [outcome(name, "accepted", 0) for name in names],
    )
    assert refresh_message_status(stores) == 9
    whole = statuses(stores, STEPS)
    monkeypatch.setattr("comms_pipeline.loader.message_status._MESSAGES_AT_ONCE", 2)
    assert rebuild_message_status(stores) == 9
    assert statuses(stores, STEPS) == whole
    assert len(whole) == 9

"""Models on a real lake: bit by bit gives what computing all gives, and nothing is taken for done that is not."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.lake.catalog import AppliedSchema
from comms_pipeline.ledger.server import Database
from comms_pipeline.loader import models as runner
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.model_checks import check_model
from comms_pipeline.loader.models import rebuild, refresh
from comms_pipeline.loader.watermarks import Mark, move_marks, next_load_id
from comms_pipeline.models.header import InvalidModel, Model, read_model
from comms_pipeline.models.registry import models
from comms_pipeline.planning.stages import note_planned
from comms_pipeline.stores import Stores

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
SENDS, CONTACTS, CHANNELS = ("s1", "s2", "s3"), tuple("abcdef"), ("email", "sms")
FILLED = (
    "campaign.sends",
    "campaign.audiences",
    "campaign.decisions",
    "campaign.messages",
    "core.contacts",
    "core.events",
    "core.outcomes",
    "core.message_status",
    "raw.watermarks",
    "raw.model_marks",
)
KEPT = [table for table, model in models().items() if not model.is_view]
INCREMENTAL = [table for table, model in models().items() if model.changed]


@pytest.fixture(scope="module")
def opened(shared_stores: Stores) -> Stores:
    return at(shared_stores, NOON)


@pytest.fixture
def lake(opened: Stores) -> Iterator[Stores]:
    """An empty lake, and empty again afterwards."""
    empty(opened)
    yield opened
    empty(opened)


def at(stores: Stores, moment: datetime) -> Stores:
    """The same installation at another time."""
    other = replace(stores, now=lambda: moment)
    vars(other).update(lake=stores.lake)
    return other


def empty(stores: Stores) -> None:
    with stores.lake.writer() as writer:
        for table in (*FILLED, *KEPT):
            [(is_filled,)] = writer.cursor.execute(f"select count(*) > 0 from {table}").fetchall()
            if is_filled:
                writer.cursor.execute(f"delete from {table}")


def rows(stores: Stores, table: str) -> list[tuple[Any, ...]]:
    """Without the time of computing, if it has one."""
    columns = [name for name in models()[table].header.columns if name != "computed_at"]
    with stores.lake.reader() as cursor:
        return cursor.execute(f"select {', '.join(columns)} from {table} order by all").fetchall()


def append(stores: Stores, table: str, *records: dict[str, Any], load: bool = False) -> None:
    """Rows as one run of a loader adds them."""
    frame = pl.DataFrame(records, infer_schema_length=None)
    with stores.lake.writer() as writer:
        if load:
            load_id = next_load_id(writer)
            frame = frame.with_columns(load_id=pl.lit(load_id, pl.Int64))
            move_marks(writer, {Mark.LOADS: load_id}, stores.now())
        writer.append(table, frame)


def found(stores: Stores) -> None:
    """The sends and the contacts there are."""
    now = stores.now()
    send = {"campaign_id": "news", "version": 1, "organisation_id": "club", "message_class": "marketing"}
    append(stores, "campaign.sends", *({"send_id": each, "due_at": now} | send for each in SENDS))
    person = {"organisation_id": "club", "attributes": "{}", "is_erased": False, "created_at": now}
    append(stores, "core.contacts", *({"contact_id": each, "updated_at": now} | person for each in CONTACTS))


def plan(stores: Stores, send: str, contact: str, channel: str, decision: str) -> None:
    """One contact more in a send's audience, decided on, and planned if allowed; once for each."""
    key = {"send_id": send, "contact_id": contact}
    message_id = f"{send}-{contact}-{channel}"
    with stores.lake.reader() as cursor:
        query = "select count(*) from campaign.decisions where send_id = $send and contact_id = $contact"
        if cursor.execute(query, {"send": send, "contact": contact}).fetchone() != (0,):
            return
    now = stores.now()
    append(stores, "campaign.audiences", key | {"selected_at": now})
    rules = [{"rule_id": "suppressed", "version": 1, "evidence": ""}] if decision == "excluded" else []
    with stores.lake.writer() as writer:
        # By SQL: Polars cannot tell an empty list's type.
        writer.cursor.execute(
            "insert into campaign.decisions by name select $send_id as send_id, $contact_id as contact_id, "
            "$channel as channel, $decision as decision, $rules as rules, $now as decided_at",
            key | {"channel": channel, "decision": decision, "rules": rules, "now": now},
        )
    if decision != "excluded":
        planned = {
            "generation": 1,
            "message_id": message_id,
            "channel": channel,
            "lane": f"{channel}:sandbox",
        }
        rest = {"variant": "", "score": 0.5, "due_at": now, "planned_at": now}
        append(stores, "campaign.messages", key | planned | rest)
        with stores.lake.writer() as writer:
            note_planned(writer.cursor, send, now)


def tell(stores: Stores, message_id: str, kind: str) -> None:
    """An event of a message, whether it is planned or not."""
    send, contact, channel = message_id.split("-")
    event = {"event_id": uuid4().hex, "message_id": message_id, "send_id": send, "contact_id": contact}
    about = {"channel": channel, "organisation_id": "club", "provider": "sandbox", "kind": kind}
    times = {"occurred_at": stores.now(), "received_at": stores.now()}
    verdict = {"verdict": "human" if kind in ("opened", "clicked") else "unknown", "match": "message_id"}
    append(stores, "core.events", event | about | times | verdict, load=True)


def answer(stores: Stores, message_id: str, status: str) -> None:
    """An outcome; later ones have higher ids."""
    with stores.lake.reader() as cursor:
        row = cursor.execute("select count(*) from core.outcomes").fetchone()
    outcome = {"outcome_id": row[0] if row else 0, "batch_id": 1, "send_id": message_id.split("-")[0]}
    what = {"message_id": message_id, "status": status, "provider": "sandbox", "recorded_at": stores.now()}
    append(stores, "core.outcomes", outcome | what, load=True)


def erase(stores: Stores, contact: str) -> None:
    with stores.lake.writer() as writer:
        writer.cursor.execute(
            "update core.contacts set is_erased = true, updated_at = $now where contact_id = $contact",
            {"now": stores.now(), "contact": contact},
        )


MESSAGES = st.builds("-".join, st.tuples(*map(st.sampled_from, (SENDS, CONTACTS, CHANNELS))))
HAPPENING = st.one_of(
    st.tuples(
        st.just(plan),
        st.sampled_from(SENDS),
        st.sampled_from(CONTACTS),
        st.sampled_from(CHANNELS),
        st.sampled_from(["allowed", "allowed", "deferred", "excluded"]),
    ),
    st.tuples(st.just(answer), MESSAGES, st.sampled_from(["accepted", "refused", "unknown", "deferred"])),
    st.tuples(st.just(tell), MESSAGES, st.sampled_from(["delivered", "bounced", "opened", "clicked"])),
    st.tuples(st.just(erase), st.sampled_from(CONTACTS)),
)


@settings(max_examples=6)
@given(st.lists(st.lists(HAPPENING, min_size=1, max_size=5), min_size=2, max_size=3))
def test_bit_by_bit_gives_what_computing_all_gives(
    opened: Stores, steps: list[list[tuple[Any, ...]]]
) -> None:
    empty(opened)
    found(opened)
    later = opened
    for number, step in enumerate(steps):
        # More than the overlap apart.
        later = at(opened, NOON + timedelta(days=2 * number))
        for do, *arguments in step:
            do(later, *arguments)
        refresh_message_status(later)
        for table in INCREMENTAL:
            refresh(later, table)
    bit_by_bit = {table: rows(later, table) for table in INCREMENTAL}
    for table in INCREMENTAL:
        assert rebuild(later, table).is_whole
    assert {table: rows(later, table) for table in INCREMENTAL} == bit_by_bit
    empty(opened)


def test_a_second_refresh_computes_only_what_is_new(lake: Stores) -> None:
    found(lake)
    for contact in CONTACTS:
        plan(lake, "s1", contact, "email", "allowed")
        tell(lake, f"s1-{contact}-email", "opened")
    refresh_message_status(lake)
    first = refresh(lake, "core.send_hours")
    assert (first.is_whole, first.rows, first.written) == (True, 6, 6)
    assert refresh(lake, "core.send_hours").keys_changed == 0
    plan(lake, "s2", "a", "email", "allowed")
    tell(lake, "s2-a-email", "clicked")
    refresh_message_status(lake)
    second = refresh(lake, "core.send_hours")
    assert (second.keys_changed, second.written, second.rows) == (1, 1, 6)
    assert refresh(lake, "core.send_hours").keys_changed == 0


def test_within_a_day_what_has_only_a_time_is_looked_at_again(lake: Stores) -> None:
    found(lake)
    plan(lake, "s1", "a", "email", "allowed")
    assert refresh(lake, "core.send_audience").written == 1
    later = at(lake, NOON + timedelta(days=3))
    assert refresh(later, "core.send_audience").keys_changed == 1
    assert refresh(later, "core.send_audience").keys_changed == 0


def test_a_run_that_dies_takes_nothing_for_done(lake: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    found(lake)
    plan(lake, "s1", "a", "email", "allowed")
    refresh(lake, "core.send_hours")
    tell(lake, "s1-a-email", "opened")
    refresh_message_status(lake)

    def die(*_: object) -> None:
        raise SystemExit("the process ends here")

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_move_marks", die)
        with pytest.raises(SystemExit):
            refresh(lake, "core.send_hours")
    later = at(lake, NOON + timedelta(days=5))
    assert refresh(later, "core.send_hours").keys_changed == 1
    with later.lake.reader() as cursor:
        assert cursor.execute("select contact_id, local_hour from core.send_hours").fetchall() == [("a", 12)]


def test_a_model_that_is_defined_anew_is_computed_whole(
    lake: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(lake)
    plan(lake, "s1", "a", "email", "allowed")
    refresh(lake, "core.send_audience")
    later = at(lake, NOON + timedelta(days=5))
    refresh(later, "core.send_audience")
    assert not refresh(later, "core.send_audience").is_whole
    model = models()["core.send_audience"]
    monkeypatch.setattr(runner, "model_named", lambda _: replace(model, select=f"{model.select}\n"))
    assert refresh(later, "core.send_audience").is_whole
    assert not refresh(later, "core.send_audience").is_whole


def test_views_and_python_models_are_refreshed_like_the_others(lake: Stores) -> None:
    for table, model in models().items():
        if model.is_view or model.is_python:
            done = refresh(lake, table)
            with lake.lake.reader() as cursor:
                # The queue is everybody's: there may be something of other tests in it.
                there_are = None if model.is_view else len(cursor.execute(f"from {table}").fetchall())
            assert (done.rows, done.is_whole) == (there_are, True)


def test_a_column_that_is_not_computed_is_told(lake: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models()["core.send_audience"]
    narrow = replace(model, select="select send_id, 1 as audience, 2 as surplus from changed")
    monkeypatch.setattr(runner, "model_named", lambda _: narrow)
    found(lake)
    plan(lake, "s1", "a", "email", "allowed")
    with pytest.raises(InvalidModel, match="its rows and its header differ in: excluded, surplus"):
        refresh(lake, "core.send_audience")
    assert rows(lake, "core.send_audience") == []


def test_an_unknown_model_is_told(lake: Stores) -> None:
    with pytest.raises(NotFound, match="there is no such model"):
        refresh(lake, "mart.nothing")


def failing(stores: Stores, table: str) -> dict[str, tuple[tuple[str, int], ...]]:
    return {result.check.name: result.findings for result in check_model(stores, table) if not result.passed}


def test_checks_pass_on_good_rows_and_find_spoiled_ones(lake: Stores) -> None:
    found(lake)
    for contact in CONTACTS:
        plan(lake, "s1", contact, "email", "allowed")
        tell(lake, f"s1-{contact}-email", "opened")
    refresh_message_status(lake)
    for table in models():
        refresh(lake, table)
        assert failing(lake, table) == {}, table
    scores = "core.contact_scores"
    erase(lake, "e")
    with lake.lake.writer() as writer:
        writer.cursor.execute(f"insert into {scores} from {scores} where contact_id = 'a'")
        writer.cursor.execute(f"update {scores} set churn_risk = 1.5, messages = null where contact_id = 'b'")
        writer.cursor.execute(f"update {scores} set audience_type = 'pigeon' where contact_id = 'c'")
        writer.cursor.execute(f"update {scores} set contact_id = 'nobody' where contact_id = 'd'")
    assert failing(lake, scores) == {
        "keys_unique": (("contact_id: there twice", 1),),
        "values_present": (("messages: missing", 1),),
        "values_accepted": (("audience_type: not one of the known values", 1),),
        "shares_in_range": (("churn_risk: not in 0 to 1", 1),),
        "relations_hold": (("contact_id: not in core.contacts.contact_id", 1),),
        "nobody_erased": (("rows found", 1),),
    }


def test_row_counts_are_compared(lake: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "/* ---\ndescription: Some.\ngrain: one\nkey: send_id\ngroup: analytics\nowner: team:analysts\ncolumns:\n"
        "  send_id: {type: varchar, description: Id.}\nchecks:\n  fewer: {rows: {at_most: core.contacts}}\n"
        "  same: {rows: {equal: core.contacts}}\n--- */\nselect 1"
    )
    model: Model = read_model("campaign.sends", "sends.sql", text)
    monkeypatch.setattr("comms_pipeline.loader.model_checks.model_named", lambda _: model)
    found(lake)
    assert failing(lake, "campaign.sends") == {"same": (("rows = rows of core.contacts: not so", 1),)}


def test_a_lake_from_before_gets_the_columns_of_now(stores: Stores) -> None:
    with stores.lake.writer() as writer:
        writer.cursor.execute("alter table core.contact_scores drop column delivered")
        writer.cursor.execute("alter table core.contact_scores add column surplus integer")
        writer.cursor.execute("drop table core.send_hours")
        writer.cursor.execute("create view core.send_hours as select 1 as contact_id")
    AppliedSchema(stores.server.conninfo(Database.CATALOG)).note("that of another version")
    stores.lake.create_tables()
    with stores.lake.reader() as cursor:
        for table in ("core.contact_scores", "core.send_hours"):
            assert sorted(columns(cursor, table)) == sorted(models()[table].header.columns)
    assert rebuild(stores, "core.contact_scores").rows == 0
    assert rebuild(stores, "core.send_hours").rows == 0


def columns(cursor: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [row[0] for row in cursor.execute(f"describe {table}").fetchall()]


def test_messages_that_stand_twice_or_without_what_marts_count_are_found(lake: Stores) -> None:
    found(lake)
    for contact in "abcd":
        plan(lake, "s1", contact, "email", "allowed")
        tell(lake, f"s1-{contact}-email", "opened")
    refresh_message_status(lake)
    for table in ("core.contact_scores", "core.message_counts"):
        refresh(lake, table)
        assert failing(lake, table) == {}
    status, scores = "core.message_status", "core.contact_scores"
    with lake.lake.writer() as writer:
        writer.cursor.execute(f"insert into {status} from {status} where contact_id = 'a'")
        writer.cursor.execute(f"update {status} set domain = null where contact_id = 'b'")
        writer.cursor.execute(f"update {status} set state = 'waiting' where contact_id = 'c'")
        writer.cursor.execute(
            f"update {status} set state = 'lost', score_band = 'high' where contact_id = 'd'"
        )
        more = "struct_update(email_steps, engaged := {'times': 9, 'last_at': null})"
        writer.cursor.execute(f"update {scores} set email_steps = {more} where contact_id = 'a'")
    assert failing(lake, "core.message_counts") == {
        "messages_once": (("rows found", 1),),
        "facts_present": (("rows found", 1),),
        "states_follow_outcomes": (("rows found", 2),),
        "facts_accepted": (("rows found", 1),),
    }
    assert failing(lake, scores) == {"engaged_within_taken": (("rows found", 1),)}

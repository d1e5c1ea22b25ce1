"""Judges the opens and clicks in the lake by the rules of `verdicts`, and judges them again when more becomes known.

A verdict may change long after: a burst of clicks shows only with the third. Whoever adds events names the messages
they touch, in the same lake transaction.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import duckdb
import polars as pl

from comms_pipeline.domain.event import EventKind
from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.loader.conversions import attribute
from comms_pipeline.loader.watermarks import Mark, move_marks, next_load_id
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores
from comms_pipeline.verdicts.judge import VERDICTS, judge
from comms_pipeline.verdicts.rules_file import VerdictRules, load_verdict_rules

_QUERIES = "lake/queries/verdicts.sql"
_EVENTS_AT_ONCE = 500_000
_JUDGED = [str(EventKind.OPENED), str(EventKind.CLICKED)]
CHANGED = "changed_verdicts"
"""The temp table with what `judge_changes` found."""
OF_DAY = "verdicts_of_day"


def judge_changes(
    cursor: duckdb.DuckDBPyConnection,
    touched: str,
    *,
    events: str = "core.events",
    rules: VerdictRules | None = None,
) -> str:
    """Judge the opens and clicks of the messages in `touched` (a relation with a column `message_id`).

    Returns the name of a temp table with those whose verdict differs from what `events` has: `event_id`,
    `message_id`, `verdict`, `verdict_score`, `verdict_reasons`, `verdict_version`. Among them may be events of
    other messages: what one client does to many recipients is evidence against all. `events` is any relation with
    the columns of `core.events`: who judges before inserting, writes each row once. Changes nothing.
    """
    rules = rules or load_verdict_rules()
    cursor.execute(f"create or replace temp view touched_messages as from {touched} select message_id")
    cursor.execute(f"create or replace temp view to_judge_from as from {events}")
    total = _gather(cursor, rules)
    _run(cursor, "no_changes")
    parts = 1 + total // _EVENTS_AT_ONCE
    for part in range(parts):
        which = {"part": part, "parts": parts}
        known = _run(cursor, "part_to_judge", which).pl()
        cursor.register("changes", _changes(known, judge(known, rules)).to_arrow())
        _run(cursor, "add_changes")
        cursor.unregister("changes")
    cursor.execute("drop table events_to_judge; drop table clicks_beside")
    return CHANGED


def _changes(known: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Of the opens and clicks asked about, those of which another verdict is known; `judged` has the same order."""
    said = [name for name in VERDICTS if name != "event_id"]
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"known_{name}")) for name in said)
    return (
        known.rename({name: f"known_{name}" for name in said})
        .hstack(judged.select(said))
        .filter("is_asked", pl.col("kind").is_in(_JUDGED), differs)
        .select("event_id", "message_id", *said)
    )


def _gather(cursor: duckdb.DuckDBPyConnection, rules: VerdictRules) -> int:
    """Make the temp tables `events_to_judge`, of whole messages, and `clicks_beside`; returns the events to judge."""
    crowd = {"seconds": rules.crowd_seconds, "recipients": rules.crowd_recipients}
    _run(cursor, "events_of_touched")
    _run(cursor, "clicks_beside", crowd)
    if _count(cursor, "clicks_beside"):
        # Their verdicts may change too, and what they are judged by lies beside them in turn.
        _run(cursor, "add_messages_beside")
        _run(cursor, "clicks_beside", crowd)
    return _count(cursor, "events_to_judge")


def rescore(
    cursor: duckdb.DuckDBPyConnection,
    touched: str,
    *,
    load_id: int | None = None,
    rules: VerdictRules | None = None,
) -> int:
    """Judge again the events of the messages in the temp table `touched`, inside the open lake transaction.

    Returns how many rows of `core.events` changed; no other row is written. They get `load_id`, where one is given.
    Messages beside them whose verdicts changed are added to `touched`: what is counted of them must be counted again.
    """
    changed = judge_changes(cursor, touched, rules=rules)
    count = _write_changes(cursor, touched, load_id)
    cursor.execute(f"drop table {changed}")
    return count


def judge_placed(writer: LakeWriter, load_id: int) -> None:
    """Judge the events in the temp table `placed`, about to be written to `core.events`, and all they touch.

    They get their verdicts in `placed`. Events of `core.events` whose verdict changes get `load_id` as well, and their
    messages are added to the temp table `placed_messages`: what is counted of a load counts those beside it too.
    """
    cursor = writer.cursor
    _run(cursor, "events_to_come")
    changed = judge_changes(cursor, "placed", events="events_to_come")
    for step in ("judge_placed", "changes_elsewhere"):
        _run(cursor, step)
    _write_changes(cursor, "placed_messages", load_id)
    cursor.execute(f"drop table {changed}; drop view events_to_come")


def _write_changes(cursor: duckdb.DuckDBPyConnection, touched: str, load_id: int | None) -> int:
    """Write what `judge_changes` found to `core.events` and its messages to `touched`; returns the rows changed."""
    count = _count(cursor, CHANGED)
    if count:
        _run(cursor, "write_changes", {"load_id": load_id})
        cursor.execute(
            # The names are ours, never data.
            f"insert into {touched} by name "  # noqa: S608
            f"select distinct message_id from {CHANGED} anti join {touched} using (message_id)"
        )
    return count


def rescore_day(stores: Stores, day: date) -> int:
    """Judge a day's (UTC) opens and clicks again by the rules of now; returns how many rows changed. Can run again.

    They make a load of their own: `refresh_message_status` takes them up. Conversions are credited anew at once.
    """
    begin = datetime.combine(day, time(), UTC)
    with stores.lake.writer() as writer:
        cursor = writer.cursor
        load_id = next_load_id(writer)
        _run(cursor, "messages_of_day", {"day": begin, "next_day": begin + timedelta(days=1)})
        changed = rescore(cursor, OF_DAY, load_id=load_id)
        if changed:
            attribute(cursor, OF_DAY)
            move_marks(writer, {Mark.LOADS: load_id}, stores.now())
        cursor.execute(f"drop table {OF_DAY}")
    return changed


def outdated_days(stores: Stores) -> list[date]:
    """Days (UTC) with opens or clicks that other rules than those of now judged, oldest first."""
    with stores.lake.reader() as cursor:
        found = _run(cursor, "outdated_days", {"version": load_verdict_rules().version})
        return [row[0] for row in found.fetchall()]


def rescore_outdated(stores: Stores, on_day: Callable[[int, int], None] = lambda *_: None) -> int:
    """`rescore_day` of every day that needs it; returns how many rows changed.

    `on_day` hears how many days are done, and of how many.
    """
    days = outdated_days(stores)
    changed = 0
    for done, day in enumerate(days, 1):
        changed += rescore_day(stores, day)
        on_day(done, len(days))
    return changed


def _count(cursor: duckdb.DuckDBPyConnection, table: str) -> int:
    row = cursor.execute(f"from {table} select count(*)").fetchone()
    return int(row[0]) if row else 0


def _run(
    cursor: duckdb.DuckDBPyConnection, name: str, parameters: Mapping[str, Any] | None = None
) -> duckdb.DuckDBPyConnection:
    return cursor.execute(named_queries(_QUERIES)[name], dict(parameters or {}))

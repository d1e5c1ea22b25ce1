"""Reads a day's webhooks again, as after a change of a parser: the lake gets what a first load would have brought.

Only what the ledger still keeps is read again; events of webhooks that are gone stay as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
import psycopg
from psycopg.rows import class_row

from comms_pipeline.ledger.feeds import Feed, LandingRow
from comms_pipeline.loader import core_events
from comms_pipeline.loader.conversions import attribute
from comms_pipeline.loader.core_events import Score, add_new_events, place_fresh
from comms_pipeline.loader.events import insert_landed
from comms_pipeline.loader.message_status import recompute_touched
from comms_pipeline.loader.verdicts import judge_placed
from comms_pipeline.loader.watermarks import NOTHING_YET, Mark, move_marks, next_load_id, read_watermark
from comms_pipeline.providers import business_events
from comms_pipeline.providers.event_parsers import PARSERS, Parsers
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_LEDGER, _LAKE = "ledger/queries/replay.sql", "lake/queries/replay.sql"
_WEBHOOKS_PER_READ = 200
# Told again, a business event is the one told before: reading it again would change nothing.
_NOT_REPLAYED = [business_events.PROVIDER]


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What was read again: webhooks, events told in them, webhooks nobody could read, and messages affected."""

    webhooks: int = 0
    events: int = 0
    rejects: int = 0
    messages: int = 0


def replay(
    stores: Stores, day: date, parsers: Parsers = PARSERS, score: Score | None = judge_placed
) -> Replayed:
    """Read the webhooks received on `day` (UTC) again and replace all that follows from them, in one transaction.

    Webhooks that were never loaded are left to the next load. Can run again.
    """
    begin = datetime.combine(day, time(), UTC)
    window = {"begin": begin, "end": begin + timedelta(days=1)}
    sql = named_queries(_LAKE)
    with stores.ledger() as ledger, stores.lake.writer() as writer:
        cursor = writer.cursor
        add_new_events(writer, stores.now(), score)
        watermark = read_watermark(cursor, Feed.LANDINGS)
        ids = _landing_ids(ledger, window | vars(watermark) | {"without": _NOT_REPLAYED})
        if not ids:
            return Replayed()
        load_id = next_load_id(writer)
        cursor.register("replayed_landings", pl.DataFrame({"landing_id": ids}).to_arrow())
        for step in ("subjects_before", "events_before", "remove_events_told", "remove_rejects"):
            cursor.execute(sql[step], window)
        events = rejects = 0
        for rows in _landings(ledger, ids):
            inserted = insert_landed(writer, rows, parsers, load_id)
            events += inserted.events
            rejects += inserted.rejects.total()
        cursor.execute(sql["subjects_after"], {"load_id": load_id})
        core_events.tell_of_subjects(writer)
        for step in ("events_after", "messages_before", "remove_events"):
            cursor.execute(sql[step])
        core_events.choose_fresh(writer, NOTHING_YET)
        place_fresh(writer, load_id, score)
        cursor.execute(sql["messages_after"], {"load_id": load_id})
        attribute(cursor, "touched")
        messages = recompute_touched(cursor, stores.now(), load_id)
        move_marks(writer, {Mark.LOADS: load_id, Mark.CORE_EVENTS: load_id}, stores.now())
        cursor.execute(sql["forget_models"])
        cursor.execute("drop table subjects; drop table gone")
        cursor.unregister("replayed_landings")
    return Replayed(webhooks=len(ids), events=events, rejects=rejects, messages=messages)


def _landing_ids(ledger: psycopg.Connection, window: dict[str, Any]) -> list[int]:
    return [row[0] for row in ledger.execute(named_queries(_LEDGER)["landing_ids"], window).fetchall()]


def _landings(ledger: psycopg.Connection, ids: list[int]) -> Iterator[list[LandingRow]]:
    """The webhooks of these ids, some at a time."""
    ordered = sorted(ids)
    for start in range(0, len(ordered), _WEBHOOKS_PER_READ):
        part = ordered[start : start + _WEBHOOKS_PER_READ]
        with ledger.cursor(row_factory=class_row(LandingRow), binary=True) as cursor:
            yield cursor.execute(named_queries(_LEDGER)["landings"], {"landing_ids": part}).fetchall()

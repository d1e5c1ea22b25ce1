"""Where each message stands: its furthest step and the time of each. The definition is in `message_status.sql`.

Only messages of which something is new are computed again, of all that is known of them: what was told first, twice or
in parts makes no difference.
"""

from datetime import datetime

import duckdb

from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.loader.core_events import since
from comms_pipeline.loader.watermarks import NOTHING_YET, Mark, move_marks, next_load_id, read_mark
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/message_status.sql"
_MESSAGES_AT_ONCE = 2_000_000


def refresh_message_status(stores: Stores) -> int:
    """Bring `core.message_status` up to what `core.events` and `core.outcomes` hold; returns the messages changed."""
    with stores.lake.writer() as writer:
        events = outcomes = NOTHING_YET
        if not _has_rows_from_before(writer.cursor):
            events = read_mark(writer.cursor, Mark.MESSAGE_STATUS_EVENTS)
            outcomes = read_mark(writer.cursor, Mark.MESSAGE_STATUS_OUTCOMES)
        touched = _touch(writer, events, outcomes)
        load_id = next_load_id(writer)
        if touched:
            recompute_touched(writer.cursor, stores.now(), load_id)
            marks = (Mark.LOADS, Mark.MESSAGE_STATUS_EVENTS, Mark.MESSAGE_STATUS_OUTCOMES)
            move_marks(writer, dict.fromkeys(marks, load_id), stores.now())
    return touched


def rebuild_message_status(stores: Stores) -> int:
    """Compute every message anew; returns how many there are. Gives the same rows as all the runs before."""
    with stores.lake.writer() as writer:
        touched = _touch(writer, NOTHING_YET, NOTHING_YET)
        writer.cursor.execute("delete from core.message_status")
        load_id = next_load_id(writer)
        recompute_touched(writer.cursor, stores.now(), load_id)
        move_marks(writer, {Mark.LOADS: load_id}, stores.now())
    return touched


def recompute_touched(cursor: duckdb.DuckDBPyConnection, now: datetime, load_id: int) -> int:
    """Replace the rows of the messages in the temporary table `touched`, in the open transaction; returns how many.

    They get `load_id`: what is made of them looks at the messages computed since. Some at a time, so that memory stays
    flat however many there are.
    """
    sql = named_queries(_QUERIES)
    cursor.execute(sql["remove_touched"])
    touched = _count_touched(cursor)
    parts = 1 + touched // _MESSAGES_AT_ONCE
    add_part = sql["add_part"].format(planned=sql["planned"])
    for part in range(parts):
        cursor.execute(sql["take_part"], {"part": part, "parts": parts})
        cursor.execute(add_part, {"now": now, "load_id": load_id})
    cursor.execute("drop table touched; drop table part_of_touched")
    return touched


def _has_rows_from_before(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Whether there are rows from when the plan was not part of them."""
    return cursor.execute(named_queries(_QUERIES)["from_before"]).fetchone() is not None


def _touch(writer: LakeWriter, events: int, outcomes: int) -> int:
    """Make `touched` of what is newer than these marks; returns the number of messages."""
    sql = named_queries(_QUERIES)["touch_new"]
    marks = {"events": events, "outcomes": outcomes}
    conditions = {name: since(mark, name) for name, mark in marks.items()}
    writer.cursor.execute(sql.format(**conditions, plans=outcomes == NOTHING_YET), marks)
    return _count_touched(writer.cursor)


def _count_touched(cursor: duckdb.DuckDBPyConnection) -> int:
    row = cursor.execute("select count(*) from touched").fetchone()
    return int(row[0]) if row else 0

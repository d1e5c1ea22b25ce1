"""How far each feed, and each step that builds on it, has come: read and moved inside the lake transaction that
loads the rows. Loads nothing itself.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import duckdb
import polars as pl

from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.ledger.feeds import Feed, Watermark
from comms_pipeline.sqlfiles import named_queries


class Mark(StrEnum):
    """Positions of the lake's own steps, in load ids: everything up to it is worked in."""

    LOADS = "loads"
    """The last load id given out."""
    CORE_EVENTS = "core_events"
    CORE_EVENTS_OUTCOMES = "core_events_outcomes"
    MESSAGE_STATUS_EVENTS = "message_status_events"
    MESSAGE_STATUS_OUTCOMES = "message_status_outcomes"


NOTHING_YET = -1
"""Before every load id, and before 0, which stands for rows from before load ids were kept."""


def read_watermark(cursor: duckdb.DuckDBPyConnection, feed: Feed) -> Watermark:
    """The last row of `feed` that the lake holds."""
    row = _row(cursor, str(feed))
    return Watermark(xact=row[0], last_id=row[1]) if row else Watermark()


def move_watermark(
    writer: LakeWriter, feed: Feed, watermark: Watermark, now: datetime, *, load_id: int
) -> None:
    """Record, in the open transaction, that everything up to `watermark` is loaded, as `load_id`."""
    _put(writer, {str(feed): watermark, str(Mark.LOADS): Watermark(last_id=load_id)}, now)


def next_load_id(writer: LakeWriter) -> int:
    """The number of the open transaction's load; whoever uses it moves `Mark.LOADS` to it before the commit."""
    return max(read_mark(writer.cursor, Mark.LOADS), 0) + 1


def read_mark(cursor: duckdb.DuckDBPyConnection, mark: Mark) -> int:
    """The last load id of `mark`, `NOTHING_YET` when there is none."""
    row = _row(cursor, str(mark))
    return row[1] if row else NOTHING_YET


def newest_model_mark(cursor: duckdb.DuckDBPyConnection) -> int:
    """The load id up to which the model computed last knows all; `NOTHING_YET` when none was ever computed."""
    row = cursor.execute(named_queries("lake/queries/loader.sql")["newest_model_mark"]).fetchone()
    return NOTHING_YET if row is None or row[0] is None else int(row[0])


def move_marks(writer: LakeWriter, marks: Mapping[Mark, int], now: datetime) -> None:
    """Record positions in the open transaction."""
    _put(writer, {str(mark): Watermark(last_id=load_id) for mark, load_id in marks.items()}, now)


def _row(cursor: duckdb.DuckDBPyConnection, feed: str) -> tuple[int, int] | None:
    row = cursor.execute(named_queries("lake/queries/loader.sql")["watermark"], {"feed": feed}).fetchone()
    return (row[0], row[1]) if row else None


def _put(writer: LakeWriter, watermarks: Mapping[str, Watermark], now: datetime) -> None:
    # All at once: every statement that writes costs the lake a file.
    writer.erase("raw.watermarks", "feed", list(watermarks))
    writer.append(
        "raw.watermarks",
        pl.DataFrame(
            {
                "feed": list(watermarks),
                "xact": [watermark.xact for watermark in watermarks.values()],
                "last_id": [watermark.last_id for watermark in watermarks.values()],
                "loaded_at": [now] * len(watermarks),
            },
            schema_overrides={"xact": pl.UInt64},
        ),
    )

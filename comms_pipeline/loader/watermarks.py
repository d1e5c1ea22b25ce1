"""How far each ledger feed has been loaded: read and moved inside the lake transaction that loads it."""

from datetime import datetime

import duckdb
import polars as pl

from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.ledger.feeds import Feed, Watermark
from comms_pipeline.sqlfiles import named_queries


def read_watermark(cursor: duckdb.DuckDBPyConnection, feed: Feed) -> Watermark:
    """The last row of `feed` that the lake holds."""
    row = cursor.execute(
        named_queries("lake/queries/loader.sql")["watermark"], {"feed": str(feed)}
    ).fetchone()
    return Watermark(xact=row[0], last_id=row[1]) if row else Watermark()


def move_watermark(writer: LakeWriter, feed: Feed, watermark: Watermark, now: datetime) -> None:
    """Record, in the open transaction, that everything up to `watermark` is loaded."""
    row = pl.DataFrame(
        {"feed": [str(feed)], "xact": [watermark.xact], "last_id": [watermark.last_id], "loaded_at": [now]},
        schema_overrides={"xact": pl.UInt64},
    )
    writer.replace_partition("raw.watermarks", "feed", str(feed), row)

"""Loads the outcome feed into `core.outcomes`, each row once."""

import polars as pl

from comms_pipeline.dispatch.payload import unpack
from comms_pipeline.ledger import feeds
from comms_pipeline.ledger.feeds import Feed, OutcomeRow, Watermark
from comms_pipeline.loader.watermarks import move_watermark, next_load_id, read_watermark
from comms_pipeline.stores import Stores

_ROWS_PER_COMMIT = 2_000


def load_outcomes(stores: Stores) -> int:
    """Drain the feed; returns how many messages' outcomes were loaded. Rows and watermark commit together."""
    loaded = 0
    with stores.ledger() as ledger:
        while True:
            with stores.lake.writer() as writer:
                watermark = read_watermark(writer.cursor, Feed.OUTCOMES)
                rows = feeds.outcomes_after(ledger, watermark, _ROWS_PER_COMMIT)
                if not rows:
                    return loaded
                load_id = next_load_id(writer)
                loaded += writer.append("core.outcomes", pl.concat(_frame(row, load_id) for row in rows))
                last = Watermark(xact=rows[-1].xact, last_id=rows[-1].id)
                move_watermark(writer, Feed.OUTCOMES, last, stores.now(), load_id=load_id)


def _frame(row: OutcomeRow, load_id: int) -> pl.DataFrame:
    return unpack(row.results).with_columns(
        outcome_id=pl.lit(row.id, pl.Int64),
        batch_id=pl.lit(row.batch_id, pl.Int64),
        send_id=pl.lit(row.send_id),
        provider=pl.lit(row.lane.partition(":")[2]),
        recorded_at=pl.lit(row.recorded_at),
        load_id=pl.lit(load_id, pl.Int64),
    )

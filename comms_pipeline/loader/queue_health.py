"""What is in the ledger's queue now: the rows of `mart.queue_health`. Judges nothing: that is `dispatch.alerts`."""

import polars as pl

from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "lane": pl.String,
    "status": pl.String,
    "messages": pl.Int64,
    "oldest_due_at": pl.Datetime("us", "UTC"),
}


def queue_health(stores: Stores) -> pl.DataFrame:
    """One row per lane and status of batches that are not done; none when nothing is queued."""
    with stores.ledger() as ledger:
        rows = ledger.execute(named_queries("ledger/queries/queue_health.sql")["by_lane"]).fetchall()
    found = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    return found.with_columns(computed_at=pl.lit(stores.now(), pl.Datetime("us", "UTC")))

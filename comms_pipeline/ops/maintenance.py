"""Housekeeping as an op: keeps the lake small and the ledger's feeds short. The work lives in `lake` and `ledger`."""

import dagster as dg

from comms_pipeline.lake.maintain import maintain
from comms_pipeline.ledger import caps, feeds, limits, notices, operations, webhooks, windows
from comms_pipeline.ledger.feeds import Feed
from comms_pipeline.loader.watermarks import read_watermark
from comms_pipeline.resources.stores import StoresResource


class MaintenanceConfig(dg.Config):
    """How long rows stay in the ledger after the lake holds them, and dead letters after they died."""

    keep_days: int = 30
    keep_dead_days: int = 90


@dg.op(
    description="Merges small files, drops old snapshots, purges what the lake holds.",
)
def tidy_stores(context: dg.OpExecutionContext, config: MaintenanceConfig, stores: StoresResource) -> None:
    """Nothing is purged that the lake's own watermark does not cover."""
    with stores.ledger() as ledger, stores.lake.reader() as cursor:
        purged = {
            feed: feeds.purge(ledger, feed, read_watermark(cursor, feed), keep_days=config.keep_days)
            for feed in Feed
        }
        with ledger.transaction():
            deleted = operations.purge(
                ledger, keep_days=config.keep_days, keep_dead_days=config.keep_dead_days
            )
            deleted["inbound"] = windows.purge(ledger)
            deleted["webhook_ids"] = webhooks.purge(ledger)
            deleted["quota_periods"] = limits.purge(ledger)
            deleted["recent_messages"] = caps.purge(ledger)
            deleted["notices"] = notices.forget(ledger, days=config.keep_dead_days)
    maintain(stores.lake, now=stores.now())
    context.add_output_metadata(
        {
            **{f"purged_{feed}": count for feed, count in purged.items()},
            **{f"purged_{what}": count for what, count in deleted.items()},
        }
    )


@dg.job(
    name="maintain_stores",
    description="Weekly housekeeping of lake and ledger.",
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "7200"},
)
def maintenance_job() -> None:
    """One step."""
    tidy_stores()

"""Reading landed webhooks again as an op, a day a run: a backfill in the UI is a window. The work lives in `loader`."""

from datetime import date

import dagster as dg

from comms_pipeline.loader.replay import replay
from comms_pipeline.resources.stores import StoresResource

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", timezone="UTC", end_offset=1)
"""Days (UTC) on which webhooks were received, today included."""


@dg.op(
    description="Parses the webhooks of one day again and replaces what followed from them. What the ledger no longer "
    "keeps stays as it is.",
)
def replay_day(context: dg.OpExecutionContext, stores: StoresResource) -> None:
    """Numbers only; doing it again changes nothing."""
    replayed = replay(stores, date.fromisoformat(context.partition_key))
    context.add_output_metadata(
        {
            "webhooks": replayed.webhooks,
            "events": replayed.events,
            "rejects": replayed.rejects,
            "messages": replayed.messages,
        }
    )


@dg.job(
    name="replay_events",
    description="Read the webhooks received on a day again, as after a change of a parser. Backfill a range of days.",
    partitions_def=DAYS,
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "7200"},
)
def replay_job() -> None:
    """One step."""
    replay_day()

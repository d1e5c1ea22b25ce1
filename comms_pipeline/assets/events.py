"""What comes back: landed webhooks and outcomes become history. Thin: the loaders live in `loader`."""

import dagster as dg

from comms_pipeline import vocabulary
from comms_pipeline.loader.core_events import refresh_events
from comms_pipeline.loader.events import load_provider_events
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.metadata import bars, rows_table
from comms_pipeline.resources.stores import StoresResource


@dg.asset(
    key=vocabulary.PROVIDER_EVENTS,
    deps=[vocabulary.LEDGER_LANDING],
    group_name=vocabulary.EVENTS_GROUP,
    owners=vocabulary.OPERATIONS,
    kinds=vocabulary.LAKE_KINDS,
    description="Every event as a provider told it, personal fields removed; drained from the ledger's landing "
    "exactly once.",
)
def provider_events(stores: StoresResource) -> dg.MaterializeResult:
    """Drain the landing."""
    loaded = load_provider_events(stores)
    read = {"webhooks": loaded.webhooks, "events": loaded.events, "rejected": loaded.rejects}
    return dg.MaterializeResult(
        metadata={
            "loaded_chart": bars(read, "What this run read"),
            "webhooks": loaded.webhooks,
            "events": loaded.events,
            "rejects": loaded.rejects,
            "unknown_kinds": rows_table(
                {"provider": provider, "kind": "unknown", "raw_kind": raw_kind, "events": count}
                for provider, raw_kind, count in loaded.unknown_kinds
            ),
            "reject_reasons": rows_table(
                {"provider": provider, "reason": reason, "webhooks": count}
                for (provider, reason), count in loaded.reject_reasons.most_common()
            ),
        }
    )


@dg.asset(
    key=vocabulary.OUTCOMES,
    deps=[vocabulary.DISPATCH],
    group_name=vocabulary.EVENTS_GROUP,
    owners=vocabulary.OPERATIONS,
    kinds=vocabulary.LAKE_KINDS,
    description="What the provider answered to each message, every attempt; the highest outcome_id is its state.",
)
def outcomes(stores: StoresResource) -> dg.MaterializeResult:
    """Drain the outcome feed."""
    loaded = load_outcomes(stores)
    with stores.lake.reader() as cursor:
        states = cursor.execute(
            "select status, count(*) from core.outcomes group by status order by 2 desc, 1"
        ).fetchall()
    return dg.MaterializeResult(
        metadata={
            "outcomes_chart": bars(dict(states), "Every attempt by its outcome"),
            "outcomes_loaded": loaded,
            "dagster/row_count": sum(count for _, count in states),
            "outcomes": rows_table({"outcome": status, "attempts": count} for status, count in states),
        }
    )


@dg.asset(
    key=vocabulary.EVENTS,
    deps=[
        vocabulary.PROVIDER_EVENTS,
        dg.AssetDep(vocabulary.MESSAGES, partition_mapping=dg.AllPartitionMapping()),
    ],
    group_name=vocabulary.EVENTS_GROUP,
    owners=vocabulary.ANALYSTS,
    kinds=vocabulary.LAKE_KINDS,
    freshness_policy=vocabulary.EVERY_NIGHT,
    description="Each event once, however often it was told, matched to its message, with a verdict on who did it.",
)
def events(stores: StoresResource) -> dg.MaterializeResult:
    """Deduplicate and match."""
    added = refresh_events(stores)
    with stores.lake.reader() as cursor:
        kinds = cursor.execute(
            "select kind, count(*), count(*) filter (match = 'unmatched') from core.events "
            "group by kind order by 2 desc"
        ).fetchall()
    return dg.MaterializeResult(
        metadata={
            "kinds_chart": bars({kind: count for kind, count, _ in kinds}, "Events by kind"),
            "events_added": added,
            "dagster/row_count": sum(count for _, count, _ in kinds),
            "unmatched": sum(unmatched for _, _, unmatched in kinds),
            "kinds": rows_table(
                {"kind": kind, "events": count, "unmatched": unmatched} for kind, count, unmatched in kinds
            ),
        }
    )


@dg.asset(
    key=vocabulary.MESSAGE_STATUS,
    deps=[vocabulary.EVENTS, vocabulary.OUTCOMES, vocabulary.MESSAGES],
    group_name=vocabulary.EVENTS_GROUP,
    owners=vocabulary.ANALYSTS,
    kinds=vocabulary.LAKE_KINDS,
    freshness_policy=vocabulary.EVERY_NIGHT,
    description="Where each message stands: the furthest step it made, whatever the order in which steps were told, "
    "and when it made each.",
)
def message_status(stores: StoresResource) -> dg.MaterializeResult:
    """Compute again the messages of which something is new."""
    changed = refresh_message_status(stores)
    with stores.lake.reader() as cursor:
        statuses = cursor.execute(
            "select status, count(*) from core.message_status group by status, status_rank order by status_rank"
        ).fetchall()
    return dg.MaterializeResult(
        metadata={
            "statuses_chart": bars(dict(statuses), "Messages by where they stand"),
            "messages_computed": changed,
            "dagster/row_count": sum(count for _, count in statuses),
            "statuses": rows_table({"status": status, "messages": count} for status, count in statuses),
        }
    )

"""What comes back: landed webhooks and outcomes become history. Thin: the loaders live in `loader`."""

import dagster as dg

from comms_pipeline import vocabulary
from comms_pipeline.loader.core_events import refresh_events
from comms_pipeline.loader.events import load_provider_events
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.models import rebuild
from comms_pipeline.loader.outcomes import load_outcomes
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
    unknown = [
        dg.TableRecord({"provider": provider, "kind": "unknown", "raw_kind": raw_kind, "events": count})
        for provider, raw_kind, count in loaded.unknown_kinds
    ]
    reasons = [
        dg.TableRecord({"provider": provider, "reason": reason, "webhooks": count})
        for (provider, reason), count in loaded.reject_reasons.most_common()
    ]
    return dg.MaterializeResult(
        metadata={
            "webhooks": loaded.webhooks,
            "events": loaded.events,
            "rejects": loaded.rejects,
            "unknown_kinds": _table(unknown),
            "reject_reasons": _table(reasons),
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
    return dg.MaterializeResult(metadata={"outcomes_loaded": load_outcomes(stores)})


@dg.asset(
    key=vocabulary.EVENTS,
    deps=[
        vocabulary.PROVIDER_EVENTS,
        dg.AssetDep(vocabulary.MESSAGES, partition_mapping=dg.AllPartitionMapping()),
    ],
    group_name=vocabulary.EVENTS_GROUP,
    owners=vocabulary.ANALYSTS,
    kinds=vocabulary.LAKE_KINDS,
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
            "events_added": added,
            "dagster/row_count": sum(count for _, count, _ in kinds),
            "unmatched": sum(unmatched for _, _, unmatched in kinds),
            "kinds": _table(
                [
                    dg.TableRecord({"kind": kind, "events": count, "unmatched": unmatched})
                    for kind, count, unmatched in kinds
                ]
            ),
        }
    )


@dg.asset(
    key=vocabulary.MESSAGE_STATUS,
    deps=[vocabulary.EVENTS, vocabulary.OUTCOMES],
    group_name=vocabulary.EVENTS_GROUP,
    owners=vocabulary.ANALYSTS,
    kinds=vocabulary.LAKE_KINDS,
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
            "messages_computed": changed,
            "dagster/row_count": sum(count for _, count in statuses),
            "statuses": _table(
                [dg.TableRecord({"status": status, "messages": count}) for status, count in statuses]
            ),
        }
    )


@dg.asset(
    key=vocabulary.ENGAGEMENT,
    deps=[vocabulary.EVENTS],
    group_name=vocabulary.EVENTS_GROUP,
    owners=vocabulary.ANALYSTS,
    kinds=vocabulary.LAKE_KINDS,
    description="How much each contact listens (0-1), from what people did, fading with time. Feeds the next plan.",
)
def engagement(stores: StoresResource) -> dg.MaterializeResult:
    """Score every contact that ever got a message."""
    return dg.MaterializeResult(metadata={"dagster/row_count": rebuild(stores, "core.engagement")})


def _table(records: list[dg.TableRecord]) -> dg.MetadataValue:
    """A metadata table; a word where it is empty, since empty tables show nothing."""
    return dg.MetadataValue.table(records) if records else dg.MetadataValue.text("none")

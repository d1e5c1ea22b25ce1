"""`campaign/reconciliation`: the books of a send. Thin: balancing lives in `loader.reconciliation`."""

import dagster as dg

from comms_pipeline import vocabulary
from comms_pipeline.loader.reconciliation import reconcile_books
from comms_pipeline.metadata import figures, rows_table, story
from comms_pipeline.partitions import SENDS
from comms_pipeline.resources.stores import StoresResource


@dg.asset(
    key=vocabulary.RECONCILIATION,
    deps=[vocabulary.DISPATCH],
    partitions_def=SENDS,
    group_name=vocabulary.SENDING_GROUP,
    owners=vocabulary.OPERATIONS,
    kinds=vocabulary.LAKE_KINDS | vocabulary.LEDGER_KINDS,
    check_specs=[
        dg.AssetCheckSpec(
            "is_balanced",
            asset=vocabulary.RECONCILIATION,
            blocking=True,
            description="Plan, ledger, outcomes and the providers' events agree on every message. A send whose books "
            "do not agree is not complete.",
        )
    ],
    description="Balances ledger, provider and lake for the send, and closes it when they agree and nothing is open.",
)
def reconciliation(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult:
    """Balance the partition's send."""
    balance, is_closed = reconcile_books(stores, context.partition_key)
    books = [
        ("planned", "lake", balance.planned),
        ("enqueued", "ledger", balance.enqueued),
        ("accepted", "lake", balance.accepted),
        ("confirmed by events", "provider", balance.confirmed),
        ("refused", "lake", balance.refused),
        ("cancelled", "lake", balance.cancelled),
        ("open: waiting, deferred, unknown", "lake", balance.waiting + balance.deferred + balance.unknown),
        ("open: waiting, in flight, in doubt", "ledger", balance.held),
    ]
    return dg.MaterializeResult(
        metadata={
            **story(context.partition_key),
            "is_balanced": balance.is_balanced,
            "is_complete": is_closed,
            "books": rows_table(
                {"what": what, "who counts": who, "messages": count} for what, who, count in books
            ),
            "differences": rows_table(
                {"what does not agree": what, "messages": count}
                for what, count in balance.differences.items()
            ),
            "dagster/partition_row_count": balance.planned,
            **figures(
                {
                    "accepted": balance.accepted,
                    "confirmed_by_provider": balance.confirmed,
                    "open_messages": balance.held,
                }
            ),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="is_balanced", passed=balance.is_balanced, metadata=dict(balance.differences)
            )
        ],
    )

"""What plans learn from, and what people look at: habits, marts, reports. Thin: models live in `warehouse/lake/models`.

Pages live in `reports`.
"""

import dagster as dg

from comms_pipeline import vocabulary
from comms_pipeline.loader.models import rebuild
from comms_pipeline.partitions import SENDS
from comms_pipeline.reports.campaign import write_report
from comms_pipeline.resources.stores import StoresResource


@dg.asset(
    key=vocabulary.CHANNEL_AFFINITY,
    deps=[vocabulary.EVENTS],
    group_name=vocabulary.ANALYTICS_GROUP,
    owners=vocabulary.ANALYSTS,
    kinds=vocabulary.LAKE_KINDS,
    description="How gladly each contact reads what comes by each channel (0-1). Feeds the next plan.",
)
def channel_affinity(stores: StoresResource) -> dg.MaterializeResult:
    """Rebuild it from every message and event."""
    return dg.MaterializeResult(metadata={"dagster/row_count": rebuild(stores, "core.channel_affinity")})


@dg.asset(
    key=vocabulary.SEND_HOURS,
    deps=[vocabulary.EVENTS],
    group_name=vocabulary.ANALYTICS_GROUP,
    owners=vocabulary.ANALYSTS,
    kinds=vocabulary.LAKE_KINDS,
    description="At which hours of their own day contacts read, fading with time. Feeds the next plan.",
)
def send_hours(stores: StoresResource) -> dg.MaterializeResult:
    """Rebuild it from every event."""
    return dg.MaterializeResult(metadata={"dagster/row_count": rebuild(stores, "core.send_hours")})


@dg.asset(
    key=vocabulary.CAMPAIGN_PERFORMANCE,
    deps=[vocabulary.OUTCOMES, vocabulary.EVENTS],
    group_name=vocabulary.ANALYTICS_GROUP,
    owners=vocabulary.ANALYSTS,
    kinds=vocabulary.LAKE_KINDS,
    description="What became of the messages, per send, channel and variant: counts and rates.",
)
def campaign_performance(stores: StoresResource) -> dg.MaterializeResult:
    """Rebuild the mart."""
    rows = rebuild(stores, "mart.campaign_performance")
    with stores.lake.reader() as cursor:
        latest = cursor.execute(
            "select send_id, channel, variant, messages, accepted, delivered, opened, clicked "
            "from mart.campaign_performance order by send_id, channel, variant limit 50"
        ).pl()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            "performance": dg.MetadataValue.table([dg.TableRecord(row) for row in latest.to_dicts()])
            if rows
            else dg.MetadataValue.text("none"),
        }
    )


@dg.asset(
    key=vocabulary.SEND_FUNNEL,
    deps=[vocabulary.CAMPAIGN_PERFORMANCE],
    group_name=vocabulary.ANALYTICS_GROUP,
    owners=vocabulary.ANALYSTS,
    kinds=vocabulary.LAKE_KINDS,
    description="Where everybody of each send's audience ended up; the sums that must hold.",
)
def send_funnel(stores: StoresResource) -> dg.MaterializeResult:
    """Rebuild the mart."""
    return dg.MaterializeResult(metadata={"dagster/row_count": rebuild(stores, "mart.send_funnel")})


@dg.asset(
    key=vocabulary.REPORT,
    deps=[vocabulary.SEND_FUNNEL, vocabulary.DISPATCH],
    partitions_def=SENDS,
    group_name=vocabulary.ANALYTICS_GROUP,
    owners=vocabulary.MARKETING,
    kinds={"html"},
    description="One page per send: funnel, reasons, engagement, time course.",
)
def campaign_report(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult:
    """Write the send's HTML report."""
    path = write_report(stores, context.partition_key)
    return dg.MaterializeResult(
        metadata={"report": dg.MetadataValue.path(path), "size_bytes": path.stat().st_size}
    )

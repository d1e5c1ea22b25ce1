"""What people look at: marts and reports. Thin: models live in `warehouse/lake/models`, pages in `reports`."""

import dagster as dg

from comms_pipeline import vocabulary
from comms_pipeline.loader.models import rebuild
from comms_pipeline.partitions import SENDS
from comms_pipeline.reports.campaign import write_report
from comms_pipeline.resources.stores import StoresResource


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

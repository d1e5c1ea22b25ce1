"""Pages people look at. Thin: they are made in `reports`, of the models that `assets.models` makes assets of."""

import dagster as dg

from comms_pipeline import vocabulary
from comms_pipeline.metadata import bars, figures, rates, story
from comms_pipeline.partitions import SENDS
from comms_pipeline.reports.campaign import write_report
from comms_pipeline.reports.digest import organisations, write_digest
from comms_pipeline.reports.reading import Reading
from comms_pipeline.reports.rendering import Written
from comms_pipeline.reports.weeks import parse_week, week_before
from comms_pipeline.resources.stores import StoresResource


class WeeklyDigestConfig(dg.Config):
    """Which week."""

    week: str = ""
    """Such as 2026-W47; empty: the last that is over."""


@dg.asset(
    key=vocabulary.REPORT,
    # Not on the reconciliation: when the books do not agree, the report is there to say so.
    deps=[
        vocabulary.SEND_FUNNEL,
        vocabulary.DISPATCH,
        dg.AssetKey(["mart", "campaign_performance"]),
        dg.AssetKey(["mart", "costs"]),
        dg.AssetKey(["mart", "experiments"]),
    ],
    partitions_def=SENDS,
    group_name=vocabulary.REPORTS_GROUP,
    owners=vocabulary.MARKETING,
    kinds={"html", "pdf"},
    description="What became of one send, as a page and as a PDF: funnel, reasons, engagement over time, domains, "
    "experiment, costs, the books, and what to read with care.",
)
def campaign_report(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult:
    """Write the send's report."""
    written = write_report(stores, context.partition_key)
    counts = written.report.counts
    return dg.MaterializeResult(
        metadata={
            **story(context.partition_key),
            "funnel": bars(counts, "The send's funnel"),
            **rates(counts),
            "books": _books(stores, context.partition_key),
            **figures({name.replace(" ", "_"): count for name, count in counts.items()}),
            **_files(written),
        }
    )


@dg.asset(
    key=vocabulary.WEEKLY_DIGEST,
    deps=[
        dg.AssetKey(["mart", name])
        for name in (
            "campaign_performance",
            "list_growth",
            "deliverability",
            "exclusions",
            "send_time_heatmap",
        )
    ],
    group_name=vocabulary.REPORTS_GROUP,
    owners=vocabulary.MARKETING,
    kinds={"html", "pdf"},
    description="Each organisation's week, as a page and as a PDF: its sends beside the eight weeks before, list "
    "growth, deliverability alerts, what kept contacts out.",
)
def weekly_digest(config: WeeklyDigestConfig, stores: StoresResource) -> dg.MaterializeResult:
    """Write every organisation's digest of the week."""
    week = parse_week(config.week) if config.week else week_before(stores.now())
    written = {name: write_digest(stores, name, week) for name in organisations(stores)}
    files = [
        dg.TableRecord(
            {
                "organisation": name,
                "report": str(each.html),
                "pdf": str(each.pdf),
                "size_bytes": each.html.stat().st_size,
            }
        )
        for name, each in written.items()
    ]
    accepted = {name: each.report.counts["accepted"] for name, each in written.items()}
    return dg.MaterializeResult(
        metadata={
            "week": str(week),
            "digests": dg.MetadataValue.table(files) if files else dg.MetadataValue.text("none"),
            "accepted": bars(accepted, "Messages accepted, by organisation"),
        }
    )


def _books(stores: StoresResource, send_id: str) -> str:
    with stores.lake.reader() as cursor:
        books = Reading(cursor, "lake/queries/report.sql", {"send_id": send_id}).rows("books")
    if not books:
        return "not reconciled yet"
    return "balanced" if books[0]["is_balanced"] else "they do not agree: see campaign/reconciliation"


def _files(written: Written) -> dict[str, dg.MetadataValue]:
    found: dict[str, dg.MetadataValue] = {
        "report": dg.MetadataValue.path(written.html),
        "size_bytes": dg.MetadataValue.int(written.html.stat().st_size),
    }
    if written.pdf is not None:
        found["pdf"] = dg.MetadataValue.path(written.pdf)
        found["pdf_size_bytes"] = dg.MetadataValue.int(written.pdf.stat().st_size)
    return found

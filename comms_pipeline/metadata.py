"""Numbers as Dagster shows them best: tables, and a small inline chart. Computes nothing."""

import dagster as dg
import polars as pl

from comms_pipeline.planning.stages import Funnel
from comms_pipeline.reports.campaign import funnel_steps
from comms_pipeline.reports.charts import funnel_svg, inline_image


def counts_table(frame: pl.DataFrame) -> dg.MetadataValue:
    """A frame of counts as a metadata table; a word where it is empty, since empty tables show nothing."""
    if frame.is_empty():
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.table([dg.TableRecord(row) for row in frame.to_dicts()])


def funnel_metadata(funnel: Funnel) -> dict[str, dg.MetadataValue]:
    """A send's funnel as a table and as a chart."""
    steps = funnel_steps(funnel)
    return {
        "funnel": dg.MetadataValue.table(
            [dg.TableRecord({"step": step, "contacts": count}) for step, count in steps.items()]
        ),
        "funnel_chart": dg.MetadataValue.md(inline_image(funnel_svg(steps), "The send's funnel")),
    }

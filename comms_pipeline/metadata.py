"""Numbers as Dagster shows them best: numbers it plots, tables, and a small inline chart. Computes nothing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

import dagster as dg
import polars as pl

from comms_pipeline import vocabulary
from comms_pipeline.planning.stages import Funnel
from comms_pipeline.reports.charts.small import inline_image, small_bars, sparkline
from comms_pipeline.reports.reach import funnel_steps

Cell = str | int | float | bool | None

_PLANNED = ("audience", "excluded", "messages")
_RATES = (
    ("delivery_rate", "delivered", "accepted"),
    ("human_open_rate", "opened by people", "delivered"),
    ("human_click_rate", "clicked by people", "delivered"),
    ("conversion_rate", "converted", "delivered"),
)
_STORY = {
    "audience": vocabulary.AUDIENCE,
    "who may be reached": vocabulary.ELIGIBILITY,
    "plan": vocabulary.MESSAGES,
    "sending": vocabulary.DISPATCH,
    "books": vocabulary.RECONCILIATION,
    "report": vocabulary.REPORT,
}
_MOST_POINTS = 30
_LINE_WIDTH, _LINE_HEIGHT = 300, 44


def rows_table(rows: Iterable[Mapping[str, Cell]]) -> dg.MetadataValue:
    """Rows as a metadata table; a word where there are none, since empty tables show nothing."""
    records = [dg.TableRecord(dict(row)) for row in rows]
    return dg.MetadataValue.table(records) if records else dg.MetadataValue.text("none")


def counts_table(frame: pl.DataFrame) -> dg.MetadataValue:
    """A frame of counts as a metadata table."""
    return rows_table(frame.to_dicts())


def bullets(lines: Iterable[str]) -> dg.MetadataValue:
    """A list of sentences; a word where there are none."""
    return dg.MetadataValue.md("\n".join(f"- {line}" for line in lines) or "none")


def plan_metadata(funnel: Funnel) -> dict[str, dg.MetadataValue]:
    """How an audience became messages, before anything is sent, as a chart and as numbers."""
    steps = {name: count for name, count in funnel_steps(funnel).items() if name in _PLANNED}
    return {"funnel_chart": bars(steps, "How the audience became messages"), **figures(steps)}


def funnel_metadata(funnel: Funnel) -> dict[str, dg.MetadataValue]:
    """A send's funnel as a chart and as numbers; `progress` is the share of messages that are settled."""
    steps = funnel_steps(funnel)
    settled = funnel.accepted + funnel.refused + funnel.cancelled
    return {
        "funnel_chart": bars(steps, "The send's funnel"),
        "progress": dg.MetadataValue.float(round(settled / funnel.messages, 4) if funnel.messages else 1.0),
        **figures(steps),
    }


def story(send_id: str) -> dict[str, dg.MetadataValue]:
    """Links to everything Dagster knows of a send, in the order in which it happens."""
    links = (
        f"[{name}](/assets/{'/'.join(key.path)}?view=partitions&partition={quote(send_id, safe='')})"
        for name, key in _STORY.items()
    )
    return {"this_send": dg.MetadataValue.md(" → ".join(links))}


def bars(counts: Mapping[str, int], title: str) -> dg.MetadataValue:
    """A small bar chart, shown in place; the counts that are 0 left out. A word where there is nothing to count."""
    if not counts:
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.md(inline_image(small_bars(counts), title))


def line(values: Sequence[float], title: str) -> dg.MetadataValue:
    """A small line through the values in their order, shown in place; of many, evenly picked ones."""
    if len(values) > _MOST_POINTS:
        values = [
            values[round(position * (len(values) - 1) / (_MOST_POINTS - 1))]
            for position in range(_MOST_POINTS)
        ]
    return dg.MetadataValue.md(inline_image(sparkline(values, width=_LINE_WIDTH, height=_LINE_HEIGHT), title))


def figures(values: Mapping[str, object]) -> dict[str, dg.MetadataValue]:
    """Numbers as Dagster plots them over time; what is null, a rate of nothing, is left out."""
    found: dict[str, dg.MetadataValue] = {}
    for name, value in values.items():
        if isinstance(value, int):
            found[name] = dg.MetadataValue.int(value)
        elif isinstance(value, float) and math.isfinite(value):
            found[name] = dg.MetadataValue.float(round(value, 6))
    return found


def rates(counts: Mapping[str, int]) -> dict[str, dg.MetadataValue]:
    """The headline rates of a send's report, as shares; those of nothing are left out."""
    return figures(
        {
            name: counts[part] / counts[whole]
            for name, part, whole in _RATES
            if counts.get(whole) and part in counts
        }
    )

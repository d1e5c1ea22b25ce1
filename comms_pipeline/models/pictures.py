"""What Dagster shows of a model's rows at a glance, as SQL: its chart and its figures. Runs nothing."""

from comms_pipeline.models.header import Model

MOST_BARS = 10
MOST_POINTS = 60


def chart_query(model: Model) -> str | None:
    """Names and numbers: the largest bars first, or the last points in their order. None for a model without a chart.

    What cannot be named or counted is left out.
    """
    chart = model.header.chart
    if chart is None:
        return None
    name, order = (chart.by, "2 desc, 1") if chart.by else (chart.over, "1 desc")
    rows = (
        f"select {name} as name, {chart.of} as amount from {model.table} where ({name}) is not null "
        f"group by all having amount is not null order by {order} limit {MOST_BARS if chart.by else MOST_POINTS}"
    )
    return rows if chart.by else f"select * from ({rows}) order by 1"


def figures_query(model: Model) -> str | None:
    """One row of numbers over the whole table; None for a model without figures."""
    figures = [f"{sql} as {name}" for name, sql in model.header.figures.items()]
    return f"select {', '.join(figures)} from {model.table}" if figures else None

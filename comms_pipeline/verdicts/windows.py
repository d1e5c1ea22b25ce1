"""Crowds: where many different things happen to one thing within a short time. Knows no rule."""

import polars as pl

_ROW = "__row"
_AT = "occurred_at"


def crowded(events: pl.DataFrame, *, group: str, of: str, at_least: int, seconds: float) -> pl.Series:
    """Whether each event is one of `at_least` different `of` that one `group` has within `seconds`; Boolean.

    Exact: true for every event of such a stretch, the first and the last of them included, wherever it begins. Null
    in `group` or `of` belongs to no crowd. `occurred_at` is Datetime (us).
    """
    rows = events.select(_AT, group, of).with_row_index(_ROW).drop_nulls()
    # Hardly any group is large enough, and only those cost more than a count.
    large = rows.group_by(group).agg(pl.col(of).n_unique()).filter(pl.col(of) >= at_least)
    rows = rows.join(large, on=group, how="semi").sort(group, _AT)
    period = f"{round(seconds * 1_000_000)}us"
    ahead = rows.rolling(_AT, period=period, offset="0us", closed="both", group_by=group).agg(
        found=pl.col(of).n_unique()
    )
    # An event is in a crowd when some stretch that begins at it or shortly before is one.
    around = (
        ahead.filter(pl.col("found") >= at_least)
        .select(group, _AT)
        .unique()
        .sort(group, _AT)
        .with_columns(begins=pl.col(_AT))
    )
    inside = rows.join_asof(
        around, on=_AT, by=group, strategy="backward", tolerance=period, check_sortedness=False
    )
    found = inside.filter(pl.col("begins").is_not_null())[_ROW]
    return (
        pl.select(pl.int_range(events.height, dtype=pl.UInt32).alias("row"))
        .to_series()
        .is_in(found.implode())
    )

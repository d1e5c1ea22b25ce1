"""The personalization score of a message, as a column expression. Where its inputs come from, `planning` knows."""

import polars as pl

RECENCY_HALF_LIFE_DAYS = 30.0
COVERAGE_SHARE, RECENCY_SHARE, ENGAGEMENT_SHARE = 0.5, 0.25, 0.25


def score(coverage: pl.Expr, days_since_engaged: pl.Expr, engagement_rate: pl.Expr) -> pl.Expr:
    """How personal a message is to its recipient, 0–1; what is null counts nothing.

    Half is `coverage` (0–1), the share of the template's variables the contact has a value for. A quarter is
    recency: 1 on the day of the contact's last open or click, halved for every 30 days since. A quarter is
    `engagement_rate` (0–1), how much of what the contact got it opened and clicked, however long ago.
    """
    # Clocks differ: what happened a little later than now happened now.
    recency = 0.5 ** (days_since_engaged.cast(pl.Float64).clip(lower_bound=0.0) / RECENCY_HALF_LIFE_DAYS)
    return (
        COVERAGE_SHARE * _share(coverage)
        + RECENCY_SHARE * recency.fill_null(0.0)
        + ENGAGEMENT_SHARE * _share(engagement_rate)
    )


def _share(value: pl.Expr) -> pl.Expr:
    return value.cast(pl.Float64).clip(0.0, 1.0).fill_null(0.0)

"""The score of a message: between 0 and 1, more for more, nothing for what is not known."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.personalization.scores import score

COLUMNS = ("coverage", "days", "rate")
shares = st.none() | st.floats(0, 1)
days = st.none() | st.floats(-10, 4_000)


def scores(*rows: tuple[float | None, float | None, float | None]) -> list[float]:
    frame = pl.DataFrame(list(rows), schema=dict.fromkeys(COLUMNS, pl.Float64), orient="row")
    return frame.select(score(*map(pl.col, COLUMNS))).to_series().to_list()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((1.0, 0.0, 1.0), 1.0),
        ((1.0, None, None), 0.5),
        ((0.5, None, 0.0), 0.25),
        ((None, 0.0, None), 0.25),
        ((None, 30.0, None), 0.125),
        ((None, 60.0, None), 0.0625),
        ((None, None, 1.0), 0.25),
        ((None, None, None), 0.0),
        # The provider's clock may be ahead of ours; who opens and clicks counts twice and one time.
        ((0.0, -1.0, 1.5), 0.5),
    ],
)
def test_half_is_coverage_a_quarter_recency_a_quarter_engagement(row, expected):
    assert scores(row) == [expected]


@given(st.lists(st.tuples(shares, days, shares), min_size=1, max_size=20))
def test_a_score_is_between_0_and_1(rows):
    assert all(0 <= each <= 1 for each in scores(*rows))


@given(shares, days, shares, st.sampled_from(COLUMNS), st.data())
def test_more_of_anything_is_never_worth_less(coverage, since, rate, changed, data):
    row = {"coverage": coverage, "days": since, "rate": rate}
    other = row | {changed: data.draw(days if changed == "days" else shares)}
    here, there = row[changed], other[changed]

    low, high = scores(tuple(row.values()), tuple(other.values()))

    if here is None or (there is not None and (here >= there if changed == "days" else here <= there)):
        assert low <= high
    else:
        assert low >= high


@given(shares, days, shares)
def test_what_is_not_known_counts_as_the_least(coverage, since, rate):
    known, without_rate, without_coverage, never = scores(
        (coverage, since, rate), (coverage, since, None), (None, since, rate), (coverage, None, rate)
    )
    assert known >= max(without_rate, without_coverage, never)

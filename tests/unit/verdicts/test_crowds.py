"""Many different things within a short time: the columns against the plain definition."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.verdicts.windows import crowded

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
ROW = st.tuples(
    st.integers(0, 12), st.sampled_from(["g", "h", None]), st.sampled_from(["a", "b", "c", "d", None])
)


def by_definition(rows: list[tuple[int, str | None, str | None]], at_least: int, steps: int) -> list[bool]:
    def is_crowd(begin: int, group: str) -> bool:
        inside = {of for at, who, of in rows if who == group and of and begin <= at <= begin + steps}
        return len(inside) >= at_least

    return [
        bool(group and of) and any(is_crowd(begin, group or "") for begin in range(at - steps, at + 1))
        for at, group, of in rows
    ]


@given(st.lists(ROW, max_size=30), st.integers(2, 4), st.integers(1, 5))
def test_every_event_of_a_crowded_stretch_is_found_and_no_other(rows, at_least, steps):
    events = pl.DataFrame(
        {
            "occurred_at": [NOON + timedelta(milliseconds=500 * at) for at, _, _ in rows],
            "group": [group for _, group, _ in rows],
            "of": [of for _, _, of in rows],
        },
        schema={"occurred_at": pl.Datetime("us", "UTC"), "group": pl.String, "of": pl.String},
    )
    found = crowded(events, group="group", of="of", at_least=at_least, seconds=steps / 2)
    assert found.to_list() == by_definition(rows, at_least, steps)

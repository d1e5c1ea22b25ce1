"""How much a new sending address may send from day to day."""

from datetime import date

import pytest

from comms_pipeline.dispatch.warm_up import DAILY_CAPS, cap_on

START = date(2026, 12, 1)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 11, 30), 0),
        (date(2026, 12, 1), 50),
        (date(2026, 12, 2), 100),
        (date(2026, 12, 10), 100_000),
        (date(2026, 12, 15), 1_000_000),
        (date(2026, 12, 16), None),
        (date(2027, 12, 1), None),
    ],
)
def test_a_warm_up_has_a_cap_for_each_of_its_days(day: date, expected: int | None) -> None:
    assert cap_on(day, START) == expected


def test_no_day_allows_less_than_the_day_before() -> None:
    assert list(DAILY_CAPS) == sorted(DAILY_CAPS)
    assert len(DAILY_CAPS) == 15

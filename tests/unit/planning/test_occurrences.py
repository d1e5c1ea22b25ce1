"""When a recurring campaign was last due: by the wall clock of its zone, once, however long we were away."""

from datetime import UTC, datetime, timedelta

import pytest

from comms_pipeline.domain.schedule import Recurring
from comms_pipeline.planning.occurrences import last_due, send_id_of

NEW_YORK = "America/New_York"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due_times(cron: str, start: str, end: str) -> list[str]:
    """Every occurrence as a sensor that looks every ten minutes finds it, in UTC."""
    schedule, after, now = Recurring(cron=cron, time_zone=NEW_YORK), utc(start), utc(start)
    found = []
    while now < utc(end):
        now += timedelta(minutes=10)
        occurrence = last_due(schedule, after, now)
        if occurrence is not None:
            found.append(f"{occurrence.astimezone(UTC):%d %H:%M}")
            after = occurrence
    return found


@pytest.mark.parametrize(
    ("after", "now", "expected"),
    [
        ("2026-12-01T09:00", "2026-12-01T13:59", None),
        ("2026-12-01T09:00", "2026-12-01T14:00", "2026-12-01T14:00"),
        # The one it begins after does not come again.
        ("2026-12-01T14:00", "2026-12-01T14:00", None),
        ("2026-12-01T14:00", "2026-12-02T13:59", None),
        # Of those missed only the latest is made up for.
        ("2026-12-01T14:00", "2026-12-24T20:00", "2026-12-24T14:00"),
    ],
)
def test_the_latest_occurrence_since_the_last_one(after, now, expected):
    found = last_due(Recurring(cron="0 9 * * *", time_zone=NEW_YORK), utc(after), utc(now))

    assert found == (utc(expected) if expected else None)


def test_nine_in_the_morning_stays_nine_when_clocks_change():
    # Clocks go forward on the 8th of March 2026.
    assert due_times("0 9 * * *", "2026-03-06T20:00", "2026-03-09T20:00") == [
        "07 14:00",
        "08 13:00",
        "09 13:00",
    ]


def test_an_hour_that_is_skipped_is_made_up_for_once():
    assert due_times("30 2 * * *", "2026-03-07T12:00", "2026-03-09T12:00") == ["08 07:00", "09 06:30"]


def test_an_hour_that_comes_twice_counts_once_for_a_daily_campaign():
    # Clocks go back on the 1st of November 2026.
    assert due_times("30 1 * * *", "2026-10-31T12:00", "2026-11-02T12:00") == ["01 05:30", "02 06:30"]


def test_an_hourly_campaign_runs_every_hour_of_a_day_of_25():
    assert len(due_times("0 * * * *", "2026-11-01T04:00", "2026-11-02T05:00")) == 25


def test_further_occurrences_have_names_of_their_own():
    assert send_id_of("news") == "news"
    assert send_id_of("news", "20261201T1400Z") == "news--20261201T1400Z"

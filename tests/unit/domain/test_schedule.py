from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from comms_pipeline.domain.schedule import Once, Recurring, Schedule

SCHEDULE: TypeAdapter[Once | Recurring] = TypeAdapter(Schedule)


def test_a_time_with_an_offset_is_one_moment():
    schedule = SCHEDULE.validate_python({"at": "2026-12-01T09:00:00-05:00"})

    assert isinstance(schedule, Once)
    assert schedule.at == datetime(2026, 12, 1, 14, tzinfo=UTC)


@pytest.mark.parametrize("at", ["2026-12-01T09:00:00", "2026-12-01", "tomorrow", 1_800_000_000, None])
def test_a_time_without_an_offset_is_refused(at):
    with pytest.raises(ValidationError):
        SCHEDULE.validate_python({"at": at})


@pytest.mark.parametrize(
    "cron", ["0 9 * * 1", "*/15 8-18 1,15 jan-jun mon-fri", "59 23 31 12 7", "0 0 1-10/2 * *", "5 4 * * SUN"]
)
def test_five_field_cron_is_understood(cron):
    schedule = SCHEDULE.validate_python({"cron": cron, "time_zone": "America/New_York"})

    assert schedule == Recurring(cron=cron.lower(), time_zone="America/New_York")


@pytest.mark.parametrize(
    ("cron", "problem"),
    [
        ("0 9 * *", "cron '0 9 * *' has 4 fields instead of 5"),
        ("60 9 * * *", "cron minute '60' is not valid"),
        ("0 24 * * *", "cron hour '24' is not valid"),
        ("0 9 0 * *", "cron day of month '0' is not valid"),
        ("0 9 * 13 *", "cron month '13' is not valid"),
        ("0 9 * * 8", "cron day of week '8' is not valid"),
        ("0 9 * * monday", "cron day of week 'monday' is not valid"),
        ("*/0 9 * * *", "cron minute '*/0' is not valid"),
        ("30-10 9 * * *", "cron minute '30-10' is not valid"),
        ("1,,2 9 * * *", "cron minute '1,,2' is not valid"),
        ("@daily", "cron '@daily' has 1 fields instead of 5"),
    ],
)
def test_other_cron_is_refused_by_field(cron, problem):
    with pytest.raises(ValidationError) as caught:
        SCHEDULE.validate_python({"cron": cron, "time_zone": "UTC"})

    assert caught.value.errors()[0]["ctx"]["problem"] == problem


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "America"])
def test_only_known_time_zones_are_taken(zone):
    with pytest.raises(ValidationError):
        SCHEDULE.validate_python({"cron": "0 9 * * *", "time_zone": zone})

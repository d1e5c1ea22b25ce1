"""Calendar weeks (ISO 8601): Monday to Sunday, by UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from comms_pipeline.domain.errors import CommsError

_WEEK = re.compile(r"(\d{4})-W(\d{2})")


class InvalidWeek(CommsError):
    """What was given as a week is none."""


@dataclass(frozen=True, kw_only=True)
class Week:
    """One week; `begins` is its Monday at midnight."""

    begins: datetime

    @property
    def ends(self) -> datetime:
        """The Monday after it, at midnight: the first moment that is not in it."""
        return self.begins + timedelta(days=7)

    def __str__(self) -> str:
        """2026-W47."""
        year, number, _ = self.begins.isocalendar()
        return f"{year}-W{number:02}"


def parse_week(text: str) -> Week:
    """`2026-W47`. Raises `InvalidWeek`."""
    match = _WEEK.fullmatch(text)
    try:
        monday = date.fromisocalendar(int(match[1]), int(match[2]), 1) if match else None
    except ValueError:
        monday = None
    if monday is None:
        raise InvalidWeek(f"week {text[:20]}", "there is no such week", "Write it like 2026-W47")
    return Week(begins=datetime(monday.year, monday.month, monday.day, tzinfo=UTC))


def week_before(now: datetime) -> Week:
    """The last week that is over."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Week(begins=today - timedelta(days=today.weekday() + 7))

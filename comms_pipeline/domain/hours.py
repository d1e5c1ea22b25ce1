"""Hours in which messages may go out: windows of the week by several local clocks at once, and days without any.

Exact across clock changes: an hour that is skipped is never open, one that comes twice is open twice. Says when,
never why; which hours hold for whom is for the rules to say.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import groupby, pairwise, product
from zoneinfo import ZoneInfo

import polars as pl

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.zones import zone

Day = tuple[tuple[int, int], ...]
"""Open intervals of a local day in minutes, end exclusive, 0 to 1440, in order; () is closed all day."""

DAY_MINUTES = 1440
ALWAYS: Day = ((0, DAY_MINUTES),)
HORIZON = timedelta(days=14)
"""How far ahead the next open minute is looked for."""

_MINUTE = timedelta(minutes=1)
_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_CLOSED = "closed"
_TEXT = re.compile(r"(?P<week>.+?) in (?P<zones>.+?)(?: except (?P<dates>.+))?")
_RUN = re.compile(rf"({'|'.join(_NAMES)})(?:-({'|'.join(_NAMES)}))? (.+)")
_INTERVAL = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")


class InvalidHours(CommsError):
    """Hours that cannot be: no window of a day, no text of ours."""


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Open while the local clocks of *all* `zones` are within `week`, and none of them shows a date off.

    `zones`: IANA names, sorted, at least one. `week`: seven days from Monday. `dates_off`: local dates, whole.
    Raises `InvalidHours` and `UnknownZone`.
    """

    zones: tuple[str, ...]
    week: tuple[Day, ...]
    dates_off: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        if not self.zones or any(first >= second for first, second in pairwise(self.zones)):
            problem = "the time zones are not one or more different names in order"
            raise InvalidHours("hours", problem, "Name at least one, each once, sorted")
        for name in self.zones:
            zone(name)
        if len(self.week) != len(_NAMES):
            raise InvalidHours("hours", f"a week of {len(self.week)} days", "Pass seven, Monday first")
        for name, day in zip(_NAMES, self.week, strict=True):
            _check(name, day)

    def is_open(self, at: datetime) -> bool:
        """Whether a message may go out at this instant (with its zone)."""
        moment = _utc(at)
        return all(self._minutes_closed(clock, moment) == 0 for clock in self._clocks())

    def first_open(self, at: datetime) -> datetime | None:
        """The earliest open instant from `at` on, in UTC: `at` itself or a full minute; None: none in 14 days."""
        moment = _utc(at)
        end = moment + HORIZON
        clocks = tuple(self._clocks())
        # What opens last decides; the others are asked again from there, until nobody has to wait.
        while moment <= end:
            latest = max(self._next_open(clock, moment, end) for clock in clocks)
            if latest == moment:
                return moment
            moment = latest
        return None

    def __str__(self) -> str:
        """Canonical: "Mon-Sat 09:00-21:00, Sun closed in America/Denver & America/Phoenix except 2026-12-25"."""
        runs = []
        for day, positions in groupby(range(len(_NAMES)), key=self.week.__getitem__):
            first, *others = positions
            days = f"{_NAMES[first]}-{_NAMES[others[-1]]}" if others else _NAMES[first]
            runs.append(f"{days} {_day_text(day)}")
        dates = f" except {' '.join(map(str, sorted(self.dates_off)))}" if self.dates_off else ""
        return f"{', '.join(runs)} in {' & '.join(self.zones)}{dates}"

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """The hours whose `str` is this text. Raises `InvalidHours` and `UnknownZone`."""
        return _parsed(text)

    def _clocks(self) -> Iterator[ZoneInfo]:
        return (zone(name) for name in self.zones)

    def _next_open(self, clock: ZoneInfo, at: datetime, end: datetime) -> datetime:
        """The earliest instant from `at` on that is open by one clock, or one after `end`."""
        while at <= end and (minutes := self._minutes_closed(clock, at)):
            then = _full_minute(at) + minutes * _MINUTE
            # The wait was measured by the clock as it stands: no further than to where it is put forward or back.
            at = then if _offset(clock, at) == _offset(clock, then) else _clock_change(clock, at, then)
        return at

    def _minutes_closed(self, clock: ZoneInfo, at: datetime) -> int:
        """0 when open by this clock; else how many minutes on it shows an opening, or midnight."""
        local = at.astimezone(clock)
        now = local.hour * 60 + local.minute
        day = () if local.date() in self.dates_off else self.week[local.weekday()]
        for start, end in day:
            if now < end:
                return max(start - now, 0)
        return DAY_MINUTES - now


def intersect(a: Day, b: Day) -> Day:
    """The minutes open in both."""
    pairs = product(a, b)
    overlaps = ((max(one[0], other[0]), min(one[1], other[1])) for one, other in pairs)
    return tuple((start, end) for start, end in overlaps if start < end)


def without(quiet_from: int, quiet_until: int) -> Day:
    """A day without its quiet hours, which may cross midnight: 22:00 to 08:00 leaves 08:00 to 22:00.

    Minutes of the day, end exclusive. Raises `InvalidHours` for a window of no length: it may mean all or none.
    """
    is_of_a_day = min(quiet_from, quiet_until) >= 0 and max(quiet_from, quiet_until) <= DAY_MINUTES
    if quiet_from == quiet_until or not is_of_a_day:
        problem = f"from minute {quiet_from} until minute {quiet_until} is no window of a day"
        raise InvalidHours("quiet hours", problem, "Use two different minutes from 0 to 1440")
    if quiet_from > quiet_until:
        return ((quiet_until, quiet_from),)
    return tuple(part for part in ((0, quiet_from), (quiet_until, DAY_MINUTES)) if part[0] < part[1])


def first_open_column(hours: pl.Series, at: pl.Series) -> pl.Series:
    """`first_open` by rows: `hours` (String as `str(Hours)`, null = any time), `at` (Datetime us UTC).

    Datetime us UTC; null = never. Works once for each distinct pair.
    """
    rows = pl.DataFrame({"hours": hours, "at": at})
    distinct = rows.unique()
    opens = [
        moment if text is None or moment is None else Hours.parse(text).first_open(moment)
        for text, moment in distinct.iter_rows()
    ]
    known = distinct.with_columns(opens=pl.Series(opens, dtype=pl.Datetime("us", "UTC")))
    return rows.join(known, on=["hours", "at"], how="left", nulls_equal=True, maintain_order="left")["opens"]


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        # Python would take it for the time of this machine.
        raise InvalidHours("an instant", "it has no time zone", "Pass it in UTC")
    return at.astimezone(UTC)


def _full_minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _offset(clock: ZoneInfo, at: datetime) -> timedelta | None:
    return at.astimezone(clock).utcoffset()


def _clock_change(clock: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The full minute in (before, after] from which the clock no longer shows the offset of `before`.

    Clocks change at full minutes, and not twice within a day.
    """
    offset = _offset(clock, before)
    early, late = 0, (after - _full_minute(before)) // _MINUTE
    while late - early > 1:
        middle = (early + late) // 2
        if _offset(clock, _full_minute(before) + middle * _MINUTE) == offset:
            early = middle
        else:
            late = middle
    return _full_minute(before) + late * _MINUTE


def _check(name: str, day: Day) -> None:
    borders = [minute for interval in day for minute in interval]
    is_within = all(0 <= minute <= DAY_MINUTES for minute in borders)
    is_in_order = all(start < end for start, end in day) and borders == sorted(borders)
    if not is_within or not is_in_order:
        problem = f"{name} is open {', '.join(f'from minute {start} until {end}' for start, end in day)}"
        fix = "Use intervals in order that do not overlap, each from a minute to a later one, 0 to 1440"
        raise InvalidHours("hours", problem, fix)


def _day_text(day: Day) -> str:
    return " ".join(f"{_clock_text(start)}-{_clock_text(end)}" for start, end in day) or _CLOSED


def _clock_text(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> Hours:
    parts = _TEXT.fullmatch(text)
    if parts is None:
        raise _foreign(text)
    hours = Hours(
        zones=tuple(parts["zones"].split(" & ")),
        week=_week(text, parts["week"]),
        dates_off=_dates(text, parts["dates"]),
    )
    if str(hours) != text:
        raise _foreign(text)
    return hours


def _week(text: str, runs: str) -> tuple[Day, ...]:
    week: list[Day] = []
    for run in runs.split(", "):
        parts = _RUN.fullmatch(run)
        if parts is None:
            raise _foreign(text)
        first, last, day = parts.groups()
        days = _NAMES.index(last or first) - _NAMES.index(first) + 1
        intervals = () if day == _CLOSED else tuple(_interval(text, part) for part in day.split(" "))
        week.extend([intervals] * days)
    return tuple(week)


def _interval(text: str, interval: str) -> tuple[int, int]:
    parts = _INTERVAL.fullmatch(interval)
    if parts is None:
        raise _foreign(text)
    from_hour, from_minute, until_hour, until_minute = map(int, parts.groups())
    return from_hour * 60 + from_minute, until_hour * 60 + until_minute


def _dates(text: str, dates: str | None) -> frozenset[date]:
    try:
        return frozenset(date.fromisoformat(part) for part in dates.split(" ")) if dates else frozenset()
    except ValueError:
        raise _foreign(text) from None


def _foreign(text: str) -> InvalidHours:
    fix = "Write them as 'Mon-Sat 09:00-21:00, Sun closed in America/New_York', all seven days"
    return InvalidHours("hours", f"'{text}' is no text of hours", fix)

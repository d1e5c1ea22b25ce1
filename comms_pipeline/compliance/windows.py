"""Opening hours as rules state them: what each window check makes of one asked. Joins no columns, see `opening`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Self

from pydantic import model_validator

from comms_pipeline.domain.hours import ALWAYS, Day, without
from comms_pipeline.domain.sending_hours import MINUTES_OF_A_DAY, OpenMinutes, SendingHours, Weekday
from comms_pipeline.domain.validation import Strict, fault

Week = tuple[Day, ...]
"""Seven days of open intervals, Monday first."""

_ALL_DAY = (0, MINUTES_OF_A_DAY)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the campaign and one contact ask for. Minutes of the day; None where there is no such wish."""

    campaign_hours: SendingHours | None = None
    quiet_from: int | None = None
    quiet_until: int | None = None
    date_off: date | None = None


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What one window leaves open for one asked."""

    week: Week
    dates_off: frozenset[date] = frozenset()


class Window(Strict, ABC):
    """A check that defers instead of excluding: it says when, not whether."""

    @abstractmethod
    def opening(self, asked: Asked) -> Opening | None:
        """What it leaves open; None where it has nothing to say."""


class OpeningHours(Window):
    """The same hours for everybody whom the rule covers."""

    open: OpenMinutes
    days: Mapping[Weekday, OpenMinutes] = {}
    """Days with hours of their own."""
    closed: tuple[Weekday, ...] = ()

    @model_validator(mode="after")
    def _opens(self) -> Self:
        if both := sorted(set(self.days) & set(self.closed)):
            raise fault(f"{both[0]} has hours and is closed", "Keep one of the two")
        if set(self.closed) == set(Weekday):
            raise fault("every day of the week is closed", "Leave a day out of 'closed:'")
        return self

    def opening(self, asked: Asked) -> Opening:  # noqa: ARG002
        return _opening({day: self.days.get(day, self.open) for day in Weekday if day not in self.closed})


class OwnHours(Window):
    """The hours the campaign asks for."""

    def opening(self, asked: Asked) -> Opening | None:
        hours = asked.campaign_hours
        if hours is None or not (hours.open or hours.days_off):
            return None
        return _opening({day: hours.open or _ALL_DAY for day in Weekday if day not in hours.days_off})


class NotQuiet(Window):
    """The quiet hours the contact asked for."""

    def opening(self, asked: Asked) -> Opening | None:
        if asked.quiet_from is None or asked.quiet_until is None:
            return None
        if asked.quiet_from == asked.quiet_until:
            # All day or never: nobody knows which was meant, and what is unknown never allows.
            return Opening(week=((),) * 7)
        return Opening(week=(without(asked.quiet_from, asked.quiet_until),) * 7)


class NotDayOff(Window):
    """The contact's own day off, such as their wedding day."""

    def opening(self, asked: Asked) -> Opening | None:
        if asked.date_off is None:
            return None
        return Opening(week=(ALWAYS,) * 7, dates_off=frozenset({asked.date_off}))


def _opening(days: Mapping[Weekday, tuple[int, int]]) -> Opening:
    return Opening(week=tuple((days[day],) if day in days else () for day in Weekday))

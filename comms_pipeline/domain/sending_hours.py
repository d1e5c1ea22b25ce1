"""The hours a campaign keeps to, as its file says them. What law and people add is for the rules to say."""

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BeforeValidator, PlainSerializer, model_validator

from comms_pipeline.domain.segment import FieldPath
from comms_pipeline.domain.validation import Strict, fault

MINUTES_OF_A_DAY = 1_440

_OPEN = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])\s*-\s*([01]?[0-9]|2[0-4]):([0-5][0-9])")
_ATTRIBUTE = "attributes."


class Weekday(StrEnum):
    """The days of a week, Monday first."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"

    @property
    def number(self) -> int:
        """0 to 6, as `datetime.weekday()` counts."""
        return list(Weekday).index(self)


def _minutes(value: object) -> tuple[int, int]:
    match = _OPEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        opens, closes = (int(match[hour]) * 60 + int(match[hour + 1]) for hour in (1, 3))
        if opens < closes <= MINUTES_OF_A_DAY:
            return opens, closes
    # Such as 9:00 without quotes, which YAML may read as a number.
    raise fault(f"'{str(value)[:80]}' are not hours of a day", 'Write e.g. "09:00-20:00"')


def _as_text(minutes: tuple[int, int]) -> str:
    return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in minutes)


def _without_prefix(value: object) -> object:
    # Elsewhere attributes go by their own name; both spellings are understood.
    return value.removeprefix(_ATTRIBUTE) if isinstance(value, str) else value


OpenMinutes = Annotated[
    tuple[int, int], BeforeValidator(_minutes), PlainSerializer(_as_text, return_type=str)
]


class SendingHours(Strict):
    """When messages of a campaign may reach somebody, by their own clock; narrows what rules allow."""

    open: OpenMinutes | None = None
    """Minutes of the day, from and until (exclusive); written as "09:00-20:00". None: all day."""
    days_off: tuple[Weekday, ...] = ()
    """Days of the week on which nothing goes out."""
    date_off: Annotated[FieldPath, BeforeValidator(_without_prefix)] | None = None
    """The attribute that holds a contact's own day of rest, such as their wedding; without `attributes.`."""

    @model_validator(mode="after")
    def _leaves_time(self) -> Self:
        if set(self.days_off) == set(Weekday):
            raise fault("every day of the week is off", "Leave a day out of 'days_off:'")
        if self == SendingHours.model_construct():
            raise fault("'hours' says nothing", "Add 'open:', 'days_off:' or 'date_off:', or remove 'hours:'")
        return self

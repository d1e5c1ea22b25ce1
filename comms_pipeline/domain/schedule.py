"""When a campaign is due: once, or again and again by cron. Computes no occurrence, reads no clock."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, Discriminator, Tag

from comms_pipeline.domain.validation import KnownKeys, Strict, fault, keys_of

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Name, lowest, highest (7 is Sunday again), and the words that stand for numbers.
_CRON_FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_CRON_ITEM = re.compile(r"(?:\*|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>[0-9]{1,3}))?")


def _cron(value: str) -> str:
    fields = value.lower().split()
    if len(fields) != len(_CRON_FIELDS):
        raise fault(
            f"cron '{value}' has {len(fields)} fields instead of 5", "Write e.g. '0 9 * * 1' for Mondays at 9"
        )
    for text, (name, lowest, highest, words) in zip(fields, _CRON_FIELDS, strict=True):
        if not all(_is_cron_item(item, lowest, highest, words) for item in text.split(",")):
            raise fault(
                f"cron {name} '{text}' is not valid",
                f"Use {lowest}-{highest}, '*', lists, ranges and '/steps'",
            )
    return " ".join(fields)


def _is_cron_item(item: str, lowest: int, highest: int, words: Mapping[str, int]) -> bool:
    match = _CRON_ITEM.fullmatch(item)
    if match is None or (match["step"] is not None and int(match["step"]) == 0):
        return False
    ends = [
        words.get(end, int(end) if end.isdecimal() else -1) for end in (match["low"], match["high"]) if end
    ]
    return all(lowest <= end <= highest for end in ends) and ends == sorted(ends)


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise fault(f"'{value}' is not a time zone", "Use a name such as America/New_York") from None
    return value


def _iso_text(value: object) -> object:
    if not isinstance(value, str | datetime):
        raise fault("'at' is not a time", "Write e.g. 2026-12-01T09:00:00-05:00")
    return value


def _with_offset(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise fault("the time has no offset", "Add the offset from UTC, e.g. -05:00 or Z")
    return value


TimeZone = Annotated[str, AfterValidator(_time_zone)]


class Once(Strict):
    """One occurrence."""

    at: Annotated[datetime, BeforeValidator(_iso_text), AfterValidator(_with_offset)]


class Recurring(Strict):
    """Occurrences by a five-field cron expression, read in the wall-clock time of `time_zone`."""

    cron: Annotated[str, AfterValidator(_cron)]
    time_zone: TimeZone


def _kind(value: object) -> str:
    if isinstance(value, BaseModel):
        return type(value).__name__
    return Once.__name__ if isinstance(value, Mapping) and "at" in value else Recurring.__name__


Schedule = Annotated[
    Annotated[Once, Tag("Once")] | Annotated[Recurring, Tag("Recurring")], Discriminator(_kind)
]

SCHEDULE_KEYS: KnownKeys = {"Once": keys_of(Once), "Recurring": keys_of(Recurring) | keys_of(Once)}
"""For `validation.faults`, by union tag."""

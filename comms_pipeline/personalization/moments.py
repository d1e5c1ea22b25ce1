"""Dates and times as a language writes them: what a value means, which format fits it, and its text.

Formats are CLDR's short, medium, long and full, or a CLDR pattern (Unicode TR 35, part 4). Knows no filters.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, cast

from comms_pipeline.personalization.locales import UnfitInput

if TYPE_CHECKING:
    from babel import Locale

    Width = Literal["short", "medium", "long", "full"]

_WIDTHS = ("short", "medium", "long", "full")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ISO_TIME = re.compile(r"T?[0-9]{2}:[0-9]{2}")
_QUOTED = re.compile(r"'[^']*'")
_FIELD = re.compile(r"[A-Za-z]")
_MAX_PATTERN = 100
_ZONE_FIELDS = frozenset("zZOvVxX")
_DATE_FIELDS = frozenset("GyYuQqMLwWdDFEec")
# Not b: Babel has no text of it for some languages at some hours.
_TIME_FIELDS = frozenset("aBhHKkmsSA") | _ZONE_FIELDS
_PATTERN_FIX = "Use short, medium, long, full or a pattern such as EEEE, d MMMM y."


class Kind(Enum):
    """What is written of a moment."""

    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"


_FIELDS = {Kind.DATE: _DATE_FIELDS, Kind.TIME: _TIME_FIELDS, Kind.DATETIME: _DATE_FIELDS | _TIME_FIELDS}
# What a text or value must hold to be written so.
_NEEDS = {
    Kind.DATE: ("no date", "Pass ISO 8601 text such as 2026-01-31, a date or a datetime."),
    Kind.TIME: ("no time of day", "Pass ISO 8601 text such as 18:30 or 2026-01-31T18:30, a time or a datetime."),
    Kind.DATETIME: ("no date with a time", "Pass ISO 8601 text such as 2026-01-31T18:30, or a datetime."),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a moment is written: one of CLDR's widths or a pattern, in the language of a locale."""

    text: str
    locale: "Locale"


def check_format(kind: Kind, text: object) -> str:
    """The format itself. Raises UnfitInput for what is neither a width nor a pattern of fields of this kind."""
    if not isinstance(text, str):
        raise UnfitInput("a format that is no text", _PATTERN_FIX)
    if text not in _WIDTHS:
        _check_pattern(kind, text)
    return text


@lru_cache(maxsize=1024)
def _check_pattern(kind: Kind, pattern: str) -> None:
    from babel.dates import parse_pattern

    fields = set(_FIELD.findall(_QUOTED.sub("", pattern)))
    is_long = len(pattern) > _MAX_PATTERN
    if is_long or not fields or not fields <= _FIELDS[kind] or pattern.count("'") % 2 or "\0" in pattern:
        raise UnfitInput(f"a format that is no pattern of a {kind.value}", _PATTERN_FIX, word=pattern)
    try:
        parse_pattern(pattern)
    except ValueError:
        problem = f"a format with too many letters for one field of a {kind.value}"
        raise UnfitInput(problem, _PATTERN_FIX, word=pattern) from None


def moment_of(kind: Kind, value: object, zone: tzinfo | None) -> date | time | datetime:
    """The moment a value stands for, instants in `zone`; a moment without a zone stays as it is. Raises UnfitInput.

    A date for DATE, a time or datetime for TIME, a datetime for DATETIME: nothing is made up that is not there.
    """
    missing, fix = _NEEDS[kind]
    moment = _read(value) if isinstance(value, str) else value
    try:
        if isinstance(moment, datetime) and moment.tzinfo is not None and zone is not None:
            moment = moment.astimezone(zone)
    except OverflowError:
        raise UnfitInput("a moment at the end of time", fix) from None
    if kind is Kind.DATE and isinstance(moment, date):
        return moment.date() if isinstance(moment, datetime) else moment
    if isinstance(moment, datetime) or (kind is Kind.TIME and isinstance(moment, time)):
        return moment
    what = "text" if isinstance(value, str) else "a value"
    raise UnfitInput(f"{what} that is {missing}", fix)


def _read(text: str) -> date | time | datetime | None:
    """ISO 8601 text, in its extended form only: 1030 could be anything."""
    text = text.strip()
    try:
        if _ISO_DATE.fullmatch(text):
            return date.fromisoformat(text)
        if _ISO_DATE.match(text):
            return datetime.fromisoformat(text)
        return time.fromisoformat(text) if _ISO_TIME.match(text) else None
    except ValueError:
        return None


def write(kind: Kind, moment: date | time | datetime, form: Format) -> str:
    """The moment in a format checked before. Raises UnfitInput where the format shows a zone that is not there."""
    if isinstance(moment, time):
        moment = datetime.combine(date(2000, 1, 1), moment)
    if not isinstance(moment, datetime):
        return _date_text(moment, form.text, form.locale)
    if moment.tzinfo is None:
        _check_shows_no_zone(form.text)
    return _moment_text(kind, moment, form.text, form.locale)


def _check_shows_no_zone(form: str) -> None:
    if form not in _WIDTHS and not _ZONE_FIELDS.isdisjoint(_QUOTED.sub("", form)):
        fix = "Leave the zone out of the format, or pass a time with its offset."
        raise UnfitInput("a time without a zone, which its format shows", fix)


@lru_cache(maxsize=10_000)
def _date_text(moment: date, form: str, locale: "Locale") -> str:
    from babel.dates import format_date

    return format_date(moment, form, locale)


def _moment_text(kind: Kind, moment: datetime, form: str, locale: "Locale") -> str:
    from babel.dates import format_datetime, format_time, get_datetime_format

    if form not in _WIDTHS:
        return format_datetime(moment, form, locale=locale)
    if form == "short":
        clock = _clock_text(moment.time().replace(second=0, microsecond=0), "short", locale)
    elif form == "medium" or moment.tzinfo is None:
        # The long widths name the zone; without one, Babel would call it UTC.
        clock = _clock_text(moment.time().replace(microsecond=0), "medium", locale)
    else:
        clock = format_time(moment, form, locale=locale)
    if kind is Kind.TIME:
        return clock
    frame = str(get_datetime_format(cast("Width", form), locale=locale)).replace("'", "")
    return frame.replace("{0}", clock).replace("{1}", _date_text(moment.date(), form, locale))


@lru_cache(maxsize=10_000)
def _clock_text(clock: time, form: str, locale: "Locale") -> str:
    """A time of day in a width that shows no zone."""
    from babel.dates import format_time

    return format_time(clock, form, locale=locale)

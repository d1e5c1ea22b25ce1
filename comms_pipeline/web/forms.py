"""Reads the forms of the preference centre. Pure: what they do to the ledger is the business of `subscription`.

A form that no page of ours can have sent is refused as a whole. What a person may get wrong is a mistake that the
page shows beside what they entered.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException

from comms_pipeline.web.subscription import Cell

CONTENT_TYPE = "application/x-www-form-urlencoded"
CAPS = (1, 2, 3, 5, 7, 14)
"""The limits of messages a week that the page offers."""

_MAX_FIELDS = 400
_ACTION, _VERSION, _SHOWN, _WANTED, _UNTIL = "action", "version", "shown", "wanted", "until"
_QUIET_FROM, _QUIET_UNTIL, _CAP = "quiet_from", "quiet_until", "weekly_cap"
# Some browsers show plain text fields in place of clocks, and some add seconds.
_CLOCK = re.compile(r"\s*([01]?\d|2[0-3])[:.]([0-5]\d)(?::00)?\s*", re.ASCII)


class Action(StrEnum):
    """What the buttons of the page ask for."""

    SAVE = "save"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"


class Mistake(StrEnum):
    """What a person may get wrong, by the name of its text."""

    QUIET_BOTH = "quiet_both"
    QUIET_SAME = "quiet_same"
    QUIET_FORM = "quiet_form"


_FIELDS: Mapping[Action, frozenset[str]] = {
    Action.SAVE: frozenset({_ACTION, _VERSION, _SHOWN, _WANTED, _QUIET_FROM, _QUIET_UNTIL, _CAP}),
    Action.PAUSE: frozenset({_ACTION, _VERSION, _UNTIL}),
    Action.RESUME: frozenset({_ACTION, _VERSION}),
    Action.STOP: frozenset({_ACTION}),
}
# No box ticked, or none to tick: browsers send nothing then.
_OPTIONAL = frozenset({_SHOWN, _WANTED})


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A form of ours. `version` is the standing it was made for; "" where that does not matter.

    `wanted` has every box that could be ticked. `quiet` is in minutes of the day; None when not wanted, or when
    `mistake` says what is wrong with what was `entered` (from, until). `until` is the day a pause ends.
    """

    action: Action
    version: str = ""
    wanted: Mapping[Cell, bool] = field(default_factory=dict)
    quiet: tuple[int, int] | None = None
    entered: tuple[str, str] = ("", "")
    mistake: Mistake | None = None
    weekly_cap: int | None = None
    until: date | None = None


def read_form(
    content_type: str | None, body: bytes, cells: Collection[Cell], caps: Collection[int]
) -> Submitted:
    """The form in a request's body. `cells` and `caps` are what there is to choose.

    Raises 415 for another content type and 422 for what the page cannot have sent.
    """
    if (content_type or "").partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise HTTPException(415, f"the body is not {CONTENT_TYPE}")
    try:
        return _submitted(body, {box_value(cell): cell for cell in cells}, caps)
    except ValueError:
        raise HTTPException(422, "the form is not one of this page") from None


def box_value(cell: Cell) -> str:
    """How a box is called in the form."""
    return f"{cell.channel}/{cell.topic}"


def clock_value(minute: int | None) -> str:
    """A minute of the day as clock fields have it."""
    return "" if minute is None else f"{minute // 60:02}:{minute % 60:02}"


def _submitted(body: bytes, cells: Mapping[str, Cell], caps: Collection[int]) -> Submitted:
    fields = _fields(body)
    action = Action(_one(fields, _ACTION))
    expected = _FIELDS[action]
    if not (expected - _OPTIONAL <= fields.keys() <= expected):
        raise ValueError("a field too many or too few")
    if action is Action.STOP:
        return Submitted(action=action)
    version = _one(fields, _VERSION)
    if action is Action.PAUSE:
        return Submitted(action=action, version=version, until=date.fromisoformat(_one(fields, _UNTIL)))
    if action is Action.RESUME:
        return Submitted(action=action, version=version)
    entered = (_one(fields, _QUIET_FROM), _one(fields, _QUIET_UNTIL))
    quiet, mistake = _quiet(entered)
    return Submitted(
        action=action,
        version=version,
        wanted=_wanted(fields.get(_SHOWN, []), fields.get(_WANTED, []), cells),
        quiet=quiet,
        entered=entered,
        mistake=mistake,
        weekly_cap=_cap(_one(fields, _CAP), caps),
    )


def _fields(body: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    pairs = parse_qsl(
        body.decode("ascii"),
        keep_blank_values=True,
        strict_parsing=True,
        errors="strict",
        max_num_fields=_MAX_FIELDS,
    )
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _one(fields: Mapping[str, list[str]], name: str) -> str:
    (value,) = fields.get(name, [])
    return value


def _wanted(shown: list[str], wanted: list[str], cells: Mapping[str, Cell]) -> dict[Cell, bool]:
    if len(set(shown)) < len(shown) or not set(wanted) <= set(shown) <= cells.keys():
        raise ValueError("a box that is not on the page")
    return {cells[value]: value in wanted for value in shown}


def _quiet(entered: tuple[str, str]) -> tuple[tuple[int, int] | None, Mistake | None]:
    if not any(text.strip() for text in entered):
        return None, None
    if not all(text.strip() for text in entered):
        return None, Mistake.QUIET_BOTH
    start, end = (_CLOCK.fullmatch(text) for text in entered)
    if start is None or end is None:
        return None, Mistake.QUIET_FORM
    quiet = (int(start[1]) * 60 + int(start[2]), int(end[1]) * 60 + int(end[2]))
    return (None, Mistake.QUIET_SAME) if quiet[0] == quiet[1] else (quiet, None)


def _cap(text: str, caps: Collection[int]) -> int | None:
    if not text:
        return None
    if text not in {str(cap) for cap in caps}:
        raise ValueError("a limit that is not on the page")
    return int(text)

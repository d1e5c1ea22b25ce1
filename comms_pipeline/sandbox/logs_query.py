"""The query language of SendGrid's Email Logs API (`POST /v3/logs`). Parses only; the search is elsewhere.

Source: the published OpenAPI document (`tsg_logs_v3.json`). Conditions are joined by AND, without nesting:
`sg_message_id`, `subject`, `to_email` and `reason` take `=`, `status` and `categories` take `IN`, and
`sg_message_id_created_at` takes `>`, `<`, `>=`, `<=` with `TIMESTAMP "2025-01-01T00:00:00Z"`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor
from typing import Any

MAX_CONDITIONS = 160
STATUSES = frozenset({"processed", "delivered", "deferred", "dropped", "bounced", "blocked"})

_STRING = r"'(?:[^']|'')*'|\"[^\"]*\""
_CONDITION = re.compile(
    rf"\s*(?P<field>\w+)\s*(?:"
    rf"(?P<equals>=)\s*(?P<value>{_STRING})"
    rf"|IN\s*\(\s*(?P<list>(?:{_STRING})(?:\s*,\s*(?:{_STRING}))*)\s*\)"
    rf"|(?P<compare>>=|<=|>|<)\s*TIMESTAMP\s*(?P<time>{_STRING})"
    rf")\s*"
)
_EQUALS_FIELDS = {
    "sg_message_id": "sg_message_id",
    "subject": "subject",
    "to_email": "to_email",
    "reason": "reason",
}
_IN_FIELDS = {"status": "statuses", "categories": "categories"}
_TIME_FIELD = "sg_message_id_created_at"


class BadQueryError(ValueError):
    """The query is not in the language; the message says where."""


@dataclass(frozen=True, kw_only=True)
class LogQuery:
    """What to look for; None means any. Times are epoch seconds, `since` included and `until` not."""

    sg_message_id: str | None = None
    subject: str | None = None
    to_email: str | None = None
    reason: str | None = None
    statuses: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    since: float = 0.0
    until: float = 1e12


def parse(query: str) -> LogQuery:
    """Parse a query; an empty one finds everything. Raises `BadQueryError`."""
    found: dict[str, Any] = {}
    position, count = 0, 0
    while query[position:].strip():
        if count:
            joint = re.compile(r"AND\b").match(query, position)
            if joint is None:
                raise BadQueryError(f"expected AND at position {position}")
            position = joint.end()
        match = _CONDITION.match(query, position)
        if match is None:
            raise BadQueryError(f"cannot read the condition at position {position}")
        _add(found, match)
        position, count = match.end(), count + 1
        if count > MAX_CONDITIONS:
            raise BadQueryError(f"more than {MAX_CONDITIONS} conditions")
    return LogQuery(**found)


def _add(found: dict[str, Any], match: re.Match[str]) -> None:
    field = match["field"]
    if match["equals"] and field in _EQUALS_FIELDS:
        name, value = _EQUALS_FIELDS[field], _unquote(match["value"])
        if found.setdefault(name, value) != value:
            raise BadQueryError(f"{field} is compared twice")
    elif match["list"] and field in _IN_FIELDS:
        values = tuple(_unquote(value) for value in re.findall(_STRING, match["list"]))
        if field == "status" and not STATUSES.issuperset(values):
            raise BadQueryError("status must be among " + ", ".join(sorted(STATUSES)))
        if found.setdefault(_IN_FIELDS[field], values) != values:
            raise BadQueryError(f"{field} is compared twice")
    elif match["compare"] and field == _TIME_FIELD:
        _narrow(found, match["compare"], _timestamp(_unquote(match["time"])))
    else:
        raise BadQueryError(f"{field} cannot be compared like this")


def _narrow(found: dict[str, Any], operator: str, at: float) -> None:
    """Narrow the window. Creation times are whole seconds, as SendGrid shows them."""
    if operator in {">", ">="}:
        since = ceil(at) if operator == ">=" else floor(at) + 1
        found["since"] = max(found.get("since", 0.0), since)
    else:
        until = ceil(at) if operator == "<" else floor(at) + 1
        found["until"] = min(found.get("until", 1e12), until)


def _timestamp(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadQueryError("a TIMESTAMP must look like 2025-01-01T00:00:00Z")
    return moment.timestamp()


def _unquote(text: str) -> str:
    return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]

"""Reading fields of a provider's JSON, which may hold anything anywhere. Knows no provider by name."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from comms_pipeline.domain.event import InvalidEvents, without_addresses

# Enhanced status codes (RFC 3463) that blame the moment, the mailbox's size or a policy, not the address.
HARMLESS_STATUSES = ("4.", "5.2.2", "5.3.4", "5.6.", "5.7.")


def text(entry: Mapping[str, Any], name: str) -> str | None:
    """A field as text, without NUL; numbers are written both as numbers and as strings. None for all else."""
    value = entry.get(name)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value).replace("\x00", "") or None
    return None


def clean(value: str | None) -> str | None:
    """`without_addresses`, of a text that may be missing."""
    return without_addresses(value) if value else None


def inner(entry: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The object at the end of these names; an empty one where there is none."""
    found: Any = entry
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def moment(value: object) -> datetime | None:
    """A Unix time in seconds, or an ISO 8601 text, as UTC; None for anything that is no moment."""
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(value)
            return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def seconds(value: object) -> datetime | None:
    """A Unix time in whole seconds, number or digits, as UTC; None for anything that is no moment."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        return datetime.fromtimestamp(int(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def redacted(value: object) -> object:
    """The value with addresses blotted out, however deep; what customers add may hold anything."""
    if isinstance(value, str):
        return without_addresses(value)
    if isinstance(value, list):
        return [redacted(item) for item in value]
    if isinstance(value, dict):
        return {name: redacted(item) for name, item in value.items()}
    return value


def kept(entry: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The fields of these names, redacted: everything else may be personal."""
    return {name: redacted(value) for name, value in entry.items() if name in names}


def loaded_object(body: bytes, webhook: str, provider: str) -> Mapping[str, Any]:
    """The JSON object of a body. Raises `InvalidEvents`, naming the webhook, for anything else."""
    fix = f"Point only {provider}'s webhooks here"
    try:
        entry = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidEvents(webhook, "is not JSON", fix) from None
    if not isinstance(entry, dict):
        raise InvalidEvents(webhook, "is not an object", fix)
    return entry

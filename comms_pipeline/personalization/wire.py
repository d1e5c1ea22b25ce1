"""How the parent and the rendering child talk: length-prefixed JSON, and values JSON lacks as tagged objects.

Every JSON object on the wire is a tag with one key, so plain data can never pose as one.
"""

import json
import struct
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

HEADER = struct.Struct(">I")
FRAGMENT_FILE = "<fragment>"  # the name errors carry that arose in a fragment, not in an imported template


def pack(message: object) -> bytes:
    """One frame: four bytes of length, then JSON in ASCII (lone surrogates survive as escapes)."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return HEADER.pack(len(body)) + body


def unpack(body: bytes) -> Any:
    """The message of a frame's body."""
    return json.loads(body)


def encode(value: object) -> object:
    """A cell as JSON; raises TypeError for what a template may not receive."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[key, encode(item)] for key, item in value.items()]}
    for kind, tag, write in _WRITERS:
        if isinstance(value, kind):
            return {tag: write(value)}
    raise TypeError(type(value).__name__)


def decode(value: Any) -> object:
    """The inverse of `encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        ((tag, body),) = value.items()
        return _READERS[tag](body)
    return value


def _write_datetime(value: datetime) -> list[str | None]:
    return [value.isoformat(), value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None]


def _read_datetime(body: list[str | None]) -> datetime:
    text, zone = body
    moment = datetime.fromisoformat(str(text))
    return moment.astimezone(ZoneInfo(zone)) if zone else moment


# Order matters: a datetime is a date, a Markup is a str.
_WRITERS: tuple[tuple[type, str, Callable[[Any], object]], ...] = (
    (Markup, "markup", str),
    (Decimal, "decimal", str),
    (datetime, "datetime", _write_datetime),
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (timedelta, "duration", lambda value: [value.days, value.seconds, value.microseconds]),
)
_READERS: dict[str, Callable[[Any], object]] = {
    "dict": lambda body: {key: decode(item) for key, item in body},
    "markup": Markup,
    "decimal": Decimal,
    "datetime": _read_datetime,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "duration": lambda body: timedelta(days=body[0], seconds=body[1], microseconds=body[2]),
}

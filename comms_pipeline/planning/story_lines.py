"""The lines a story is made of. Who tells what lives beside it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Chapter(StrEnum):
    """What a line is about, in the order of a story."""

    SEND = "send"
    CONTACT = "contact"
    AUDIENCE = "audience"
    DECISION = "decision"
    STANDING = "standing"
    """What stands between us and the contact as of now."""
    CHANGE = "change"
    """What of that has changed since the decision."""
    MESSAGE = "message"
    QUEUE = "queue"
    OUTCOME = "outcome"
    EVENT = "event"
    CONVERSION = "conversion"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One fact. `at` (UTC) is when it became one, None for what has no time; `source` is where it is on record."""

    chapter: Chapter
    text: str
    source: str
    at: datetime | None = None


def moment(at: datetime) -> str:
    """A time in words."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

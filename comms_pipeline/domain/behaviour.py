"""What contacts do, as an audience's conditions: events, scores, audience types, lists, other segments.

How conditions combine is `segment`'s; turning them into SQL is `audience`'s.
"""

import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, ValidationInfo, field_validator

from comms_pipeline.domain.business_event import CUSTOM_PREFIX, TYPES
from comms_pipeline.domain.fields import SingleLine, Slug
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.validation import Strict, fault, nearest

_CUSTOM_TYPE = re.compile(rf"{re.escape(CUSTOM_PREFIX)}[a-z0-9][a-z0-9_-]{{0,59}}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MAX_COUNT, _MAX_DAYS = 1_000_000, 3_650


class MessageEvent(StrEnum):
    """What becomes of a message. Each message counts once for each, at the first time."""

    ACCEPTED = "accepted"
    """A provider took it."""
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    FAILED = "failed"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"


BY_MACHINES_TOO = frozenset({MessageEvent.OPENED, MessageEvent.CLICKED})
"""Events that programs cause as well as people."""


class Score(StrEnum):
    """Columns of `core.contact_scores` between 0 and 1."""

    ENGAGEMENT = "engagement_score"
    CHURN_RISK = "churn_risk"


class AudienceType(StrEnum):
    """How a contact listens, as `core.contact_scores` says; every contact is of one type."""

    ALL = "all"
    """Any of the others."""
    HOT = "hot"
    WARM = "warm"
    COLD = "cold"
    NEW = "new"
    """Never got a message."""
    CONTACTED = "contacted"
    """Got too few messages to tell."""


def _event_name(value: object) -> object:
    known = {*MessageEvent, *TYPES}
    if not isinstance(value, str) or (value not in known and not _CUSTOM_TYPE.fullmatch(value)):
        fix = nearest(str(value)[:80], known)
        raise fault(
            f"'{str(value)[:80]}' is no event", f"{fix} Types of your own begin with '{CUSTOM_PREFIX}'"
        )
    return value


def _moment(value: object) -> datetime:
    try:
        if isinstance(value, datetime):
            at = value
        elif isinstance(value, date):
            at = datetime(value.year, value.month, value.day, tzinfo=UTC)
        else:
            text = str(value)
            at = datetime.fromisoformat(f"{text}T00:00:00Z" if len(text) == len("2026-01-01") else text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise fault(
        f"'{str(value)[:40]}' is no moment", "Write a day like 2026-05-01 (UTC) or 2026-05-01T09:00:00-05:00"
    )


def _currency(value: str) -> str:
    if not _CURRENCY.fullmatch(value):
        raise fault(f"'{value[:20]}' is no currency", "Write three capital letters, such as EUR (ISO 4217)")
    return value


Moment = Annotated[datetime, BeforeValidator(_moment)]
Times = Annotated[int, Field(strict=True, ge=0, le=_MAX_COUNT)]
Share = Annotated[float, Field(ge=0, le=1)]


class Count(Strict):
    """How often: `exactly`, or `at_least`, `at_most` or both. Nought is never."""

    at_least: Times | None = None
    at_most: Times | None = None
    exactly: Annotated[Times | None, Field(validate_default=True)] = None

    @field_validator("exactly")
    @classmethod
    def _says_something(cls, value: int | None, info: ValidationInfo) -> int | None:
        lowest, highest = info.data.get("at_least"), info.data.get("at_most")
        if (value is None) == (lowest is None and highest is None):
            raise fault("'count' is not one number or range", "Write exactly: 2, or at_least: 1, at_most: 3")
        if lowest is not None and highest is not None and lowest > highest:
            raise fault("'at_least' is above 'at_most'", "Swap them")
        if lowest == 0 and highest is None:
            raise fault(
                "at_least: 0 means everybody", "Leave the condition out, or write exactly: 0 for never"
            )
        return value

    @property
    def lowest(self) -> int:
        """The fewest times that fit."""
        return self.exactly if self.exactly is not None else self.at_least or 0

    @property
    def highest(self) -> int | None:
        """The most times that fit; None is no limit."""
        return self.exactly if self.exactly is not None else self.at_most


AT_LEAST_ONCE = Count(at_least=1)


class Happened(Strict):
    """So many events of one kind, within a window, of some messages. Field order matters to the checks.

    Of opens and clicks only people's count, unless `count_machines`. `campaign`, `topic` and `channel` choose
    messages; of business events they choose those credited to such a message (`core.conversions`).
    """

    event: Annotated[str, BeforeValidator(_event_name)]
    count: Count = AT_LEAST_ONCE
    within_days: Annotated[int, Field(strict=True, ge=1, le=_MAX_DAYS)] | None = None
    since: Moment | None = None
    before: Moment | None = None
    """Not included."""
    campaign: Slug | None = None
    topic: Slug | None = None
    channel: Channel | None = None
    count_machines: StrictBool = False
    value_at_least: Annotated[float, Field(ge=0, le=1e12)] | None = None
    """What each event is worth at least, in units of its currency."""
    currency: Annotated[str, AfterValidator(_currency)] | None = None

    @property
    def message_event(self) -> MessageEvent | None:
        """The kind, of what becomes of messages; None of business events."""
        return MessageEvent(self.event) if self.event in set(MessageEvent) else None

    @property
    def is_of_some_messages(self) -> bool:
        """Whether only events of chosen messages count."""
        return not (self.campaign is None and self.topic is None and self.channel is None)

    @field_validator("since")
    @classmethod
    def _one_beginning(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        if value is not None and info.data.get("within_days") is not None:
            raise fault("'within_days' and 'since' both say when it begins", "Keep one of them")
        return value

    @field_validator("before")
    @classmethod
    def _after_since(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        since = info.data.get("since")
        if value is not None and since is not None and value <= since:
            raise fault("'before' is not later than 'since'", "Swap them")
        return value

    @field_validator("count_machines")
    @classmethod
    def _of_what_machines_do(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("event") not in BY_MACHINES_TOO:
            raise fault("only opens and clicks are done by machines too", "Remove 'count_machines'")
        return value

    @field_validator("value_at_least", "currency")
    @classmethod
    def _of_what_has_a_value(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and info.data.get("event") in set(MessageEvent):
            raise fault(
                "what becomes of messages has no value", f"Remove '{info.field_name}', or ask for a purchase"
            )
        return value


class ScoreBetween(Strict):
    """A score within bounds, both included. Nobody without that score meets it."""

    score: Score
    between: tuple[Share, Share]

    @field_validator("between")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise fault("the first end of 'between' is above the second", "Swap them")
        return value


class OfAudienceType(Strict):
    """One audience type, and bounds of the intent score, which is the engagement score."""

    audience_type: AudienceType
    intent_score_min: Share | None = None
    intent_score_max: Share | None = None

    @field_validator("intent_score_max")
    @classmethod
    def _in_order(cls, value: float | None, info: ValidationInfo) -> float | None:
        lowest = info.data.get("intent_score_min")
        if value is not None and lowest is not None and lowest > value:
            raise fault("'intent_score_min' is above 'intent_score_max'", "Swap them")
        return value


class OnList(Strict):
    """On a list: the name is an element of the attribute `tags`, or of its comma-separated text."""

    list: SingleLine


class SegmentReference(Strict):
    """Whoever meets a saved segment of the same organisation."""

    segment: Slug

"""What providers tell us afterwards, in one normalised vocabulary. Parsing lives with each provider."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.message import Channel

# Generous on purpose: also "mailto" links, query strings with an encoded @, and international numbers.
_ADDRESS = re.compile(r"[\w.+%-]+(?:@|%40)[\w.-]+|\+\d[\d ().-]{6,}\d")
_MESSAGE_ID = re.compile(r"[0-9a-f]{32}")
_ORGANISATION_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class EventKind(StrEnum):
    """Normalised kinds (django-anymail's words). What no table knows is UNKNOWN, and kept."""

    QUEUED = "queued"
    SENT = "sent"
    REJECTED = "rejected"
    FAILED = "failed"
    BOUNCED = "bounced"
    BLOCKED = "blocked"
    """Refused for now by the receiving side; says nothing against the address, never suppresses."""
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    AUTORESPONDED = "autoresponded"
    OPENED = "opened"
    CLICKED = "clicked"
    TRAP = "trap"
    """Followed a link that no person can see. Says who visits, and nothing of how far the message got."""
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    SUBSCRIBED = "subscribed"
    INBOUND = "inbound"
    UNKNOWN = "unknown"


class SuppressionReason(StrEnum):
    """Why an address must not be reached. The words of the ledger's `suppression.reason`."""

    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    BOUNCED = "bounced"
    INVALID = "invalid"
    STOPPED = "stopped"
    """The recipient told the carrier's side, for every sender: STOP. Only START lifts it."""
    MANUAL = "manual"
    ERASED = "erased"


class SuppressionScope(StrEnum):
    """Which messages a suppression stands against. An opt-out of marketing leaves an invoice alone."""

    ALL = "all"
    MARKETING = "marketing"


class InvalidEvents(CommsError):
    """A webhook's body is not what its provider documents; the culprit is the provider's webhook."""


@dataclass(frozen=True, kw_only=True)
class ProviderEvent:
    """One event as a provider told it. What the provider left out is None.

    `occurred_at` (UTC) is None where the provider gives no time: the landing's `received_at` stands in.
    `message_id` and `organisation_id` are ours, handed back by the provider. `code` is the provider's or the
    SMTP status. `address` serves suppression only and is never stored; `raw` is the provider's own words
    without personal fields.
    """

    provider: str
    channel: Channel
    kind: EventKind
    raw_kind: str
    occurred_at: datetime | None = None
    message_id: str | None = None
    organisation_id: str | None = None
    provider_message_id: str | None = None
    provider_event_id: str | None = None
    address: str | None = field(default=None, repr=False)
    reason: str | None = None
    code: str | None = None
    url: str | None = None
    user_agent: str | None = None
    is_machine: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


def own_message_id(value: object) -> str | None:
    """`value` if it has the shape of our message ids, else None: what is foreign never reaches a key."""
    return value if isinstance(value, str) and _MESSAGE_ID.fullmatch(value) else None


def own_organisation_id(value: object) -> str | None:
    """`value` if it has the shape of our organisation ids, else None."""
    return value if isinstance(value, str) and _ORGANISATION_ID.fullmatch(value) else None


def without_addresses(text: str) -> str:
    """`text` with every e-mail address and phone number blotted out: bounce texts love to quote them."""
    # Without one of these there is none, and looking for it takes long in long words.
    if not ("@" in text or "%40" in text or "+" in text):
        return text
    return _ADDRESS.sub("<address>", text)

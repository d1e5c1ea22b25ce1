"""Events our own web app learns of, landed beside the providers' so that the lake gets them the same way."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex

import orjson

from comms_pipeline.domain.event import (
    EventKind,
    InvalidEvents,
    ProviderEvent,
    own_message_id,
    own_organisation_id,
    without_addresses,
)
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import TokenClaims

PROVIDER = "comms"
UNSUBSCRIBE = "unsubscribe"
RESUBSCRIBE = "resubscribe"
OPEN = "open"
CLICK = "click"
TRAP = "trap"

KINDS: Mapping[str, EventKind] = {
    UNSUBSCRIBE: EventKind.UNSUBSCRIBED,
    RESUBSCRIBE: EventKind.SUBSCRIBED,
    OPEN: EventKind.OPENED,
    CLICK: EventKind.CLICKED,
    TRAP: EventKind.TRAP,
}
"""What is landed, by the name it is landed under."""

_MAX_USER_AGENT_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One request for a pixel, a tracked link or the link that no person sees. `url` is where a click led to.

    `ip_key` is a keyed hash of the client's IP address (`domain.addresses.ip_key`), None where that is not known. A
    HEAD or a prefetch is a machine's: nobody looked.
    """

    claims: TokenClaims
    occurred_at: datetime
    user_agent: str | None
    is_head: bool
    is_prefetch: bool
    ip_key: str | None = None
    url: str | None = None


def unsubscribe_body(claims: TokenClaims, occurred_at: datetime | None = None) -> bytes:
    """What is landed when somebody opts out through a link of a message. Ids only."""
    return _body(claims, occurred_at)


def resubscribe_body(claims: TokenClaims, occurred_at: datetime) -> bytes:
    """What is landed when somebody takes an opt-out back. Ids only."""
    return _body(claims, occurred_at)


def hit_body(hit: Hit) -> bytes:
    """What is landed for a hit: each is an event of its own, however alike two may be."""
    return _body(
        hit.claims,
        hit.occurred_at,
        hit_id=token_hex(8),
        url=without_addresses(hit.url) if hit.url else None,
        user_agent=hit.user_agent[:_MAX_USER_AGENT_CHARACTERS] if hit.user_agent else None,
        ip_key=hit.ip_key,
        is_head=hit.is_head,
        is_prefetch=hit.is_prefetch,
    )


def parse(kind: str, body: bytes) -> ProviderEvent:
    """The event of a body made here, landed as `kind`. Raises `InvalidEvents` for any other."""
    try:
        entry = orjson.loads(body)
        channel = Channel(entry["channel"])
        message_id = own_message_id(entry["message_id"])
        occurred_at = entry.get("occurred_at")
        return ProviderEvent(
            provider=PROVIDER,
            channel=channel,
            kind=KINDS[kind],
            raw_kind=kind,
            occurred_at=datetime.fromisoformat(occurred_at) if occurred_at else None,
            message_id=message_id,
            organisation_id=own_organisation_id(entry.get("organisation_id")),
            provider_event_id=f"{kind}:{entry.get('hit_id') or message_id}",
            url=entry.get("url"),
            user_agent=entry.get("user_agent"),
            is_machine=bool(entry.get("is_head") or entry.get("is_prefetch")),
            raw=entry,
        )
    except (orjson.JSONDecodeError, TypeError, KeyError, ValueError, AttributeError):
        raise InvalidEvents(f"{kind} landing", "is not one of ours", "Leave the landing to comms") from None


def _body(claims: TokenClaims, occurred_at: datetime | None, **details: str | bool | None) -> bytes:
    # The time makes events differ that the same message brings again: a second open, an opt-out after a return.
    return orjson.dumps(
        {
            "organisation_id": claims.organisation_id,
            "contact_id": claims.contact_id,
            "channel": claims.channel,
            "message_id": claims.message_id,
            "occurred_at": occurred_at,
            **details,
        }
    )

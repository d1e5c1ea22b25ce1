"""Events our own web app learns of, landed beside the providers' so that the lake gets them the same way."""

import orjson

from comms_pipeline.domain.event import (
    EventKind,
    InvalidEvents,
    ProviderEvent,
    own_message_id,
    own_organisation_id,
)
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import TokenClaims

PROVIDER = "comms"
UNSUBSCRIBE = "unsubscribe"


def unsubscribe_body(claims: TokenClaims) -> bytes:
    """What is landed when somebody follows the unsubscribe link of a message. Ids only."""
    return orjson.dumps(
        {
            "organisation_id": claims.organisation_id,
            "contact_id": claims.contact_id,
            "channel": claims.channel,
            "message_id": claims.message_id,
        }
    )


def parse_unsubscribe(body: bytes) -> ProviderEvent:
    """The event of a body that `unsubscribe_body` made. Raises `InvalidEvents` for any other."""
    try:
        entry = orjson.loads(body)
        channel = Channel(entry["channel"])
        message_id = own_message_id(entry["message_id"])
    except (orjson.JSONDecodeError, TypeError, KeyError, ValueError):
        raise InvalidEvents(
            "unsubscribe landing", "is not one of ours", "Leave the landing to comms"
        ) from None
    return ProviderEvent(
        provider=PROVIDER,
        channel=channel,
        kind=EventKind.UNSUBSCRIBED,
        raw_kind=UNSUBSCRIBE,
        message_id=message_id,
        organisation_id=own_organisation_id(entry.get("organisation_id")),
        # One message can be unsubscribed from once; START or a new consent does not change the past.
        provider_event_id=f"{UNSUBSCRIBE}:{message_id}",
        raw=entry,
    )

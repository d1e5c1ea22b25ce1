"""Mailgun's webhooks: is it really Mailgun, what does it say, whom must we never write to again.

Stores nothing and sends nothing. Formats:
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-payloads and …/securing-webhooks
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.event import (
    EventKind,
    InvalidEvents,
    ProviderEvent,
    SuppressionReason,
    own_message_id,
    own_organisation_id,
)
from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.event_fields import (
    HARMLESS_STATUSES,
    clean,
    inner,
    kept,
    loaded_object,
    moment,
    seconds,
    text,
)

PROVIDER = "mailgun"
MESSAGE_VARIABLE = "comms_message"
"""The user variable that carries our message id."""
ORGANISATION_VARIABLE = "comms_org"
# Mailgun repeats a refused delivery for 8 hours and does not say that it signs anew.
OLDEST_ACCEPTED = timedelta(hours=12)
NEWEST_ACCEPTED = timedelta(minutes=5)

KINDS = {
    "accepted": EventKind.QUEUED,
    "delivered": EventKind.DELIVERED,
    "rejected": EventKind.REJECTED,
    "opened": EventKind.OPENED,
    "clicked": EventKind.CLICKED,
    "complained": EventKind.COMPLAINED,
    "unsubscribed": EventKind.UNSUBSCRIBED,
    "stored": EventKind.INBOUND,
}
FAILED = "failed"
SUPPRESSING_FAILURES = {
    "suppress-bounce": SuppressionReason.BOUNCED,
    "suppress-complaint": SuppressionReason.COMPLAINED,
    "suppress-unsubscribe": SuppressionReason.UNSUBSCRIBED,
}
"""Why Mailgun did not even try, and what that says of the address."""
PERMANENT_FAILURES = {
    **dict.fromkeys(SUPPRESSING_FAILURES, EventKind.REJECTED),
    "bounce": EventKind.BOUNCED,
    "generic": EventKind.BOUNCED,
    "espblock": EventKind.BLOCKED,
    "blacklisted": EventKind.BLOCKED,
    # Tried for 8 hours, and given up.
    "old": EventKind.FAILED,
}
"""What a permanent failure is by its reason. One that the table lacks is FAILED: it says nothing of the address."""
SOFT_BOUNCE = "soft"
MACHINES = ("apple", "generic")
"""What `client-info.bot` calls what opens by itself. Gmail's image proxy acts for somebody who looks."""

SUPPRESSING_KINDS = {
    EventKind.BOUNCED: SuppressionReason.BOUNCED,
    EventKind.COMPLAINED: SuppressionReason.COMPLAINED,
    EventKind.UNSUBSCRIBED: SuppressionReason.UNSUBSCRIBED,
}
# Everything else of an event may be personal.
IMPERSONAL_FIELDS = frozenset(
    {"event", "id", "timestamp", "log-level", "severity", "reason", "delivery-status", "reject", "flags"}
    | {"tags", "campaigns", "user-variables", "url", "method", "recipient-domain", "recipient-provider"}
)
IMPERSONAL_CLIENT_FIELDS = frozenset({"client-name", "client-os", "client-type", "device-type", "bot"})
_STATUS = re.compile(r"\s*[245]\.\d{1,3}\.\d{1,3}(?![\d.])")


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a webhook shows that it is Mailgun's. The token is good once: the body is not signed."""

    timestamp: str
    token: str
    digests: tuple[str, ...]
    """In hexadecimal: by the key of the account, and of its parent where it has one."""


def signature(body: bytes) -> Signature | None:
    """The signature of a body; None where there is none, or no JSON."""
    try:
        told = inner(loaded_object(body, "Mailgun webhook", "Mailgun"), "signature")
    except InvalidEvents:
        return None
    timestamp, token = text(told, "timestamp"), told.get("token")
    digests = tuple(
        found for name in ("signature", "parent-signature") if isinstance(found := told.get(name), str)
    )
    if not timestamp or not token or not isinstance(token, str) or not digests:
        return None
    return Signature(timestamp=timestamp, token=token, digests=digests)


def verify(shown: Signature | None, key: str, now: datetime) -> bool:
    """True if Mailgun signed this time and token, at most 12 hours ago and at most 5 minutes ahead of `now`.

    Whether the token was seen before is the caller's to know. Raises `ProviderMisconfigured` without a key: an
    empty one would accept forgeries.
    """
    if not key:
        raise ProviderMisconfigured(
            "COMMS_MAILGUN_WEBHOOK_KEY", "is not set", "Copy the HTTP webhook signing key from Mailgun"
        )
    signed_at = seconds(shown.timestamp) if shown else None
    if shown is None or signed_at is None or not now - OLDEST_ACCEPTED <= signed_at <= now + NEWEST_ACCEPTED:
        return False
    signed = (shown.timestamp + shown.token).encode()
    expected = hmac.digest(key.encode(), signed, "sha256").hex().encode()
    return any(hmac.compare_digest(expected, digest.encode()) for digest in shown.digests)


def parse(body: bytes) -> list[ProviderEvent]:
    """The one event of a webhook; kinds no table knows survive as UNKNOWN.

    Raises `InvalidEvents` when the body is not a JSON object with `event-data`.
    """
    data = loaded_object(body, "Mailgun webhook", "Mailgun").get("event-data")
    if not isinstance(data, dict):
        raise InvalidEvents("Mailgun webhook", "has no event-data", "Point only Mailgun's webhooks here")
    raw_kind = text(data, "event") or ""
    delivery, client = inner(data, "delivery-status"), inner(data, "client-info")
    own = inner(data, "user-variables")
    code = _code(data, delivery)
    message_id = text(inner(data, "message", "headers"), "message-id")
    return [
        ProviderEvent(
            provider=PROVIDER,
            channel=Channel.EMAIL,
            kind=_kind(raw_kind, data, code),
            raw_kind=raw_kind,
            occurred_at=moment(data.get("timestamp")),
            message_id=own_message_id(own.get(MESSAGE_VARIABLE)),
            organisation_id=own_organisation_id(own.get(ORGANISATION_VARIABLE)),
            provider_message_id=message_id.strip("<>") if message_id else None,
            provider_event_id=text(data, "id"),
            address=text(data, "recipient"),
            reason=clean(_reason(data, delivery)),
            code=code,
            url=clean(text(data, "url")),
            user_agent=text(client, "user-agent"),
            is_machine=client.get("bot") in MACHINES,
            raw={
                **kept(data, IMPERSONAL_FIELDS),
                **({"client-info": kept(client, IMPERSONAL_CLIENT_FIELDS)} if client else {}),
            },
        )
    ]


def suppression_reason(event: ProviderEvent) -> SuppressionReason | None:
    """Why this event forbids writing to its address, or None when it does not."""
    if event.kind is EventKind.REJECTED:
        return SUPPRESSING_FAILURES.get(event.code or "")
    return SUPPRESSING_KINDS.get(event.kind)


def _kind(raw_kind: str, data: Mapping[str, Any], code: str | None) -> EventKind:
    if raw_kind != FAILED:
        return KINDS.get(raw_kind, EventKind.UNKNOWN)
    if text(data, "severity") == "temporary":
        return EventKind.DEFERRED
    kind = PERMANENT_FAILURES.get(text(data, "reason") or "", EventKind.FAILED)
    bounce_type = text(inner(data, "delivery-status"), "bounce-type")
    is_harmless = bounce_type == SOFT_BOUNCE or (code or "").startswith(HARMLESS_STATUSES)
    return EventKind.BLOCKED if kind is EventKind.BOUNCED and is_harmless else kind


def _code(data: Mapping[str, Any], delivery: Mapping[str, Any]) -> str | None:
    """The enhanced status, told by itself or at the beginning of the server's words; else the SMTP code.

    What Mailgun did not even try has a word instead: its numbers there are of no standard.
    """
    if (why := text(data, "reason")) in SUPPRESSING_FAILURES:
        return why
    for name in ("enhanced-code", "message"):
        found = _STATUS.match(text(delivery, name) or "")
        if found:
            return found[0].strip()
    return clean(text(delivery, "code"))


def _reason(data: Mapping[str, Any], delivery: Mapping[str, Any]) -> str | None:
    told = (
        text(delivery, "message"),
        text(delivery, "description"),
        text(inner(data, "reject"), "reason"),
        text(data, "reason"),
    )
    return next(filter(None, told), None)

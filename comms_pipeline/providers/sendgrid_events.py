"""SendGrid's event webhook: is it really SendGrid, what does it say, whom must we never write to again.

Stores nothing and sends nothing; that is `web`'s and `sendgrid`'s work. Format:
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

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
from comms_pipeline.providers.event_fields import HARMLESS_STATUSES, clean, redacted, seconds, text

PROVIDER = "sendgrid"
MESSAGE_ARGUMENT = "comms_message"
"""The `custom_args` name that carries our message id; asynchronous bounces have nothing else."""
ORGANISATION_ARGUMENT = "comms_org"
SIGNATURE_HEADER = "x-twilio-email-event-webhook-signature"
TIMESTAMP_HEADER = "x-twilio-email-event-webhook-timestamp"
# SendGrid repeats a refused delivery for 24 hours, with the time of the first attempt.
OLDEST_ACCEPTED = timedelta(hours=26)
NEWEST_ACCEPTED = timedelta(minutes=5)

KINDS = {
    "processed": EventKind.QUEUED,
    "deferred": EventKind.DEFERRED,
    "delivered": EventKind.DELIVERED,
    "dropped": EventKind.REJECTED,
    "open": EventKind.OPENED,
    "click": EventKind.CLICKED,
    "spamreport": EventKind.COMPLAINED,
    "unsubscribe": EventKind.UNSUBSCRIBED,
    "group_unsubscribe": EventKind.UNSUBSCRIBED,
    "group_resubscribe": EventKind.SUBSCRIBED,
}
BOUNCE_KINDS = {"bounce": EventKind.BOUNCED, "blocked": EventKind.BLOCKED}

SUPPRESSING_KINDS = {
    EventKind.BOUNCED: SuppressionReason.BOUNCED,
    EventKind.COMPLAINED: SuppressionReason.COMPLAINED,
    EventKind.UNSUBSCRIBED: SuppressionReason.UNSUBSCRIBED,
}
SUPPRESSING_DROPS = {
    "bounced address": SuppressionReason.BOUNCED,
    "unsubscribed address": SuppressionReason.UNSUBSCRIBED,
    "spam reporting address": SuppressionReason.COMPLAINED,
    "invalid": SuppressionReason.INVALID,
}
SUPPRESSING_WORDS = frozenset({"bounce", "dropped", "spamreport", "unsubscribe", "group_unsubscribe"})
"""What `event` says where `suppression_reason` may have one."""
PERSONAL_FIELDS = frozenset({"email", "ip", "smtp-id", "to", "from", "subject", "useragent"})


def verify(headers: Mapping[str, str], body: bytes, public_key_base64: str, now: datetime) -> bool:
    """True if SendGrid signed this body, at most 26 hours ago and at most 5 minutes ahead of `now`.

    `body` is the raw body, trailing CRLF included. Raises `ProviderMisconfigured` for an unusable key.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    signature, timestamp = lowered.get(SIGNATURE_HEADER), lowered.get(TIMESTAMP_HEADER)
    if not signature or not timestamp:
        return False
    signed_at = seconds(timestamp)
    if signed_at is None or not now - OLDEST_ACCEPTED <= signed_at <= now + NEWEST_ACCEPTED:
        return False
    key = _public_key(public_key_base64)
    try:
        key.verify(b64decode(signature, validate=True), timestamp.encode() + body, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def parse(body: bytes) -> list[ProviderEvent]:
    """The events of one webhook body, in its order; kinds no table knows survive as UNKNOWN.

    Raises `InvalidEvents` when the body is not a JSON array of objects.
    """
    return [_event(entry, _impersonal(entry)) for entry in _entries(body)]


def suppressions(body: bytes) -> list[tuple[ProviderEvent, SuppressionReason]]:
    """Those of `parse(body)` that forbid writing to their address, and why.

    Reads no more than that takes: their `raw` is empty.
    """
    found = []
    for entry in _entries(body):
        if text(entry, "event") in SUPPRESSING_WORDS:
            event = _event(entry, {})
            if reason := suppression_reason(event):
                found.append((event, reason))
    return found


def suppression_reason(event: ProviderEvent) -> SuppressionReason | None:
    """Why this event forbids writing to its address, or None when it does not."""
    if event.kind is EventKind.REJECTED:
        return SUPPRESSING_DROPS.get((event.reason or "").strip().casefold())
    if event.kind is EventKind.BOUNCED and (event.code or "").startswith(HARMLESS_STATUSES):
        return None
    return SUPPRESSING_KINDS.get(event.kind)


def _entries(body: bytes) -> list[dict[str, Any]]:
    try:
        entries = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _invalid("is not JSON") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _invalid("is not an array of objects")
    return entries


def _event(entry: dict[str, Any], raw: dict[str, Any]) -> ProviderEvent:
    raw_kind = text(entry, "event") or ""
    reason = text(entry, "reason") or text(entry, "response")
    message, url = text(entry, "sg_message_id"), text(entry, "url")
    return ProviderEvent(
        provider=PROVIDER,
        channel=Channel.EMAIL,
        kind=_kind(raw_kind, entry),
        raw_kind=raw_kind,
        occurred_at=seconds(entry.get("timestamp")),
        message_id=own_message_id(entry.get(MESSAGE_ARGUMENT)),
        organisation_id=own_organisation_id(entry.get(ORGANISATION_ARGUMENT)),
        # The X-Message-Id of the request, a dot, and the rest.
        provider_message_id=message.partition(".")[0] if message else None,
        provider_event_id=text(entry, "sg_event_id"),
        address=text(entry, "email"),
        reason=clean(reason),
        code=text(entry, "status"),
        url=clean(url),
        user_agent=text(entry, "useragent"),
        is_machine=entry.get("sg_machine_open") is True,
        raw=raw,
    )


def _impersonal(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: redacted(value) for name, value in entry.items() if name.lower() not in PERSONAL_FIELDS}


def _kind(raw_kind: str, entry: dict[str, Any]) -> EventKind:
    if raw_kind == "bounce":
        return BOUNCE_KINDS.get(text(entry, "type") or "bounce", EventKind.UNKNOWN)
    return KINDS.get(raw_kind, EventKind.UNKNOWN)


@lru_cache(maxsize=4)
def _public_key(base64: str) -> EllipticCurvePublicKey:
    try:
        key = load_der_public_key(b64decode(base64, validate=True))
    except (Base64Error, ValueError):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise ProviderMisconfigured(
            "COMMS_SENDGRID_WEBHOOK_KEY",
            "is not an elliptic-curve public key in base64",
            "Copy the verification key from SendGrid's Mail Settings, Signed Event Webhook",
        )
    return key


def _invalid(problem: str) -> InvalidEvents:
    return InvalidEvents("SendGrid event webhook", problem, "Point only SendGrid's event webhook here")

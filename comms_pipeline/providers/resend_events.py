"""Resend's webhooks: is it really Resend, what does it say, whom must we never write to again.

Stores nothing and sends nothing. Formats: https://resend.com/docs/webhooks/event-types; signatures are Svix's:
https://docs.svix.com/receiving/verifying-payloads/how-manual
"""

import hmac
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.event import (
    EventKind,
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

PROVIDER = "resend"
MESSAGE_TAG = "comms_message"
"""The tag that carries our message id."""
ORGANISATION_TAG = "comms_org"
ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER = "svix-id", "svix-timestamp", "svix-signature"
# Svix signs every attempt anew, so that an honest one is never older.
TOLERANCE = timedelta(minutes=5)
_SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with, not one
_SCHEME = "v1,"

KINDS = {
    "email.scheduled": EventKind.QUEUED,
    "email.sent": EventKind.SENT,
    "email.delivered": EventKind.DELIVERED,
    "email.delivery_delayed": EventKind.DEFERRED,
    "email.failed": EventKind.FAILED,
    "email.suppressed": EventKind.REJECTED,
    "email.opened": EventKind.OPENED,
    "email.clicked": EventKind.CLICKED,
    "email.complained": EventKind.COMPLAINED,
    "email.received": EventKind.INBOUND,
}
BOUNCED = "email.bounced"
BOUNCE_KINDS = {
    "Permanent": EventKind.BOUNCED,
    "Transient": EventKind.BLOCKED,
    "Undetermined": EventKind.FAILED,
}
"""By `bounce.type`, which is Amazon SES's."""
SUPPRESSED_TYPES = frozenset({"Suppressed", "OnAccountSuppressionList"})
"""Not sent at all: the address has bounced before, ours or another's message."""

SUPPRESSING_KINDS = {
    EventKind.BOUNCED: SuppressionReason.BOUNCED,
    EventKind.COMPLAINED: SuppressionReason.COMPLAINED,
}
# Everything else of an e-mail may be personal, and of other events everything.
IMPERSONAL_FIELDS = frozenset(
    {"email_id", "broadcast_id", "template_id", "created_at", "tags", "bounce", "failed", "suppressed"}
)
IMPERSONAL_CLICK_FIELDS = frozenset({"link", "timestamp"})
_ENHANCED_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])")


def verify(headers: Mapping[str, str], body: bytes, secret: str, now: datetime) -> bool:
    """True if one of the signatures is of this id, time and raw body, and at most 5 minutes off `now`.

    Raises `ProviderMisconfigured` without a usable secret: an empty one would accept forgeries.
    """
    key = _key(secret)
    lowered = {name.lower(): value for name, value in headers.items()}
    names = (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
    webhook_id, timestamp, signatures = (lowered.get(name, "") for name in names)
    signed_at = seconds(timestamp)
    if not webhook_id or signed_at is None or abs(now - signed_at) > TOLERANCE:
        return False
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    expected = b64encode(hmac.digest(key, signed, "sha256"))
    return any(
        hmac.compare_digest(expected, signature.removeprefix(_SCHEME).encode())
        for signature in signatures.split(" ")
        if signature.startswith(_SCHEME)
    )


def landed_query(webhook_id: str) -> str:
    """What is landed as the webhook's query: its id, which stands in a header only."""
    return urlencode({ID_HEADER: webhook_id})


def parse(query: str, body: bytes) -> list[ProviderEvent]:
    """The one event of a webhook; kinds no table knows survive as UNKNOWN. `query` is `landed_query`'s.

    Raises `InvalidEvents` when the body is not a JSON object.
    """
    entry = loaded_object(body, "Resend webhook", "Resend")
    raw_kind = text(entry, "type") or ""
    data = inner(entry, "data")
    bounce, click = inner(data, "bounce"), inner(data, "click")
    own = _tags(data.get("tags"))
    return [
        ProviderEvent(
            provider=PROVIDER,
            channel=Channel.EMAIL,
            kind=_kind(raw_kind, bounce),
            raw_kind=raw_kind,
            # `data.created_at` is the e-mail's.
            occurred_at=moment(entry.get("created_at")),
            message_id=own_message_id(own.get(MESSAGE_TAG)),
            organisation_id=own_organisation_id(own.get(ORGANISATION_TAG)),
            provider_message_id=text(data, "email_id"),
            provider_event_id=dict(parse_qsl(query)).get(ID_HEADER),
            address=_recipient(data.get("to")),
            reason=clean(_reason(data)),
            code=_code(data),
            url=clean(text(click, "link")),
            user_agent=text(click, "userAgent"),
            raw={
                **kept(entry, {"type", "created_at"}),
                "data": {
                    **kept(data, IMPERSONAL_FIELDS),
                    **({"click": kept(click, IMPERSONAL_CLICK_FIELDS)} if click else {}),
                },
            },
        )
    ]


def suppression_reason(event: ProviderEvent) -> SuppressionReason | None:
    """Why this event forbids writing to its address, or None when it does not."""
    if event.kind is EventKind.REJECTED:
        return SuppressionReason.BOUNCED if event.code in SUPPRESSED_TYPES else None
    if event.kind is EventKind.BOUNCED and (event.code or "").startswith(HARMLESS_STATUSES):
        return None
    return SUPPRESSING_KINDS.get(event.kind)


def _kind(raw_kind: str, bounce: Mapping[str, Any]) -> EventKind:
    if raw_kind != BOUNCED:
        return KINDS.get(raw_kind, EventKind.UNKNOWN)
    if bounce.get("subType") in SUPPRESSED_TYPES:
        return EventKind.REJECTED
    return BOUNCE_KINDS.get(text(bounce, "type") or "Undetermined", EventKind.UNKNOWN)


def _tags(told: object) -> Mapping[str, object]:
    """Tags by name; Resend documents a list of pairs and sends an object."""
    if isinstance(told, list):
        pairs = [tag for tag in told if isinstance(tag, dict) and isinstance(tag.get("name"), str)]
        return {tag["name"]: tag.get("value") for tag in pairs}
    return told if isinstance(told, dict) else {}


def _recipient(to: object) -> str | None:
    """The address, which may stand in angle brackets behind a name. Of several nobody knows whose event it is."""
    if isinstance(to, list):
        to = to[0] if len(to) == 1 else None
    if not isinstance(to, str):
        return None
    named = re.search(r"<([^<>]+)>\s*$", to)
    return named[1] if named else to


def _reason(data: Mapping[str, Any]) -> str | None:
    told = [(("bounce",), "message"), (("suppressed",), "message"), (("failed",), "reason")]
    return next((found for path, name in told if (found := text(inner(data, *path), name))), None)


def _code(data: Mapping[str, Any]) -> str | None:
    """The SMTP server's enhanced status where it was told, else Resend's word for what happened."""
    bounce = inner(data, "bounce")
    sub_type = text(bounce, "subType")
    if sub_type in SUPPRESSED_TYPES:
        return sub_type
    diagnostic = bounce.get("diagnosticCode")
    told = diagnostic if isinstance(diagnostic, list) else [diagnostic]
    statuses = (_ENHANCED_STATUS.search(line) for line in told if isinstance(line, str))
    status = next((found[0] for found in statuses if found), None)
    return clean(status or sub_type or text(inner(data, "suppressed"), "type"))


@lru_cache(maxsize=4)
def _key(secret: str) -> bytes:
    try:
        key = b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except (Base64Error, ValueError):
        key = b""
    if not key:
        raise ProviderMisconfigured(
            "COMMS_RESEND_WEBHOOK_SECRET",
            "is not a secret of the form whsec_… in base64" if secret else "is not set",
            "Copy the signing secret from the webhook's page at Resend",
        )
    return key

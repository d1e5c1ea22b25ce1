"""Twilio's webhooks: status callbacks and inbound messages; the opt-out words, read by ourselves too.

Stores nothing and sends nothing. Formats: https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
and https://www.twilio.com/docs/messaging/guides/webhook-request
"""

import re
import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import parse_qsl

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.event import (
    EventKind,
    InvalidEvents,
    ProviderEvent,
    SuppressionReason,
    own_message_id,
    own_organisation_id,
    without_addresses,
)
from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.twilio_codes import MEANINGS, Action

PROVIDER = "twilio"
MESSAGE_PARAMETER = "message"
"""The name in the status callback's query that carries our message id."""
ORGANISATION_PARAMETER = "org"
SIGNATURE_HEADER = "x-twilio-signature"

KINDS = {
    "accepted": EventKind.QUEUED,
    "scheduled": EventKind.QUEUED,
    "queued": EventKind.QUEUED,
    "sending": EventKind.QUEUED,
    "sent": EventKind.SENT,
    "partially_delivered": EventKind.SENT,
    "delivered": EventKind.DELIVERED,
    "read": EventKind.OPENED,
    "undelivered": EventKind.FAILED,
    "failed": EventKind.FAILED,
    "canceled": EventKind.REJECTED,
    "receiving": EventKind.INBOUND,
    "received": EventKind.INBOUND,
}
_ACTIONS = {str(code): meaning.action for code, meaning in MEANINGS.items()}
SUPPRESSING_ACTIONS = {
    Action.OPT_OUT: SuppressionReason.STOPPED,
    Action.BAD_ADDRESS: SuppressionReason.INVALID,
}
FAILURE_KINDS = {
    Action.BAD_ADDRESS: EventKind.BOUNCED,
    Action.CONTENT: EventKind.BLOCKED,
    Action.REPLY_WINDOW: EventKind.BLOCKED,
}
"""What a failure is when its error code says more than FAILED."""

# Everything else in a callback may be personal: numbers, text, names, places.
IMPERSONAL_FIELDS = (
    "MessageSid",
    "MessageStatus",
    "ErrorCode",
    "AccountSid",
    "MessagingServiceSid",
    "ApiVersion",
    "NumSegments",
    "NumMedia",
    "EventType",
    "OptOutType",
    "RawDlrDoneDate",
)


class OptOutWord(StrEnum):
    """What a reply asks for when it is one of the words carriers have every sender obey (CTIA)."""

    STOP = "STOP"
    START = "START"
    HELP = "HELP"


OPT_OUT_WORDS = {
    **dict.fromkeys(
        # The last two are Canada's French for STOP.
        ("stop", "stopall", "unsubscribe", "end", "quit", "revoke", "optout", "cancel", "arret", "arrêt"),
        OptOutWord.STOP,
    ),
    **dict.fromkeys(("start", "yes", "unstop"), OptOutWord.START),
    **dict.fromkeys(("help", "info"), OptOutWord.HELP),
}
# "Please stop texting me" revokes consent as well as "STOP" does (47 CFR 64.1200(a)(10)); "please cancel it"
# is as likely to be about the invitation.
PLAIN_WORDS = frozenset({"stop", "stopall", "unsubscribe", "quit", "revoke", "optout", "arret", "arrêt"})
COURTESIES = frozenset(
    {"please", "pls", "plz", "thanks", "thank", "you", "now", "me", "us", "it", "this", "these", "all", "sms"}
    | {"text", "texts", "texting", "message", "messages", "messaging", "sending", "contacting"}
)
_WORD = re.compile(r"[^\W_]+")
_OPT_OUT_KINDS = {OptOutWord.STOP: EventKind.UNSUBSCRIBED, OptOutWord.START: EventKind.SUBSCRIBED}


def verify(url: str, params: Mapping[str, str], signature: str | None, auth_token: str) -> bool:
    """True if Twilio signed these form fields for this full public URL, query included.

    Raises `ProviderMisconfigured` without an auth token: an empty one would accept forgeries.
    """
    # Heavy, and only receivers need it.
    from twilio.request_validator import RequestValidator

    if not auth_token:
        raise ProviderMisconfigured(
            "COMMS_TWILIO_AUTH_TOKEN", "is not set", "Copy it from the Twilio console"
        )
    if not signature:
        return False
    return bool(RequestValidator(auth_token).validate(url, dict(params), signature))


def form(body: bytes) -> dict[str, str]:
    """The fields of a urlencoded body, empty ones included; of a repeated field, the last."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def parse_status(query: str, body: bytes) -> ProviderEvent:
    """The event of a status callback; our ids come from the query we gave the callback's URL.

    Twilio tells no time: `occurred_at` is None. Raises `InvalidEvents` without a MessageSid or MessageStatus.
    """
    params, own = form(body), dict(parse_qsl(query))
    raw_kind = _required(params, "MessageStatus")
    code = _text(params, "ErrorCode")
    reason = _text(params, "ErrorMessage")
    channel, address = _channel_and_address(_text(params, "To"))
    return ProviderEvent(
        provider=PROVIDER,
        channel=channel,
        kind=_status_kind(raw_kind, code),
        raw_kind=raw_kind,
        message_id=own_message_id(own.get(MESSAGE_PARAMETER)),
        organisation_id=own_organisation_id(own.get(ORGANISATION_PARAMETER)),
        provider_message_id=_required(params, "MessageSid"),
        # Callbacks have no id; Twilio repeats one with these three unchanged.
        provider_event_id=f"{params['MessageSid']}:{raw_kind}:{code or ''}",
        address=address,
        reason=without_addresses(reason) if reason else None,
        code=code,
        raw=_impersonal(params),
    )


def parse_inbound(body: bytes) -> ProviderEvent:
    """The event of an inbound message: UNSUBSCRIBED for STOP, SUBSCRIBED for START, else INBOUND.

    `code` is the opt-out word. The text itself stays in the landing. Raises `InvalidEvents` without a
    MessageSid or sender.
    """
    params = form(body)
    word = inbound_word(params)
    channel, address = _channel_and_address(_required(params, "From"))
    message_sid = _required(params, "MessageSid")
    return ProviderEvent(
        provider=PROVIDER,
        channel=channel,
        kind=_OPT_OUT_KINDS.get(word, EventKind.INBOUND) if word else EventKind.INBOUND,
        raw_kind="inbound",
        provider_message_id=message_sid,
        provider_event_id=message_sid,
        address=address,
        code=word,
        raw=_impersonal(params),
    )


def inbound_word(params: Mapping[str, str]) -> OptOutWord | None:
    """The opt-out word of an inbound message: as Twilio read it, or as we do. STOP outweighs the rest."""
    own = opt_out_word(params.get("Body", ""))
    if own is OptOutWord.STOP:
        return own
    told = params.get("OptOutType", "").upper()
    return OptOutWord(told) if told in OptOutWord.__members__ else own


def opt_out_word(body: str) -> OptOutWord | None:
    """The word a message amounts to, whatever its case, punctuation, spacing and full-width letters.

    The plainest words for STOP may come with courtesies ("please stop texting me"), all others stand alone.
    """
    words = _WORD.findall(unicodedata.normalize("NFKC", body).casefold())
    if "".join(word for word in words if word not in COURTESIES) in PLAIN_WORDS:
        return OptOutWord.STOP
    return OPT_OUT_WORDS.get("".join(words))


def suppression_reason(event: ProviderEvent) -> SuppressionReason | None:
    """Why this event forbids messages to its address, or None when it does not."""
    if event.kind is EventKind.UNSUBSCRIBED:
        return SuppressionReason.STOPPED
    action = _ACTIONS.get(event.code or "")
    return SUPPRESSING_ACTIONS.get(action) if action else None


def _status_kind(raw_kind: str, code: str | None) -> EventKind:
    kind = KINDS.get(raw_kind, EventKind.UNKNOWN)
    if kind is not EventKind.FAILED:
        return kind
    action = _ACTIONS.get(code or "")
    return FAILURE_KINDS.get(action, kind) if action else kind


def _channel_and_address(value: str | None) -> tuple[Channel, str | None]:
    """`whatsapp:+15005550006` is a WhatsApp number, `+15005550006` an SMS one."""
    prefix, separator, number = (value or "").rpartition(":")
    channel = Channel.WHATSAPP if separator and prefix == Channel.WHATSAPP else Channel.SMS
    return channel, number or None


def _text(params: Mapping[str, str], name: str) -> str | None:
    return params.get(name, "").replace("\x00", "") or None


def _required(params: Mapping[str, str], name: str) -> str:
    value = _text(params, name)
    if value is None:
        raise InvalidEvents("Twilio webhook", f"has no {name}", "Point only Twilio's messaging webhooks here")
    return value


def _impersonal(params: Mapping[str, str]) -> dict[str, str]:
    return {name: params[name] for name in IMPERSONAL_FIELDS if name in params}

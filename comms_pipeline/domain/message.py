"""Messages and their identity. No rendering, no sending."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from hashlib import blake2b


class Channel(StrEnum):
    """How a message travels."""

    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"


REPLY_WINDOWS: Mapping[Channel, timedelta] = {Channel.WHATSAPP: timedelta(hours=24)}
"""How long after somebody's own message free text may be sent to them, where a channel limits that.

WhatsApp Business Messaging Policy; Twilio's error 63016.
"""


class MessageClass(StrEnum):
    """What law a message falls under. What is not known to be transactional counts as marketing."""

    MARKETING = "marketing"
    TRANSACTIONAL = "transactional"
    EMERGENCY = "emergency"


GENERAL_TOPIC = "general"
"""The type of message of a campaign that names none."""
EVERY_TOPIC = "*"
"""In preferences, consents and caps: every type of message that has no row of its own."""

PRIORITY = {MessageClass.EMERGENCY: 0, MessageClass.TRANSACTIONAL: 1, MessageClass.MARKETING: 2}
"""Order of sending, lowest first."""


def message_ids(send_id: str, contact_ids: Iterable[str], channel: Channel, step: int = 0) -> list[str]:
    """Deterministic ids, one per contact: 32 hex digits of BLAKE2b over (send, channel, step, contact).

    The same plan always gives the same ids, which is what makes enqueueing twice add nothing.
    """
    prefix = blake2b(f"{send_id}\x1f{channel}\x1f{step}\x1f".encode(), digest_size=16)
    ids = []
    for contact_id in contact_ids:
        digest = prefix.copy()
        digest.update(contact_id.encode())
        ids.append(digest.hexdigest())
    return ids

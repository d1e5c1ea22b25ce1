"""What became of a message at the provider's door, in one normalised vocabulary."""

from enum import StrEnum


class OutcomeStatus(StrEnum):
    """The accounted states. Every message of a plan is in exactly one of them, or still waiting."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """Bytes left, no answer came: reconciled with the provider, never resent blindly."""
    DEFERRED = "deferred"
    """Surely not sent; it will be tried again later."""
    CANCELLED = "cancelled"


class RejectReason(StrEnum):
    """Why a message was refused (django-anymail's words, so that people know them, and ours)."""

    INVALID = "invalid"
    BOUNCED = "bounced"
    TIMED_OUT = "timed_out"
    BLOCKED = "blocked"
    SPAM = "spam"
    UNSUBSCRIBED = "unsubscribed"
    CONTENT = "content"
    CONFIGURATION = "configuration"
    SUPPRESSED = "suppressed"
    """Dropped at claim time by our own suppression list; no bytes left."""
    UNWANTED = "unwanted"
    """Dropped at claim time: the recipient has turned this type of message off, or has paused them all."""
    CAPPED = "capped"
    """Dropped at claim time: the recipient has had as many messages lately as a cap allows."""
    WINDOW = "window"
    """Free text to somebody who did not write lately enough to be answered by it (`message.REPLY_WINDOWS`)."""
    EXHAUSTED = "exhausted"
    """Every allowed attempt was answered with a passing fault."""
    OTHER = "other"

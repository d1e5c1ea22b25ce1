"""What an SMTP server says, translated by table into what becomes of a message. Pure; no dialogue.

The enhanced code decides (RFC 3463), the plain code (RFC 5321 4.2) where there is none.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason


class Stage(StrEnum):
    """What a reply answers, in words for people."""

    CONNECTION = "the connection"
    STARTTLS = "STARTTLS"
    LOGIN = "AUTH"
    SENDER = "MAIL FROM"
    RECIPIENT = "RCPT TO"
    DATA = "DATA"
    MESSAGE = "the message"
    RESET = "RSET"
    NOTHING = "an empty message"
    """The dot that ends a message nobody is to get."""


CLOSING = 421
"""The one code with which a server ends a session of its own accord."""

# 530 wants a login, 534, 535 and 538 refuse ours (RFC 4954 6).
_LOGIN_CODES = {530, 534, 535, 538}
# Full mailboxes pass, whatever the first digit says.
_PASSING = {"5.2.2"}
_REASONS = {
    "5.1.1": RejectReason.INVALID,
    "5.1.2": RejectReason.INVALID,
    "5.1.3": RejectReason.INVALID,
    "5.1.6": RejectReason.INVALID,
    "5.1.10": RejectReason.INVALID,
    "5.2.1": RejectReason.BOUNCED,
    "5.1.7": RejectReason.CONFIGURATION,
    "5.1.8": RejectReason.CONFIGURATION,
    "5.2.3": RejectReason.CONTENT,
    "5.3.4": RejectReason.CONTENT,
    "5.6": RejectReason.CONTENT,
    "5.7": RejectReason.BLOCKED,
}
"""By code, or by class and subject. The first six are about the recipient's address, 5.1.7 and 5.1.8 about ours."""
_PLAIN_REASONS = {
    550: RejectReason.BOUNCED,
    551: RejectReason.INVALID,
    552: RejectReason.CONTENT,
    553: RejectReason.INVALID,
}
_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}(?= |$)")
_QUEUE_ID = re.compile(
    rb"queued as (?:<)?([^\s<>]+)|\bid=([^\s,;]+)|250 Ok ([0-9A-Fa-f-]{16,})\s*$", re.IGNORECASE
)


class Outcome(NamedTuple):
    """What became of one message. `error` is free of personal data: never the server's own words.

    `stop` is set when no other message can succeed either.
    """

    status: OutcomeStatus
    reason: RejectReason | None = None
    code: str | None = None
    provider_message_id: str | None = None
    error: str | None = None
    stop: ProviderMisconfigured | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One reply, its lines joined. `code` 0 is none that SMTP knows."""

    code: int
    enhanced: str | None
    lines: tuple[str, ...]

    @classmethod
    def parse(cls, lines: list[bytes]) -> Self:
        """From its lines as they came; codes from the last."""
        texts = tuple(line.decode("utf-8", "replace").rstrip() for line in lines)
        last = texts[-1]
        is_reply = re.fullmatch(r"[2-5]\d\d(?: .*)?", last, re.DOTALL) is not None
        found = _ENHANCED.match(last, 4)
        # A class that contradicts the plain code is nobody's enhanced code (RFC 2034 4).
        enhanced = found[0] if found and is_reply and found[1] == last[0] else None
        return cls(
            code=int(last[:3]) if is_reply else 0, enhanced=enhanced, lines=tuple(t[4:] for t in texts)
        )


def outcome(stage: Stage, reply: Reply) -> Outcome:
    """What a reply other than the wanted one makes of its message.

    Before the message was handed over, whatever is not a clear no is surely not sent; after it, in doubt.
    """
    code = reply.enhanced or str(reply.code)
    error = f"the SMTP server answered {code} to {stage}"
    if reply.code in _LOGIN_CODES:
        return _stopped(code, error, "Check COMMS_SMTP_USER and COMMS_SMTP_PASSWORD")
    if 400 <= reply.code < 500 or reply.enhanced in _PASSING:
        return Outcome(status=OutcomeStatus.DEFERRED, code=code, error=error)
    if reply.code < 500:
        status = OutcomeStatus.UNKNOWN if stage is Stage.MESSAGE else OutcomeStatus.DEFERRED
        return Outcome(status=status, code=code, error=error)
    if reply.code == 552 and stage is Stage.RECIPIENT and reply.enhanced is None:
        # At this stage 552 is about a full mailbox (RFC 5321 4.5.3.1.10 even asks for 452).
        return Outcome(status=OutcomeStatus.DEFERRED, code=code, error=error)
    reason = _reason(reply)
    is_about_us = reason is RejectReason.CONFIGURATION or (
        stage not in {Stage.RECIPIENT, Stage.DATA, Stage.MESSAGE} and reason is not RejectReason.CONTENT
    )
    if is_about_us:
        return _stopped(code, error, "Ask the server's operator which senders and clients it takes")
    return Outcome(status=OutcomeStatus.REFUSED, reason=reason, code=code, error=error)


def accepted(line: bytes, message_id: str) -> Outcome:
    """An accepted message; its id is the server's, where the reply tells it, else ours."""
    found = _QUEUE_ID.search(line)
    told = (found[1] or found[2] or found[3]).decode("utf-8", "replace") if found else message_id
    return Outcome(OutcomeStatus.ACCEPTED, None, None, told)


def _reason(reply: Reply) -> RejectReason:
    if reply.enhanced is None:
        return _PLAIN_REASONS.get(reply.code, RejectReason.OTHER)
    subject = reply.enhanced.rpartition(".")[0]
    return _REASONS.get(reply.enhanced) or _REASONS.get(subject, RejectReason.OTHER)


def _stopped(code: str, error: str, fix: str) -> Outcome:
    stop = ProviderMisconfigured("SMTP", error, fix)
    return Outcome(status=OutcomeStatus.DEFERRED, code=code, error=error, stop=stop)

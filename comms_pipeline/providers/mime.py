"""A batch's e-mails as they go over the wire: headers, MIME parts, final dot. Pure; no SMTP dialogue.

Structure and literal text are encoded once per batch; what differs is joined as columns. A text's line breaks,
however written, become CRLF: that is what mail calls a line break (RFC 5322 2.1).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

import polars as pl

from comms_pipeline.domain.content import Content, Skeleton
from comms_pipeline.domain.outcome import RejectReason
from comms_pipeline.providers import mime_text
from comms_pipeline.providers.base import Envelope, joined

END = "\r\n.\r\n"
"""What ends the data of a message (RFC 5321 4.1.1.4)."""

# Addresses that can stand in a command and in a header as they are: nothing in them ends either. Whether they are
# valid was asked at import.
_ADDRESS = r"^[^\s\p{C}<>()\[\],;:\\\"@]+@[^\s\p{C}<>()\[\],;:\\\"@]+$"
# RFC 5321 4.5.3.1.
_MAX_LOCAL_PART, _MAX_ADDRESS_BYTES = 64, 254
_URL = r"^[!-;=?-~]+$"
_MAX_URL = 900
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_MAX_LINE_BYTES = 998
# In the order of RFC 2046 5.1.4: the richest last.
_KINDS = {"text": "text/plain", "html": "text/html"}


@dataclass(frozen=True, kw_only=True)
class Messages:
    """The messages of a batch, one per recipient and in their order.

    `data` (String) is what follows DATA, final dot and all. `is_8bit` tells whether the server must take 8BITMIME.
    """

    data: pl.Series
    is_8bit: bool


@dataclass(frozen=True, kw_only=True)
class _Part:
    kind: str
    encoding: str
    pieces: list[pl.Expr]

    @property
    def headers(self) -> str:
        return (
            f"Content-Type: {self.kind}; charset=utf-8\r\nContent-Transfer-Encoding: {self.encoding}\r\n\r\n"
        )


def content_fault(content: Content) -> RejectReason | None:
    """Why nothing of this content can go as an e-mail; `None` when it can."""
    addresses = pl.DataFrame({"address": [content.sender, content.reply_to or content.sender]})
    if not addresses.select(_is_address(pl.col("address")).all()).item() or _CONTROLS.search(
        content.sender_name
    ):
        return RejectReason.CONFIGURATION
    literals = [piece for part in content.parts.values() for piece in part if isinstance(piece, str)]
    return RejectReason.CONTENT if any("\0" in literal for literal in literals) else None


def faults(envelope: Envelope) -> pl.Series:
    """Why a message cannot go as an e-mail: a `RejectReason` for each recipient, null where it can.

    Line breaks and NUL in an address, subject or link would become commands or headers of somebody else's making.
    """
    content, recipients = envelope.content, envelope.recipients
    slots = {piece for part in content.parts.values() for piece in part if isinstance(piece, int)}
    subject = joined(content.parts.get("subject", ()), recipients)
    has_faulty_text = [
        pl.lit(subject).str.contains("[\r\n\0]"),
        *(pl.col(f"s{slot}").str.contains("\0", literal=True) for slot in slots),
    ]
    if content.has_one_click:
        url = pl.col("unsubscribe_url").str
        has_faulty_text.append(~url.contains(_URL) | (url.len_bytes() > _MAX_URL))
    return recipients.select(
        pl.when(~_is_address(pl.col("address")))
        .then(pl.lit(str(RejectReason.INVALID)))
        .when(pl.any_horizontal(has_faulty_text))
        .then(pl.lit(str(RejectReason.CONTENT)))
        .alias("reason")
    )["reason"]


def _is_address(address: pl.Expr) -> pl.Expr:
    return (
        address.str.contains(_ADDRESS)
        & (address.str.find("@", literal=True) <= _MAX_LOCAL_PART)
        & (address.str.len_bytes() <= _MAX_ADDRESS_BYTES)
    )


def messages(envelope: Envelope, *, takes_8bit: bool, sent_at: datetime, nonce: str) -> Messages:
    """The messages of an envelope without faults. `takes_8bit`: the server offers 8BITMIME.

    `nonce` must be unpredictable, so that nobody's text can hold the boundary between parts.
    """
    content, recipients = envelope.content, envelope.recipients
    skeletons = {kind: content.parts.get(part, ()) for part, kind in _KINDS.items()}
    slots = {piece for skeleton in skeletons.values() for piece in skeleton if isinstance(piece, int)}
    facts = mime_text.slot_facts(recipients, slots)
    parts = [
        _part(kind, skeleton, recipients, facts, takes_8bit=takes_8bit)
        for kind, skeleton in skeletons.items()
        if skeleton
    ] or [_part("text/plain", (), recipients, facts, takes_8bit=takes_8bit)]
    pieces = [*_headers(envelope, sent_at), *_body(parts, boundary=f"=_{nonce}")]
    return Messages(
        data=recipients.select(data=pl.concat_str(pieces))["data"],
        is_8bit=any(part.encoding == "8bit" for part in parts),
    )


def message_id_header(envelope: Envelope) -> pl.Expr:
    """The Message-ID of each recipient's message, without its angle brackets."""
    return pl.concat_str(pl.col("message_id"), pl.lit("@" + envelope.content.sender.rpartition("@")[2]))


def _headers(envelope: Envelope, sent_at: datetime) -> list[pl.Expr]:
    """The header lines up to the body's own, the last one ended."""
    content = envelope.content
    name = f"{mime_text.phrase(content.sender_name)} " if content.sender_name else ""
    subject = joined(content.parts.get("subject", ()), envelope.recipients)
    shared = {
        "From": f"{name}<{content.sender}>",
        "Reply-To": f"<{content.reply_to}>" if content.reply_to else "",
        "Date": format_datetime(sent_at),
        "Feedback-ID": f"{content.campaign_id}:{envelope.organisation_id}:comms",
        "MIME-Version": "1.0",
    }
    lines = "".join(f"{header}: {value}\r\n" for header, value in shared.items() if value)
    pieces = [
        pl.lit(f"{lines}To: <"),
        pl.col("address"),
        pl.lit(">\r\nSubject: "),
        pl.lit(mime_text.header_column(subject)),
        pl.lit("\r\nMessage-ID: <"),
        message_id_header(envelope),
        pl.lit(">\r\nX-Comms-Message: "),
        pl.col("message_id"),
    ]
    if content.has_one_click:
        # RFC 8058; never folded or encoded: mailbox providers read it with plain regular expressions.
        pieces += [
            pl.lit("\r\nList-Unsubscribe: <"),
            pl.col("unsubscribe_url"),
            pl.lit(">\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click"),
        ]
    return [*pieces, pl.lit("\r\n")]


def _body(parts: list[_Part], *, boundary: str) -> list[pl.Expr]:
    """The last headers, the parts, and the end of the data."""
    if len(parts) == 1:
        # The data's own end is a line break: one the text has already is not doubled.
        text = pl.concat_str(parts[0].pieces).str.strip_suffix("\r\n")
        return [pl.lit(parts[0].headers), text, pl.lit(END)]
    pieces = [pl.lit(f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n')]
    for part in parts:
        pieces += [pl.lit(f"\r\n--{boundary}\r\n{part.headers}"), *part.pieces]
    return [*pieces, pl.lit(f"\r\n--{boundary}--{END}")]


def _part(
    kind: str,
    skeleton: Skeleton,
    recipients: pl.DataFrame,
    facts: Mapping[int, mime_text.Facts],
    *,
    takes_8bit: bool,
) -> _Part:
    """One body, dots doubled: as it is where the server and the length of its lines allow, else quoted-printable."""
    skeleton = mime_text.merged(skeleton)
    columns = {slot: pl.col(f"s{slot}") for slot in facts}
    if mime_text.needs_joining(skeleton, facts):
        whole = joined(skeleton, recipients).alias("s0")
        skeleton, columns = (0,), {0: pl.lit(whole)}
        facts = mime_text.slot_facts(whole.to_frame(), [0])
    is_ascii = all(facts[piece].is_ascii if isinstance(piece, int) else piece.isascii() for piece in skeleton)
    if (is_ascii or takes_8bit) and mime_text.longest_line(skeleton, facts) <= _MAX_LINE_BYTES:
        pieces = [
            mime_text.stuffed_slot(columns[piece], facts[piece], is_first=position == 0)
            if isinstance(piece, int)
            else pl.lit(mime_text.stuffed(mime_text.with_crlf(piece), is_first=position == 0))
            for position, piece in enumerate(skeleton)
        ]
        return _Part(kind=kind, encoding="7bit" if is_ascii else "8bit", pieces=pieces or [pl.lit("")])
    slots = {piece for piece in skeleton if isinstance(piece, int)}
    values = recipients.select(columns[slot].alias(f"s{slot}") for slot in slots)
    encoded = {slot: pl.lit(mime_text.quoted_printable_column(values[f"s{slot}"])) for slot in slots}
    pieces = [
        encoded[piece] if isinstance(piece, int) else pl.lit(mime_text.quoted_printable(piece))
        for piece in skeleton
    ]
    return _Part(kind=kind, encoding="quoted-printable", pieces=pieces)

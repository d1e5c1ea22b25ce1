"""SMTP, outgoing: a batch's e-mails over pipelined sessions of one server. Bounces that arrive later live elsewhere."""

import asyncio
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import polars as pl

from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.providers import mime
from comms_pipeline.providers.base import RESULTS, Envelope, Found, Limits, SendReport, same_result
from comms_pipeline.providers.http import REQUEST_TIMEOUT_SECONDS
from comms_pipeline.providers.smtp_connection import Connection, Offers
from comms_pipeline.providers.smtp_jobs import Order
from comms_pipeline.providers.smtp_opening import Account, NotOpened, open_connection
from comms_pipeline.providers.smtp_pool import Pool
from comms_pipeline.providers.smtp_replies import Outcome
from comms_pipeline.settings import SmtpSecurity

TOO_BIG = "5.3.4"
NEEDS_UTF8 = "5.6.7"
"""The codes (RFC 3463, RFC 6531) a server would answer with; we know before asking."""


class Smtp:
    """One SMTP server and the account on it. The envelope sender is the content's: bounces go to it."""

    name = "smtp"
    channel = Channel.EMAIL
    # SMTP keeps no record to ask: what a crash leaves in doubt stays so, hence not more of it than speed needs.
    limits = Limits(batch_size=500, concurrency=2)

    def __init__(
        self, account: Account, *, connections: int, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS
    ) -> None:
        self._account = account
        self._connections = connections
        self._timeout_seconds = timeout_seconds

    async def __aenter__(self) -> Self:
        account = self._account
        if account.security is not SmtpSecurity.NONE and account.tls_context is None:
            account = replace(account, tls_context=ssl.create_default_context())

        async def opened(pool: Pool) -> Connection:
            return await open_connection(account, pool, timeout_seconds=self._timeout_seconds)

        self._pool = Pool(opened, size=self._connections)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def send(self, envelope: Envelope) -> SendReport:
        """Each message once, over as many sessions as there are. After a configuration error the rest is not tried."""
        fault = mime.content_fault(envelope.content)
        if fault is not None:
            refused = same_result(envelope.recipients, OutcomeStatus.REFUSED, reason=fault)
            return SendReport(results=refused, error="the content cannot be an e-mail")
        try:
            offers = await self._pool.offers()
        except NotOpened as failure:
            deferred = same_result(envelope.recipients, OutcomeStatus.DEFERRED, code=failure.code)
            return SendReport(results=deferred, error=failure.error, stop=failure.stop)
        # Polars works outside the interpreter's lock: sessions go on with another batch meanwhile.
        prepared = await asyncio.to_thread(
            prepare, envelope, offers, sent_at=datetime.now(UTC), nonce=secrets.token_hex(12)
        )
        going, wait_seconds = await _in_turn(envelope, len(prepared.messages))
        order = Order(prepared.messages[:going])
        if going:
            self._pool.submit(order, offers)
            try:
                await order.done
            except asyncio.CancelledError:
                self._pool.forget(order)
                raise
        told = [outcome for outcome in order.outcomes if outcome is not None]
        told += [Outcome(status=OutcomeStatus.DEFERRED)] * (len(prepared.messages) - going)
        return replace(_report(prepared, told), retry_after_seconds=wait_seconds)

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> Found | None:  # noqa: ARG002
        """Nothing: SMTP has no record to ask."""
        return None


async def _in_turn(envelope: Envelope, messages: int) -> tuple[int, float | None]:
    """How many of the messages may go now, and how long the others have to wait."""
    for going in range(messages):
        if wait_seconds := await envelope.pace():
            return going, wait_seconds
    return messages, None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A batch written out: `refused` (results) and, for all others in order, our id, commands and data."""

    refused: pl.DataFrame
    messages: Sequence[tuple[str, bytes, bytes]]


def prepare(envelope: Envelope, offers: Offers, *, sent_at: datetime, nonce: str) -> Prepared:
    """Write a batch out for a server with these offers. What it cannot take is refused here."""
    sender = envelope.content.sender
    checked = envelope.recipients.with_columns(
        reason=mime.faults(envelope),
        code=pl.lit(None, pl.String),
        is_utf8=_is_utf8(pl.col("address"), sender),
    )
    if not offers.has_utf8:
        lacks_utf8 = pl.col("reason").is_null() & pl.col("is_utf8")
        checked = _refuse(checked, lacks_utf8, RejectReason.OTHER, NEEDS_UTF8)
    fit = checked.filter(pl.col("reason").is_null())
    if fit.height:
        built = mime.messages(
            replace(envelope, recipients=fit), takes_8bit=offers.has_8bit, sent_at=sent_at, nonce=nonce
        )
        fit = fit.select("message_id", "address", "is_utf8", data=built.data).with_columns(
            size=pl.col("data").str.len_bytes()
        )
        if offers.max_bytes is not None:
            too_big = fit.filter(pl.col("size") > offers.max_bytes)["message_id"]
            checked = _refuse(
                checked, pl.col("message_id").is_in(too_big.implode()), RejectReason.CONTENT, TOO_BIG
            )
            fit = fit.filter(pl.col("size") <= offers.max_bytes)
        messages = _messages(fit, sender, offers, is_8bit=built.is_8bit)
    else:
        messages = []
    refused = checked.filter(pl.col("reason").is_not_null()).select(
        "message_id",
        "reason",
        "code",
        status=pl.lit(str(OutcomeStatus.REFUSED)),
        provider_message_id=pl.lit(None, pl.String),
    )
    return Prepared(refused=refused.select(RESULTS.names()), messages=messages)


def _is_utf8(address: pl.Expr, sender: str) -> pl.Expr:
    return (address.str.len_bytes() != address.str.len_chars()) | pl.lit(not sender.isascii())


def _refuse(checked: pl.DataFrame, which: pl.Expr, reason: RejectReason, code: str) -> pl.DataFrame:
    return checked.with_columns(
        reason=pl.when(which).then(pl.lit(str(reason))).otherwise("reason"),
        code=pl.when(which).then(pl.lit(code)).otherwise("code"),
    )


def _messages(
    fit: pl.DataFrame, sender: str, offers: Offers, *, is_8bit: bool
) -> list[tuple[str, bytes, bytes]]:
    """Our id, commands and data of each row."""
    is_utf8 = pl.col("is_utf8")
    parameters = [
        # An address beyond ASCII stands in the headers as it is (RFC 6531 3.2, 3.6).
        pl.when(is_utf8 | pl.lit(is_8bit)).then(pl.lit(" BODY=8BITMIME")).otherwise(pl.lit("")),
        pl.when(is_utf8).then(pl.lit(" SMTPUTF8")).otherwise(pl.lit("")),
        pl.concat_str(pl.lit(" SIZE="), pl.col("size").cast(pl.String)) if offers.has_size else pl.lit(""),
    ]
    commands = pl.concat_str(
        pl.lit(f"MAIL FROM:<{sender}>"),
        *parameters,
        pl.lit("\r\nRCPT TO:<"),
        pl.col("address"),
        pl.lit(">\r\nDATA\r\n"),
    )
    written = fit.select(
        pl.col("message_id"), commands.cast(pl.Binary).alias("commands"), pl.col("data").cast(pl.Binary)
    )
    return list(
        zip(
            written["message_id"].to_list(),
            written["commands"].to_list(),
            written["data"].to_list(),
            strict=True,
        )
    )


def _report(prepared: Prepared, told: Sequence[Outcome]) -> SendReport:
    sent = pl.DataFrame(
        {
            "message_id": [message[0] for message in prepared.messages],
            "status": [str(outcome.status) for outcome in told],
            "reason": [str(outcome.reason) if outcome.reason else None for outcome in told],
            "code": [outcome.code for outcome in told],
            "provider_message_id": [outcome.provider_message_id for outcome in told],
        },
        schema=RESULTS,
    )
    return SendReport(
        results=pl.concat([sent, prepared.refused]),
        error=next((outcome.error for outcome in told if outcome.error), None),
        stop=next((outcome.stop for outcome in told if outcome.stop), None),
    )

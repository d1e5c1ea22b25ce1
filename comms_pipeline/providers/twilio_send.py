"""Twilio SMS, outgoing: one request per message over pooled connections, and reconciliation by listing."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import aiohttp
import orjson
import polars as pl

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.providers import http
from comms_pipeline.providers.base import RESULTS, Envelope, Found, Limits, SendReport, joined
from comms_pipeline.providers.twilio_codes import MEANINGS, Action

_IN_DOUBT = {502, 504}
_ACTIONS = {
    401: Action.CONFIGURATION,
    403: Action.CONFIGURATION,
    404: Action.CONFIGURATION,
    405: Action.CONFIGURATION,
    408: Action.TRANSIENT,
    429: Action.TRANSIENT,
}
"""What a status asks for where Twilio's code does not say."""
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one message. `error` is free of personal data."""

    status: OutcomeStatus
    reason: RejectReason | None = None
    code: str | None = None
    provider_message_id: str | None = None
    error: str | None = None
    retry_after_seconds: float | None = None
    is_misconfigured: bool = False


class TwilioSms:
    """One Twilio account, SMS. `sender` is a number (E.164) or a Messaging Service SID (MG…)."""

    name = "twilio"
    channel = Channel.SMS
    # One request per message: small batches keep what a crash leaves in doubt small.
    limits = Limits(batch_size=100, concurrency=2)

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        base_url: str,
        sender: str,
        callback_url: str,
        connections: int = 16,
        timeout_seconds: float = http.REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        self._account_sid = account_sid
        self._auth_token = auth_token
        self._messages_url = f"{base_url}/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._base_url = base_url
        self._sender = sender
        self._callback_url = callback_url
        self._connections = connections
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = http.open_session(
            connections=self._connections,
            timeout_seconds=self._timeout_seconds,
            headers={"Authorization": aiohttp.encode_basic_auth(self._account_sid, self._auth_token)},
        )
        self._slots = asyncio.Semaphore(self._connections)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def send(self, envelope: Envelope) -> SendReport:
        """One request per message, `connections` at a time. After a configuration error the rest is not tried."""
        texts = joined(envelope.content.parts["text"], envelope.recipients).to_list()
        rows = zip(
            envelope.recipients["message_id"].to_list(),
            envelope.recipients["address"].to_list(),
            texts,
            strict=True,
        )
        is_stopped = asyncio.Event()
        sender = envelope.content.sender or self._sender
        results = await asyncio.gather(
            *(self._send_one(envelope, sender, message, to, text, is_stopped) for message, to, text in rows)
        )
        return _report(envelope, results)

    async def _send_one(
        self, envelope: Envelope, sender: str, message_id: str, to: str, text: str, is_stopped: asyncio.Event
    ) -> Result:
        assert self._session is not None, "use `async with`"
        async with self._slots:
            if is_stopped.is_set():
                return Result(status=OutcomeStatus.DEFERRED)
            query = urlencode({"message": message_id, "org": envelope.organisation_id})
            form = {
                "To": to,
                "MessagingServiceSid" if _SERVICE.fullmatch(sender) else "From": sender,
                "Body": text,
                "StatusCallback": f"{self._callback_url}?{query}",
            }
            told = result(await http.post(self._session, self._messages_url, data=form))
            if told.is_misconfigured:
                is_stopped.set()
            return told

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> Found | None:
        """List what went to each address in the window and compare the text, one address at a time.

        Twilio's list does not name our ids. Where two messages in doubt are alike in address and text, each
        listed one vouches for one of them.
        """
        texts = joined(envelope.content.parts["text"], envelope.recipients).to_list()
        rows = zip(
            envelope.recipients["message_id"].to_list(),
            envelope.recipients["address"].to_list(),
            texts,
            strict=True,
        )
        accepted: dict[str, str] = {}
        for message_id, to, text in rows:
            sids = await self._sent_to(to, text, since, until)
            if sids is None:
                return None
            sid = next((sid for sid in sids if sid not in accepted.values()), None)
            if sid:
                accepted[message_id] = sid
        return Found(accepted=accepted)

    async def _sent_to(self, to: str, text: str, since: datetime, until: datetime) -> list[str] | None:
        """SIDs of messages to `to` with this very text in the window; `None` when Twilio does not say."""
        assert self._session is not None, "use `async with`"
        params = {
            "To": to,
            "DateSent>": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "DateSent<": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "PageSize": "1000",
        }
        url: str | None = self._messages_url
        sids: list[str] = []
        query: dict[str, str] | None = params
        while url:
            reply = await http.get(self._session, url, params=query)
            if reply is None or reply.status != 200:
                return None
            page = _json(reply.body)
            messages = page.get("messages")
            if not isinstance(messages, list):
                return None
            sids += [m["sid"] for m in messages if m["body"] == text]
            next_page = page.get("next_page_uri")
            url, query = (f"{self._base_url}{next_page}" if next_page else None), None
        return sids


def result(reply: http.Reply) -> Result:
    """Translate Twilio's answer to one message: its error code first, the HTTP status where there is none."""
    if isinstance(reply, http.NotSent):
        return Result(status=OutcomeStatus.DEFERRED, error=reply.error)
    if isinstance(reply, http.NoAnswer):
        return Result(status=OutcomeStatus.UNKNOWN, error=reply.error)
    body = _json(reply.body)
    if reply.status == 201 and "sid" in body:
        return Result(status=OutcomeStatus.ACCEPTED, provider_message_id=str(body["sid"]))
    if reply.status in _IN_DOUBT or reply.status < 400:
        return Result(
            status=OutcomeStatus.UNKNOWN, code=str(reply.status), error=f"Twilio answered {reply.status}"
        )
    number = body.get("code")
    code = str(number or reply.status)
    error = f"Twilio answered {code}"
    meaning = MEANINGS.get(number) if isinstance(number, int) else None
    retry_after = reply.headers.get("Retry-After", "")
    action = meaning.action if meaning else _ACTIONS.get(reply.status)
    if action is Action.CONFIGURATION:
        return Result(status=OutcomeStatus.DEFERRED, code=code, error=error, is_misconfigured=True)
    if action in {Action.TRANSIENT, Action.NEXT_WINDOW} or reply.status >= 500:
        seconds = float(retry_after) if retry_after.isdigit() else None
        return Result(status=OutcomeStatus.DEFERRED, code=code, error=error, retry_after_seconds=seconds)
    reason = meaning.reason if meaning else RejectReason.OTHER
    return Result(status=OutcomeStatus.REFUSED, reason=reason, code=code)


def _json(body: bytes) -> dict[str, object]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _report(envelope: Envelope, results: Sequence[Result]) -> SendReport:
    frame = pl.DataFrame(
        {
            "message_id": envelope.recipients["message_id"],
            "status": [str(r.status) for r in results],
            "reason": [str(r.reason) if r.reason else None for r in results],
            "code": [r.code for r in results],
            "provider_message_id": [r.provider_message_id for r in results],
        },
        schema=RESULTS,
    )
    faulty = next((r for r in results if r.is_misconfigured), None)
    stop = (
        ProviderMisconfigured(
            "Twilio",
            f"it refused our configuration (code {faulty.code})",
            "Look the code up in Twilio's error dictionary; check COMMS_TWILIO_*",
        )
        if faulty
        else None
    )
    return SendReport(
        results=frame,
        retry_after_seconds=max(
            (r.retry_after_seconds for r in results if r.retry_after_seconds), default=None
        ),
        error=next((r.error for r in results if r.error), None),
        stop=stop,
    )

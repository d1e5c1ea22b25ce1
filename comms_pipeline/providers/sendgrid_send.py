"""SendGrid, outgoing: bulk `mail/send` and reconciliation through the Email Logs API. Webhooks live elsewhere."""

import re
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
import polars as pl

from comms_pipeline.domain.content import Content, Skeleton
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.providers import http
from comms_pipeline.providers.base import Envelope, Found, Limits, SendReport, same_result

_CULPRIT = re.compile(r"^personalizations\.(\d+)\b")
# A gateway's 502 and 504 say nothing of what happened behind it.
_IN_DOUBT = {502, 504}
_MISCONFIGURED = {401, 403}
_LOGS_LIMIT = 1000


class SendGrid:
    """One SendGrid account. Skeletons go once per request, slots as substitutions."""

    name = "sendgrid"
    channel = Channel.EMAIL
    # Sources: v3 OpenAPI document, ≤1,000 personalizations and ≤10,000 bytes of substitutions each.
    limits = Limits(batch_size=1000, concurrency=8, slot_bytes=10_000)

    def __init__(self, *, api_key: str, base_url: str, timeout_seconds: float = 30) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = http.open_session(
            connections=self.limits.concurrency,
            timeout_seconds=self._timeout_seconds,
            headers={"Authorization": f"Bearer {self._api_key}"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def send(self, envelope: Envelope) -> SendReport:
        """One request for the whole envelope."""
        assert self._session is not None, "use `async with`"
        reply = await http.post(
            self._session,
            f"{self._base_url}/v3/mail/send",
            data=request_body(envelope),
            content_type="application/json",
        )
        return report(envelope, reply)

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> Found | None:
        """Ask the Email Logs API for the batch's category within the window."""
        assert self._session is not None, "use `async with`"
        window = " AND ".join(
            f'sg_message_id_created_at {sign} TIMESTAMP "{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"'
            for sign, at in ((">=", since), ("<=", until))
        )
        query = {"query": f"categories = '{envelope.category}' AND {window}", "limit": _LOGS_LIMIT}
        reply = await http.post(
            self._session,
            f"{self._base_url}/v3/logs",
            data=orjson.dumps(query),
            content_type="application/json",
        )
        if not isinstance(reply, http.Answer) or reply.status != 200:
            return None
        messages = orjson.loads(reply.body).get("messages", [])
        if len(messages) == _LOGS_LIMIT and envelope.recipients.height > _LOGS_LIMIT:
            return None
        # Addresses are unique within a batch, and the list names them but not our ids.
        ids = {m["to_email"].lower(): _request_id(m["sg_message_id"]) for m in messages}
        rows = envelope.recipients.select("message_id", pl.col("address").str.to_lowercase())
        return Found(
            accepted={message: ids[address] for message, address in rows.iter_rows() if address in ids}
        )


def _request_id(sg_message_id: str) -> str:
    # sg_message_id is the request's X-Message-Id, a dot, and the recipient's part.
    return sg_message_id.split(".", 1)[0]


def request_body(envelope: Envelope) -> bytes:
    """The JSON of `POST /v3/mail/send` for an envelope.

    Slot tags carry a nonce that no value and no literal contains: recipients' data can never be taken for a tag.
    """
    content = envelope.content
    slots = [name for name in envelope.recipients.columns if re.fullmatch(r"s\d+", name)]
    nonce = _nonce(content, envelope.recipients, slots)
    tags = {name: f"-{name}{nonce}-" for name in slots}
    columns = [envelope.recipients[name].to_list() for name in slots]
    tag_list = list(tags.values())
    body: dict[str, Any] = {
        "personalizations": [
            {
                "to": [{"email": address}],
                "custom_args": {"comms_message": message_id, "comms_org": envelope.organisation_id},
            }
            for address, message_id in zip(
                envelope.recipients["address"].to_list(),
                envelope.recipients["message_id"].to_list(),
                strict=True,
            )
        ],
        "from": {"email": content.sender, "name": content.sender_name},
        "subject": _tagged(content.parts["subject"], tags),
        # RFC 1341 order, which the API insists on: plain text before HTML.
        "content": [
            {"type": kind, "value": _tagged(content.parts[part], tags)}
            for part, kind in (("text", "text/plain"), ("html", "text/html"))
            if part in content.parts
        ],
        "categories": [content.campaign_id, envelope.category],
        # Our own links are signed and tracked by us; SendGrid must not rewrite them.
        "tracking_settings": {"subscription_tracking": {"enable": False}},
    }
    if content.reply_to:
        body["reply_to"] = {"email": content.reply_to}
    if slots:
        for personalization, values in zip(body["personalizations"], zip(*columns, strict=True), strict=True):
            personalization["substitutions"] = dict(zip(tag_list, values, strict=True))
    if content.has_one_click:
        urls = envelope.recipients["unsubscribe_url"].to_list()
        for personalization, url in zip(body["personalizations"], urls, strict=True):
            personalization["headers"] = {
                "List-Unsubscribe": f"<{url}>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            }
    return orjson.dumps(body)


def _tagged(skeleton: Skeleton, tags: dict[str, str]) -> str:
    return "".join(tags[f"s{piece}"] if isinstance(piece, int) else piece for piece in skeleton)


def _nonce(content: Content, recipients: pl.DataFrame, slots: list[str]) -> str:
    literals = [piece for skeleton in content.parts.values() for piece in skeleton if isinstance(piece, str)]
    for number in range(1_000_000):
        nonce = f".{content.content_id[:6]}{number or ''}-"
        is_in_data = recipients.select(
            pl.any_horizontal(
                pl.lit(False), *(pl.col(name).str.contains(nonce, literal=True).any() for name in slots)
            )
        ).item(0, 0)
        if not is_in_data and not any(nonce in literal for literal in literals):
            return nonce.removesuffix("-")
    raise AssertionError("a million nonces cannot all occur in one batch")


def report(envelope: Envelope, reply: http.Reply) -> SendReport:
    """Translate SendGrid's answer into outcomes, all messages of the request alike or one singled out."""
    recipients = envelope.recipients
    if isinstance(reply, http.NotSent):
        return SendReport(results=same_result(recipients, OutcomeStatus.DEFERRED), error=reply.error)
    if isinstance(reply, http.NoAnswer):
        return SendReport(results=same_result(recipients, OutcomeStatus.UNKNOWN), error=reply.error)
    code = str(reply.status)
    if reply.status == 202:
        accepted = same_result(
            recipients, OutcomeStatus.ACCEPTED, provider_message_id=reply.headers.get("X-Message-Id")
        )
        return SendReport(results=accepted)
    error = f"SendGrid answered {code}"
    if reply.status in _IN_DOUBT or 200 <= reply.status < 300:
        return SendReport(results=same_result(recipients, OutcomeStatus.UNKNOWN, code=code), error=error)
    if reply.status in _MISCONFIGURED:
        stop = ProviderMisconfigured(
            "SendGrid",
            f"it refused the API key ({code})",
            "Check COMMS_SENDGRID_API_KEY and its Mail Send permission",
        )
        deferred = same_result(recipients, OutcomeStatus.DEFERRED, code=code)
        return SendReport(results=deferred, error=error, stop=stop)
    if reply.status == 429 or reply.status >= 500:
        return SendReport(
            results=same_result(recipients, OutcomeStatus.DEFERRED, code=code),
            retry_after_seconds=_retry_after(reply),
            error=error,
        )
    culprits = _culprits(reply)
    if not culprits:
        refused = same_result(recipients, OutcomeStatus.REFUSED, reason=RejectReason.CONTENT, code=code)
        return SendReport(results=refused, error=error)
    at_fault = pl.int_range(recipients.height, eager=True).is_in(pl.Series(sorted(culprits)).implode())
    refused = same_result(
        recipients.filter(at_fault), OutcomeStatus.REFUSED, reason=RejectReason.INVALID, code=code
    )
    again = same_result(recipients.filter(~at_fault), OutcomeStatus.DEFERRED, code=code)
    # The others were refused only for the company they were in: they may go again at once.
    return SendReport(results=pl.concat([refused, again]), retry_after_seconds=0.0, error=error)


def _retry_after(reply: http.Answer) -> float | None:
    if "Retry-After" in reply.headers:
        text = reply.headers["Retry-After"]
        return float(text) if text.isdigit() else None
    reset = reply.headers.get("X-RateLimit-Reset", "")
    if reply.status == 429 and reset.isdigit():
        return max(1.0, float(reset) - datetime.now(UTC).timestamp())
    return None


def _culprits(reply: http.Answer) -> set[int]:
    """Positions of the recipients a 4xx names; empty when it (also) finds fault with what all share."""
    try:
        errors = orjson.loads(reply.body).get("errors", [])
    except (orjson.JSONDecodeError, AttributeError):
        return set()
    fields = [_CULPRIT.match(str(e.get("field") or "")) for e in errors if isinstance(e, dict)]
    return {int(match[1]) for match in fields if match} if all(fields) else set()

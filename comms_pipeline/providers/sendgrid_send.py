"""SendGrid, outgoing: bulk `mail/send` and reconciliation through the Email Logs API. Webhooks live elsewhere."""

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import orjson
import polars as pl

from comms_pipeline.domain.content import Skeleton
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.providers import http
from comms_pipeline.providers.base import Envelope, Found, Limits, SendReport, same_result
from comms_pipeline.providers.http_account import HttpAccount, bearer

_CULPRIT = re.compile(r"^personalizations\.(\d+)(?:\.(\w+))?")
# A gateway's 502 and 504 say nothing of what happened behind it.
_IN_DOUBT = {502, 504}
_PASSING = {408, 429}
# A wrong address of the API is answered with 404 or 405: no message is to blame.
_MISCONFIGURED = {401, 403, 404, 405}
_LOGS_LIMIT = 1000


class SendGrid(HttpAccount):
    """One SendGrid account. Skeletons go once per request, slots as substitutions."""

    name = "sendgrid"
    channel = Channel.EMAIL
    # Source: v3 OpenAPI document, ≤1,000 personalizations and ≤10,000 bytes of substitutions each.
    limits = Limits(batch_size=1000, concurrency=8, slot_bytes=9_500)

    def __init__(
        self, *, api_key: str, base_url: str, timeout_seconds: float = http.REQUEST_TIMEOUT_SECONDS
    ) -> None:
        super().__init__(
            authorization=bearer(api_key),
            connections=self.limits.concurrency,
            timeout_seconds=timeout_seconds,
        )
        self._base_url = base_url

    async def send(self, envelope: Envelope) -> SendReport:
        """One request for the whole envelope."""
        if wait_seconds := await envelope.pace():
            deferred = same_result(envelope.recipients, OutcomeStatus.DEFERRED)
            return SendReport(results=deferred, retry_after_seconds=wait_seconds)
        reply = await http.post(
            self._session,
            f"{self._base_url}/v3/mail/send",
            data=request_body(envelope, nonce=secrets.token_hex(6)),
            content_type="application/json",
        )
        return report(envelope, reply)

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> Found | None:
        """Ask the Email Logs API for the batch's category within the window.

        A request is accepted as a whole or not at all: one of its messages in the log vouches for the others,
        which may not be listed yet.
        """
        window = " AND ".join(
            f'sg_message_id_created_at {sign} TIMESTAMP "{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"'
            for sign, at in ((">=", since), ("<=", until))
        )
        query = {"query": f"categories IN ('{envelope.category}') AND {window}", "limit": _LOGS_LIMIT}
        reply = await http.post(
            self._session,
            f"{self._base_url}/v3/logs",
            data=orjson.dumps(query),
            content_type="application/json",
        )
        if not isinstance(reply, http.Answer) or reply.status != 200:
            return None
        logged = _logged(reply.body)
        if logged is None:
            return None
        # Another installation on the same account may have a batch of this number, not to the same people.
        ours = set(envelope.recipients["address"].str.to_lowercase())
        request_ids = {request_id for address, request_id in logged if address in ours}
        if not request_ids:
            return Found()
        return Found(accepted=dict.fromkeys(envelope.recipients["message_id"], min(request_ids)))


def _logged(body: bytes) -> list[tuple[str, str]] | None:
    """Address and X-Message-Id of each message in an answer of the Email Logs API; `None` if it is no such answer."""
    try:
        messages = orjson.loads(body)["messages"]
        # sg_message_id is the request's X-Message-Id, a dot, and the recipient's part.
        return [(m["to_email"].lower(), m["sg_message_id"].split(".", 1)[0]) for m in messages]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None


def request_body(envelope: Envelope, *, nonce: str) -> bytes:
    """The JSON of `POST /v3/mail/send` for an envelope.

    Slot tags carry the nonce. It must be unpredictable, so that nobody's data can be taken for a tag, whatever
    stands beside it in the text.
    """
    content = envelope.content
    tags = {name: f"-{name}.{nonce}-" for name in envelope.recipients.columns if re.fullmatch(r"s\d+", name)}
    body: dict[str, Any] = {
        "personalizations": orjson.Fragment(_personalizations(envelope, tags)),
        "from": {"email": content.sender, "name": content.sender_name},
        "subject": _tagged(content.parts["subject"], tags),
        # RFC 1341 order, which the API insists on: plain text before HTML.
        "content": [
            {"type": kind, "value": text}
            for part, kind in (("text", "text/plain"), ("html", "text/html"))
            # The API refuses an empty part.
            if (text := _tagged(content.parts.get(part, ()), tags))
        ],
        "categories": [content.campaign_id, envelope.category],
        "tracking_settings": {
            # The unsubscribe link is ours.
            "subscription_tracking": {"enable": False},
            **(
                {}
                if content.is_tracked
                else {
                    "click_tracking": {"enable": False, "enable_text": False},
                    "open_tracking": {"enable": False},
                }
            ),
        },
    }
    if content.reply_to:
        body["reply_to"] = {"email": content.reply_to}
    return orjson.dumps(body)


def _personalizations(envelope: Envelope, tags: Mapping[str, str]) -> bytes:
    """The JSON array of what differs between recipients. Polars writes it: no Python object per recipient."""
    fields = [
        pl.concat_list(pl.struct(email="address")).alias("to"),
        pl.struct(comms_message="message_id", comms_org=pl.lit(envelope.organisation_id)).alias(
            "custom_args"
        ),
    ]
    if tags:
        fields.append(pl.struct(pl.col(name).alias(tag) for name, tag in tags.items()).alias("substitutions"))
    if envelope.content.has_one_click:
        link = pl.format("<{}>", "unsubscribe_url").alias("List-Unsubscribe")
        one_click = pl.lit("List-Unsubscribe=One-Click").alias("List-Unsubscribe-Post")
        fields.append(pl.struct(link, one_click).alias("headers"))
    buffer = BytesIO()
    envelope.recipients.select(fields).write_json(buffer)
    return buffer.getvalue()


def _tagged(skeleton: Skeleton, tags: Mapping[str, str]) -> str:
    return "".join(tags[f"s{piece}"] if isinstance(piece, int) else piece for piece in skeleton)


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
    if reply.status in _IN_DOUBT or reply.status < 400:
        return SendReport(results=same_result(recipients, OutcomeStatus.UNKNOWN, code=code), error=error)
    if reply.status in _MISCONFIGURED:
        stop = ProviderMisconfigured(
            "SendGrid",
            f"it refused the API key or knows no such address ({code})",
            "Check COMMS_SENDGRID_API_KEY, its Mail Send permission, and COMMS_SENDGRID_BASE_URL",
        )
        deferred = same_result(recipients, OutcomeStatus.DEFERRED, code=code)
        return SendReport(results=deferred, error=error, stop=stop)
    if reply.status in _PASSING or reply.status >= 500:
        return SendReport(
            results=same_result(recipients, OutcomeStatus.DEFERRED, code=code),
            retry_after_seconds=_retry_after(reply),
            error=error,
            is_throttled=reply.status == 429,
        )
    refused = same_result(recipients, OutcomeStatus.REFUSED, reason=RejectReason.CONTENT, code=code)
    culprits = _culprits(reply, recipients.height)
    if not culprits:
        return SendReport(results=refused, error=error)
    reasons = pl.Series([culprits.get(position) for position in range(recipients.height)], dtype=pl.String)
    deferred = same_result(recipients, OutcomeStatus.DEFERRED, code=code)
    results = pl.concat(
        [
            refused.with_columns(reason=reasons).filter(reasons.is_not_null()),
            deferred.filter(reasons.is_null()),
        ]
    )
    # The others were refused only for the company they were in: they may go again at once.
    return SendReport(results=results, retry_after_seconds=0.0, error=error)


def _retry_after(reply: http.Answer) -> float | None:
    if "Retry-After" in reply.headers:
        text = reply.headers["Retry-After"]
        return float(text) if text.isdigit() else None
    reset = reply.headers.get("X-RateLimit-Reset", "")
    if reply.status == 429 and reset.isdigit():
        return max(1.0, float(reset) - datetime.now(UTC).timestamp())
    return None


def _culprits(reply: http.Answer, recipients: int) -> dict[int, str]:
    """Positions of the recipients a 4xx names, and why; empty when it (also) finds fault with what all share."""
    try:
        fields = [str(error["field"]) for error in orjson.loads(reply.body)["errors"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    culprits: dict[int, str] = {}
    for field in fields:
        match = _CULPRIT.match(field)
        # A position we did not send would make us send the same again at once, for ever.
        if match is None or int(match[1]) >= recipients:
            return {}
        is_address = match[2] in {None, "to"}
        culprits[int(match[1])] = str(RejectReason.INVALID if is_address else RejectReason.CONTENT)
    return culprits

"""Resend, outgoing: up to 100 complete e-mails a request, and reconciliation by its list of sent e-mails.

Webhooks live elsewhere.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping, Set
from datetime import datetime, timedelta
from hashlib import sha256
from io import BytesIO
from typing import Any

import orjson
import polars as pl

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.providers import http
from comms_pipeline.providers.base import RESULTS, Envelope, Found, Limits, SendReport, joined, same_result
from comms_pipeline.providers.http_account import HttpAccount, bearer

MESSAGE_TAG = "comms_message"
"""The tag that carries our message id. Resend hands tags back in events and with each e-mail."""
# A gateway's 502 and 504 say nothing of what happened behind it.
_IN_DOUBT = {502, 504}
_PASSING = {408, 429}
# A wrong address of the API is answered with 404 or 405, an unverified domain with 403: no message is to blame.
_MISCONFIGURED = {401, 403, 404, 405}
_USED_UP = {"daily_quota_exceeded", "monthly_quota_exceeded"}
_UNDER_WAY = "concurrent_idempotent_requests"
# What Resend takes in no display name, quoted or not (django-anymail found out).
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f",:;<>@()\[\]\\]+')

_PAGE = 100
_MOST_PAGES = 500
_RECORD_LASTS = timedelta(days=1)
"""How long every plan of Resend's shows what was sent."""
_READ_ATTEMPTS = 5
_LONGEST_WAIT_SECONDS = 5.0


class Resend(HttpAccount):
    """One Resend team. Each e-mail goes complete: skeleton and slots are joined here."""

    name = "resend"
    channel = Channel.EMAIL
    # Source: OpenAPI document, 100 e-mails a batch. Teams begin with a few requests a second.
    limits = Limits(batch_size=100, concurrency=4)

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
        """One request for the whole envelope.

        Its idempotency key is the digest of its body, in which no batch has a part: whoever sends these very
        messages again within 24 hours, in whatever batch, gets the first answer and sends nothing.
        """
        if wait := await envelope.pace():
            deferred = same_result(envelope.recipients, OutcomeStatus.DEFERRED)
            return SendReport(results=deferred, retry_after_seconds=wait)
        body = request_body(envelope)
        reply = await http.post(
            self._session,
            f"{self._base_url}/emails/batch",
            data=body,
            content_type="application/json",
            # Permissive: one bad address does not keep back the other e-mails.
            headers={
                "Idempotency-Key": f"comms-{sha256(body).hexdigest()}",
                "x-batch-validation": "permissive",
            },
        )
        return report(envelope, reply)

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> Found | None:
        """Page through what was sent since `since`, and read the tags of what went to our addresses.

        The list has no filter and shows no tags, so this takes a request for each 100 e-mails of the team and
        one for each candidate. It is not conclusive (`None`) for a key that may only send, when too much was sent
        since, and, for what was not found, beyond the day that every plan keeps e-mails.
        """
        subjects = _subjects(envelope)
        candidates = await self._sent_to(subjects.keys(), envelope, since, until)
        if candidates is None:
            return None
        accepted: dict[str, str] = {}
        message_ids = set(envelope.recipients["message_id"])
        for email_id in candidates:
            email = await self._read(envelope, f"/emails/{email_id}")
            try:
                message_id = _tags(email).get(MESSAGE_TAG, "")
                is_unlike = bool(email.get("tags")) or all(
                    email.get("subject") not in subjects.get(to, ()) for to in _to(email)
                )
            except (KeyError, TypeError, AttributeError):
                return None
            if message_id in message_ids:
                accepted[message_id] = email_id
            elif not is_unlike:
                # It may be ours, shown without its tags.
                return None
        if until - since > _RECORD_LASTS and len(accepted) < len(message_ids):
            return None
        return Found(accepted=accepted)

    async def _sent_to(
        self, addresses: Set[str], envelope: Envelope, since: datetime, until: datetime
    ) -> list[str] | None:
        """Ids of e-mails to these addresses in the window; `None` when the list does not tell them all."""
        found: list[str] = []
        query = {"limit": str(_PAGE)}
        for _ in range(_MOST_PAGES):
            page = await self._read(envelope, "/emails", query)
            try:
                emails = [
                    (str(e["id"]), _to(e), datetime.fromisoformat(e["created_at"])) for e in page["data"]
                ]
                found += [
                    email_id
                    for email_id, to, created_at in emails
                    if since <= created_at <= until and addresses & to
                ]
                # Newest first.
                if not page["has_more"] or emails[-1][2] < since:
                    return found
            except (KeyError, TypeError, ValueError, IndexError):
                return None
            query["after"] = emails[-1][0]
        return None

    async def _read(self, envelope: Envelope, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON at a path, `None` when there is none. Reading may be repeated, so a short "later" is heeded."""
        for _ in range(_READ_ATTEMPTS):
            if await envelope.pace():
                return None
            reply = await http.get(self._session, f"{self._base_url}{path}", params=params)
            wait = _retry_after(reply) if reply and reply.status == 429 else None
            if wait is None or wait > _LONGEST_WAIT_SECONDS:
                return _json(reply.body) if reply and reply.status == 200 else None
            await asyncio.sleep(wait)
        return None


def request_body(envelope: Envelope) -> bytes:
    """The JSON of `POST /emails/batch`: the same bytes for the same messages, whatever their batch."""
    content, recipients = envelope.content, envelope.recipients
    tags = {
        MESSAGE_TAG: pl.col("message_id"),
        "comms_org": pl.lit(envelope.organisation_id),
        "comms_campaign": pl.lit(content.campaign_id),
    }
    fields = [
        pl.lit(_sender(content.sender_name, content.sender)).alias("from"),
        pl.concat_list("address").alias("to"),
        *(joined(content.parts[part], recipients).alias(part) for part in _parts(envelope)),
        pl.concat_list(pl.struct(name=pl.lit(name), value=value) for name, value in tags.items()).alias(
            "tags"
        ),
    ]
    if content.reply_to:
        fields.append(pl.lit(content.reply_to).alias("reply_to"))
    if content.has_one_click:
        link = pl.format("<{}>", "unsubscribe_url").alias("List-Unsubscribe")
        one_click = pl.lit("List-Unsubscribe=One-Click").alias("List-Unsubscribe-Post")
        fields.append(pl.struct(link, one_click).alias("headers"))
    buffer = BytesIO()
    recipients.select(fields).write_json(buffer)
    return buffer.getvalue()


def _parts(envelope: Envelope) -> list[str]:
    return [part for part in ("subject", "text", "html") if envelope.content.parts.get(part)]


def _sender(name: str, address: str) -> str:
    """The From field. Names lose what Resend refuses in them, for it knows no way of quoting it."""
    plain = " ".join(_NOT_IN_NAMES.sub(" ", name).split())
    return f"{plain} <{address}>" if plain else address


def report(envelope: Envelope, reply: http.Reply) -> SendReport:
    """Translate Resend's answer into outcomes."""
    recipients = envelope.recipients
    if isinstance(reply, http.NotSent):
        return SendReport(results=same_result(recipients, OutcomeStatus.DEFERRED), error=reply.error)
    if isinstance(reply, http.NoAnswer):
        return SendReport(results=same_result(recipients, OutcomeStatus.UNKNOWN), error=reply.error)
    body = _json(reply.body)
    if 200 <= reply.status < 300 and (results := _results(recipients, body)) is not None:
        return SendReport(results=results)
    name = str(body["name"]) if isinstance(body, dict) and "name" in body else None
    code = name or str(reply.status)
    error = f"Resend answered {reply.status}"
    # Under way: another request with these very messages was not answered yet. It will send them, or not.
    if reply.status in _IN_DOUBT or reply.status < 400 or name == _UNDER_WAY:
        return SendReport(results=same_result(recipients, OutcomeStatus.UNKNOWN, code=code), error=error)
    deferred = same_result(recipients, OutcomeStatus.DEFERRED, code=code)
    if reply.status in _MISCONFIGURED or name in _USED_UP:
        return SendReport(results=deferred, error=error, stop=_stop(code))
    if reply.status in _PASSING or reply.status >= 500:
        return SendReport(
            results=deferred,
            retry_after_seconds=_retry_after(reply),
            error=error,
            is_throttled=reply.status == 429,
        )
    refused = same_result(recipients, OutcomeStatus.REFUSED, reason=RejectReason.CONTENT, code=code)
    return SendReport(results=refused, error=error)


def _results(recipients: pl.DataFrame, body: Any) -> pl.DataFrame | None:
    """Who was accepted under which id, and who was refused; `None` when the answer does not tell of each.

    `data` has an id for each accepted e-mail in their order, `errors` the position and fault of each other.
    """
    try:
        ids = [str(entry["id"]) for entry in body["data"]]
        faults = {int(fault["index"]): str(fault["message"]) for fault in body.get("errors") or ()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    places = range(recipients.height)
    if len(ids) + len(faults) != len(places) or not faults.keys() <= set(places):
        return None
    left = iter(ids)
    told = [
        (OutcomeStatus.REFUSED.value, _reason(faults[place]), "validation_error", None)
        if place in faults
        else (OutcomeStatus.ACCEPTED.value, None, None, next(left))
        for place in places
    ]
    columns = {name: kind for name, kind in RESULTS.items() if name != "message_id"}
    return pl.DataFrame(told, schema=columns, orient="row").select(recipients["message_id"], *columns)


def _reason(fault: str) -> str:
    is_address = "`to`" in fault or "email address" in fault.lower()
    return str(RejectReason.INVALID if is_address else RejectReason.CONTENT)


def _stop(code: str) -> ProviderMisconfigured:
    if code in _USED_UP:
        return ProviderMisconfigured(
            "Resend", f"its quota is used up ({code})", "Wait for the next period or upgrade the plan"
        )
    return ProviderMisconfigured(
        "Resend",
        f"it refused the API key or the sender's domain, or knows no such address ({code})",
        "Check COMMS_RESEND_API_KEY, that the sender's domain is verified, and COMMS_RESEND_BASE_URL",
    )


def _retry_after(reply: http.Answer) -> float | None:
    text = reply.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _subjects(envelope: Envelope) -> dict[str, set[str]]:
    """The subjects of our messages by address, in lower case."""
    found: dict[str, set[str]] = defaultdict(set)
    subjects = joined(envelope.content.parts["subject"], envelope.recipients)
    for address, subject in zip(envelope.recipients["address"].to_list(), subjects.to_list(), strict=True):
        found[address.lower()].add(subject)
    return found


def _to(email: Mapping[str, Any]) -> set[str]:
    return {str(address).lower() for address in email["to"]}


def _tags(email: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["name"]): str(tag["value"]) for tag in email.get("tags") or ()}


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None

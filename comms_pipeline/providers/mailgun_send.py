"""Mailgun, outgoing: bulk `messages` with recipient variables, and reconciliation through the Events API.

Webhooks live elsewhere.
"""

import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from email.utils import formataddr
from typing import Any
from urllib.parse import quote

import orjson
import polars as pl

from comms_pipeline.domain.content import Skeleton
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.providers import http
from comms_pipeline.providers.base import RESULTS, Envelope, Found, Limits, SendReport, same_result
from comms_pipeline.providers.http_account import HttpAccount, basic

# A gateway's 502 and 504 say nothing of what happened behind it.
_IN_DOUBT = {502, 504}
_PASSING = {408, 429}
# 402: the account is not paid. 404: no such domain. A wrong address of the API is answered with 404, 405, or a
# friendly 200.
_MISCONFIGURED = {401, 402, 403, 404, 405}
_WRONG_ADDRESS = b"Mailgun Magnificent API"
_BAD_ADDRESS = re.compile(rb"'?to'? parameter is not a valid address")
# One address and no more: Mailgun splits at commas, and whoever has no variables of his own sees everybody.
_ONE_ADDRESS = r'^[^\x00-\x20\x7f,;:<>()\[\]"\\@]+@[^\x00-\x20\x7f,;:<>()\[\]"\\@]+$'
# Mailgun's own words follow a percent sign (user manual). A text may hold one by chance, or begin with one behind the
# percent sign that ends a variable.
_OWN_WORD = re.compile(r"((?:%|^)[rutm])(?=ecipient|nsubscribe|ag_unsubscribe|ailing_list_unsubscribe)")

_EVENTS_LIMIT = 300
_MOST_PAGES = 100
_RECORD_LASTS = timedelta(days=1)
"""How long every plan of Mailgun's keeps events."""


class Mailgun(HttpAccount):
    """One domain of a Mailgun account. Skeletons go once per request, slots as recipient variables."""

    name = "mailgun"
    channel = Channel.EMAIL
    # Source: API reference, ≤1,000 recipients and 25 MB a request.
    limits = Limits(batch_size=1000, concurrency=4, slot_bytes=16_000)

    def __init__(
        self,
        *,
        api_key: str,
        domain: str,
        base_url: str,
        timeout_seconds: float = http.REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        super().__init__(
            authorization=basic("api", api_key),
            connections=self.limits.concurrency,
            timeout_seconds=timeout_seconds,
        )
        self._url = f"{base_url}/v3/{quote(domain, safe='')}"

    async def send(self, envelope: Envelope) -> SendReport:
        """One request for the whole envelope, as a rule.

        Mailgun refuses a request for one bad address without saying which: then, as nothing of it was sent, each
        half goes by itself. A second message to one address waits, for Mailgun would leave it out.
        """
        sendable, reports = _set_apart(envelope.recipients)
        parts = [sendable] if sendable.height else []
        while parts:
            part = parts.pop()
            if wait := await envelope.pace():
                waiting = same_result(pl.concat([part, *parts]), OutcomeStatus.DEFERRED)
                reports.append(SendReport(results=waiting, retry_after_seconds=wait))
                break
            reply = await self._post(envelope, part)
            if part.height > 1 and _is_bad_address(reply):
                middle = part.height // 2
                parts += [part[middle:], part[:middle]]
                continue
            told = report(part, reply)
            reports.append(told)
            if told.stop and parts:
                reports.append(
                    SendReport(results=same_result(pl.concat(parts), OutcomeStatus.DEFERRED), stop=told.stop)
                )
                break
        return _merged(reports)

    async def _post(self, envelope: Envelope, recipients: pl.DataFrame) -> http.Reply:
        nonce = secrets.token_hex(8)
        return await http.post(
            self._session,
            f"{self._url}/messages",
            data=multipart(request_fields(envelope, recipients, nonce=nonce), boundary=nonce),
            content_type=f"multipart/form-data; boundary={nonce}",
        )

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> Found | None:
        """Ask the Events API for the accepted messages of the batch's tag within the window.

        Each tells how many messages its request had. Requests are accepted as a whole, so the answer is not
        conclusive (`None`) until all of them are listed; nor, for what is not found, beyond the day that every
        plan keeps events.
        """
        window = {"begin": f"{since.timestamp():.0f}", "end": f"{until.timestamp():.0f}"}
        query = {
            **window,
            "ascending": "yes",
            "event": "accepted",
            "tags": _batch_tag(envelope),
            "limit": str(_EVENTS_LIMIT),
        }
        listed = await self._listed(envelope, query)
        if listed is None:
            return None
        accepted: dict[str, str] = {}
        message_ids = set(envelope.recipients["message_id"])
        for request_id, (count, found) in listed.items():
            # Another installation on the same account may have a batch of this number.
            if not found & message_ids:
                continue
            if len(found) < count:
                return None
            accepted |= dict.fromkeys(found & message_ids, request_id)
        if until - since > _RECORD_LASTS and len(accepted) < len(message_ids):
            return None
        return Found(accepted=accepted)

    async def _listed(
        self, envelope: Envelope, query: Mapping[str, str]
    ) -> dict[str, tuple[int, set[str]]] | None:
        """By request: how many messages it had, and our ids of those listed; `None` if Mailgun does not say."""
        url, params = f"{self._url}/events", dict(query)
        counts: dict[str, int] = {}
        found: dict[str, set[str]] = defaultdict(set)
        for _ in range(_MOST_PAGES):
            if await envelope.pace():
                return None
            reply = await http.get(self._session, url, params=params)
            page: Any = _json(reply.body) if reply and reply.status == 200 else None
            try:
                for event in page["items"]:
                    ours = event["user-variables"]
                    request_id = event["message"]["headers"]["message-id"].strip("<>")
                    counts[request_id] = int(ours["comms_count"])
                    found[request_id].add(str(ours["comms_message"]))
                if not page["items"]:
                    return {request_id: (counts[request_id], ids) for request_id, ids in found.items()}
                url, params = str(page["paging"]["next"]), {}
            except (KeyError, TypeError, ValueError, AttributeError):
                return None
            if not url.startswith(f"{self._url}/events/"):
                # Our credentials go wherever it leads.
                return None
        return None


def _set_apart(recipients: pl.DataFrame) -> tuple[pl.DataFrame, list[SendReport]]:
    """Who goes into one request, and what is to be said of all others."""
    is_address = recipients["address"].str.contains(_ONE_ADDRESS)
    is_first = recipients["address"].str.to_lowercase().is_first_distinct()
    refused, again = recipients.filter(~is_address), recipients.filter(is_address & ~is_first)
    reports = []
    if refused.height:
        results = same_result(refused, OutcomeStatus.REFUSED, reason=RejectReason.INVALID)
        reports.append(SendReport(results=results))
    if again.height:
        deferred = same_result(again, OutcomeStatus.DEFERRED)
        reports.append(SendReport(results=deferred, retry_after_seconds=0.0))
    return recipients.filter(is_address & is_first), reports


def request_fields(envelope: Envelope, recipients: pl.DataFrame, *, nonce: str) -> Iterable[tuple[str, str]]:
    """The form of `POST /v3/{domain}/messages`, name by name, for these of an envelope's recipients.

    Variables carry the nonce. It must be unpredictable, so that nobody's data can be taken for a variable,
    whatever Mailgun does with what it has filled in.
    """
    content = envelope.content
    slots = [name for name in recipients.columns if re.fullmatch(r"s\d+", name)]
    variables = {f"{name}_{nonce}": pl.col(name) for name in slots}
    variables[f"message_{nonce}"] = pl.col("message_id")
    literals = (piece for part in content.parts.values() for piece in part if isinstance(piece, str))
    if any(map(_OWN_WORD.search, literals)):
        variables[f"nothing_{nonce}"] = pl.lit("")
    yield "from", formataddr((content.sender_name, content.sender))
    for address in recipients["address"].to_list():
        yield "to", address
    for part in ("subject", "text", "html"):
        if text := _tagged(content.parts.get(part, ()), nonce):
            yield part, text
    yield "o:tag", content.campaign_id
    yield "o:tag", _batch_tag(envelope)
    yield "o:tracking", "yes" if content.is_tracked else "no"
    yield "v:comms_message", f"%recipient.message_{nonce}%"
    yield "v:comms_org", envelope.organisation_id
    yield "v:comms_count", str(recipients.height)
    if content.reply_to:
        yield "h:Reply-To", content.reply_to
    if content.has_one_click:
        variables[f"unsubscribe_{nonce}"] = pl.col("unsubscribe_url")
        yield "h:List-Unsubscribe", f"<%recipient.unsubscribe_{nonce}%>"
        yield "h:List-Unsubscribe-Post", "List-Unsubscribe=One-Click"
    yield "recipient-variables", _recipient_variables(recipients, variables)


def _batch_tag(envelope: Envelope) -> str:
    """The batch's tag. Filters are expressions, in which a colon might not stand for itself."""
    return envelope.category.replace(":", "_")


def _tagged(skeleton: Skeleton, nonce: str) -> str:
    """The skeleton with variables for slots. An own word of Mailgun's is broken up by one that is empty."""
    return "".join(
        f"%recipient.s{piece}_{nonce}%"
        if isinstance(piece, int)
        else _OWN_WORD.sub(rf"\1%recipient.nothing_{nonce}%", piece)
        for piece in skeleton
    )


def _recipient_variables(recipients: pl.DataFrame, variables: Mapping[str, pl.Expr]) -> str:
    """The JSON object of what differs, by address. Polars writes it: no Python object per recipient."""
    values = pl.struct(expression.alias(name) for name, expression in variables.items()).struct.json_encode()
    # `_ONE_ADDRESS` lets nothing through that JSON would have to escape.
    pairs = recipients.select(pl.concat_str(pl.lit('"'), "address", pl.lit('":'), values)).to_series()
    return "{" + ",".join(pairs.to_list()) + "}"


def multipart(fields: Iterable[tuple[str, str]], *, boundary: str) -> bytes:
    """The fields as `multipart/form-data` (RFC 7578), which takes texts as they are. No value may hold the boundary."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    return f"{''.join(parts)}--{boundary}--\r\n".encode()


def _is_bad_address(reply: http.Reply) -> bool:
    return isinstance(reply, http.Answer) and reply.status == 400 and bool(_BAD_ADDRESS.search(reply.body))


def report(recipients: pl.DataFrame, reply: http.Reply) -> SendReport:
    """Translate Mailgun's answer into outcomes, all messages of the request alike."""
    if isinstance(reply, http.NotSent):
        return SendReport(results=same_result(recipients, OutcomeStatus.DEFERRED), error=reply.error)
    if isinstance(reply, http.NoAnswer):
        return SendReport(results=same_result(recipients, OutcomeStatus.UNKNOWN), error=reply.error)
    code = str(reply.status)
    body = _json(reply.body)
    if reply.status == 200 and isinstance(body, dict) and body.get("id"):
        request_id = str(body["id"]).strip("<>")
        return SendReport(
            results=same_result(recipients, OutcomeStatus.ACCEPTED, provider_message_id=request_id)
        )
    error = f"Mailgun answered {code}"
    if reply.status in _MISCONFIGURED or _WRONG_ADDRESS in reply.body:
        stop = ProviderMisconfigured(
            "Mailgun",
            f"it refused the API key or the domain, or knows no such address ({code})",
            "Check COMMS_MAILGUN_API_KEY, COMMS_MAILGUN_DOMAIN, and that COMMS_MAILGUN_BASE_URL is of its region",
        )
        deferred = same_result(recipients, OutcomeStatus.DEFERRED, code=code)
        return SendReport(results=deferred, error=error, stop=stop)
    if reply.status in _IN_DOUBT or reply.status < 400:
        return SendReport(results=same_result(recipients, OutcomeStatus.UNKNOWN, code=code), error=error)
    if reply.status in _PASSING or reply.status >= 500:
        return SendReport(
            results=same_result(recipients, OutcomeStatus.DEFERRED, code=code),
            retry_after_seconds=_retry_after(reply, body),
            error=error,
            is_throttled=reply.status == 429,
        )
    reason = RejectReason.INVALID if _is_bad_address(reply) else RejectReason.CONTENT
    refused = same_result(recipients, OutcomeStatus.REFUSED, reason=reason, code=code)
    return SendReport(results=refused, error=error)


def _retry_after(reply: http.Answer, body: Any) -> float | None:
    told = reply.headers.get("Retry-After") or (body.get("retry-seconds") if isinstance(body, dict) else None)
    text = str(told or "")
    return float(text) if text.isdecimal() else None


def _merged(reports: list[SendReport]) -> SendReport:
    """The reports on an envelope's parts as one. What waits, waits as long as the last of it."""
    deferring = [told for told in reports if (told.results["status"] == OutcomeStatus.DEFERRED).any()]
    waits = [told.retry_after_seconds for told in deferring]
    known = [wait for wait in waits if wait is not None]
    return SendReport(
        results=pl.concat([RESULTS.to_frame(), *(told.results for told in reports)]),
        retry_after_seconds=max(known) if known and len(known) == len(waits) else None,
        error=next((told.error for told in reports if told.error), None),
        stop=next((told.stop for told in reports if told.stop), None),
        is_throttled=any(told.is_throttled for told in reports),
    )


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None

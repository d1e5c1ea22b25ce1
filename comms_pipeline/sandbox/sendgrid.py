"""SendGrid's v3 API as far as the pipeline uses it: mail/send, Email Logs, erasure. Rules live elsewhere."""

import asyncio
import sqlite3
import time
from base64 import urlsafe_b64encode
from hashlib import blake2b
from random import Random
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from comms_pipeline.sandbox.config import SandboxConfig
from comms_pipeline.sandbox.faults import Faults
from comms_pipeline.sandbox.logs_query import BadQueryError, LogQuery, parse
from comms_pipeline.sandbox.mail import Mail, addresses
from comms_pipeline.sandbox.mail_rules import MailError, check
from comms_pipeline.sandbox.poster import Poster
from comms_pipeline.sandbox.record import (
    KEYS_PER_REQUEST,
    Provider,
    Record,
    Search,
    StoredMessage,
    StoredRequest,
)
from comms_pipeline.sandbox.wire import (
    BodyTooLargeError,
    JsonResponse,
    content_type,
    is_authorized,
    read_body,
)

MAX_BODY_BYTES = 30 * 1024 * 1024
MAX_LOG_LIMIT = 1000
DEFAULT_LOG_LIMIT = 10
MAX_ERASED_ADDRESSES, MAX_ERASE_BODY_BYTES = 5_000, 256 * 1024
SCAN_PAGE = 500
MESSAGE_ARG, ORGANISATION_ARG, SEND_ARG = "comms_message", "comms_org", "comms_send"
"""The custom arguments by which the record knows our messages."""


def errors(status: int, *faults: MailError, headers: dict[str, str] | None = None) -> JsonResponse:
    """An error answer in SendGrid's shape."""
    body = {"errors": [fault._asdict() for fault in faults]}
    return JsonResponse(body, status_code=status, headers=headers)


def error(status: int, message: str) -> JsonResponse:
    return errors(status, MailError(message, None, None))


class SendGridApi:
    """The endpoints of one sandbox."""

    def __init__(self, config: SandboxConfig, record: Record, poster: Poster, faults: Faults) -> None:
        self._authorization = f"Bearer {config.sendgrid_api_key}"
        # Ids need to be unique, not secret; seeded by the system once instead of asking it each time.
        self._random = Random()  # noqa: S311
        self._record = record
        self._poster = poster
        self._faults = faults

    def routes(self) -> list[Route]:
        return [
            Route("/v3/mail/send", self.send, methods=["POST"]),
            Route("/v3/logs", self.search_logs, methods=["POST"]),
            Route("/v3/logs/{sg_message_id}", self.read_log, methods=["GET"]),
            Route("/v3/recipients/erasejob", self.erase, methods=["POST"]),
        ]

    async def send(self, request: Request) -> Response:
        """`POST /v3/mail/send`: 202 once every message is on disk."""
        refusal, headers = self._admit(request)
        if refusal is not None:
            return refusal
        now = time.time()
        try:
            mail = orjson.loads(await read_body(request, MAX_BODY_BYTES))
        except BodyTooLargeError:
            return error(413, "The JSON payload you have included in your request is too large.")
        except orjson.JSONDecodeError:
            return error(400, "Bad Request")
        faults = check(mail, now)
        if faults:
            return errors(400, *faults, headers=headers)
        if _is_rehearsal(mail):
            return Response(status_code=200, headers=headers)
        provider_id = urlsafe_b64encode(self._random.randbytes(16)).decode().rstrip("=")
        await self._accept(mail, provider_id, now)
        return Response(status_code=202, headers={**headers, "X-Message-Id": provider_id})

    async def search_logs(self, request: Request) -> Response:
        """`POST /v3/logs`: summaries of the messages that match, newest first."""
        refusal, headers = self._admit(request)
        if refusal is not None:
            return refusal
        try:
            body = orjson.loads(await read_body(request, 1024 * 1024))
            query, limit = body.get("query") or "", body.get("limit", DEFAULT_LOG_LIMIT)
            if type(limit) is not int or not 1 <= limit <= MAX_LOG_LIMIT:
                return error(400, f"limit must be between 1 and {MAX_LOG_LIMIT}")
            wanted = parse(query)
        except (BodyTooLargeError, orjson.JSONDecodeError, AttributeError, TypeError):
            return error(400, "Bad Request")
        except BadQueryError as bad:
            return error(400, f"invalid query: {bad}")
        return JsonResponse({"messages": await self._find(wanted, limit)}, headers=headers)

    async def read_log(self, request: Request) -> Response:
        """`GET /v3/logs/{sg_message_id}`: one message with its custom arguments and events."""
        refusal, headers = self._admit(request, with_body=False)
        if refusal is not None:
            return refusal
        stored = self._by_sg_message_id(request.path_params["sg_message_id"])
        if stored is None:
            return error(404, "message not found")
        return JsonResponse(self._poster.mail(stored).log_detail(time.time()), headers=headers)

    async def erase(self, request: Request) -> Response:
        """`POST /v3/recipients/erasejob`: forget every message to these addresses. Here the job is done at once."""
        refusal, headers = self._admit(request)
        if refusal is not None:
            return refusal
        try:
            body = orjson.loads(await read_body(request, MAX_ERASE_BODY_BYTES))
            wanted = body["email_addresses"]
        except (BodyTooLargeError, orjson.JSONDecodeError, KeyError, TypeError):
            return error(400, "Bad Request")
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= MAX_ERASED_ADDRESSES:
            return error(400, f"email_addresses must be 1 to {MAX_ERASED_ADDRESSES} addresses")
        for address in wanted:
            if not isinstance(address, str) or "@" not in address:
                return errors(400, MailError("Email_address is not valid", "email_addresses", None))
            await self._forget(address)
        return JsonResponse({"job_id": str(uuid4())}, status_code=202, headers=headers)

    async def _forget(self, address: str) -> None:
        wanted = Search(provider=Provider.SENDGRID, limit=SCAN_PAGE, address=address)
        while found := await self._record.search(wanted):
            await self._record.erase([stored.key for stored in found])

    def _admit(self, request: Request, *, with_body: bool = True) -> tuple[Response | None, dict[str, str]]:
        """(the answer to a request that may not pass, the rate-limit headers of every other answer)."""
        allowance = self._faults.limits[Provider.SENDGRID].take(time.time())
        headers = {
            "X-RateLimit-Limit": str(allowance.limit),
            "X-RateLimit-Remaining": str(allowance.remaining),
            "X-RateLimit-Reset": str(allowance.reset_at),
        }
        if not is_authorized(request, self._authorization):
            return error(401, "The provided authorization grant is invalid, expired, or revoked"), headers
        if not allowance.is_granted:
            retry = {**headers, "Retry-After": str(allowance.retry_after_seconds)}
            return errors(429, MailError("too many requests", None, None), headers=retry), headers
        if with_body and content_type(request) != "application/json":
            return error(415, "Content-Type should be application/json."), headers
        return None, headers

    async def _accept(self, mail: Mail, provider_id: str, now: float) -> None:
        personalizations, categories = mail.pop("personalizations"), mail.pop("categories", None) or ()
        skeleton = orjson.dumps(mail)
        request = StoredRequest(
            request_id=self._record.new_request_id(),
            provider=Provider.SENDGRID,
            provider_id=provider_id,
            accepted_at=now,
            categories=tuple(categories),
            digest=blake2b(skeleton, digest_size=16).digest(),
        )
        messages = _messages(mail, personalizations, request)
        self._poster.announce(request.request_id, now)
        try:
            await self._record.accept(request, messages, skeleton)
        except sqlite3.Error:
            self._poster.withdraw(request.request_id)
            raise
        self._poster.schedule(request.request_id, messages)

    async def _find(self, wanted: LogQuery, limit: int) -> list[dict[str, Any]]:
        if wanted.sg_message_id is not None:
            stored = self._by_sg_message_id(wanted.sg_message_id)
            return _matching([self._poster.mail(stored).log_entry(time.time())] if stored else [], wanted)
        found: list[dict[str, Any]] = []
        before = 2**62
        while len(found) < limit:
            page = await self._record.search(
                Search(
                    provider=Provider.SENDGRID,
                    limit=SCAN_PAGE,
                    before=before,
                    address=wanted.to_email,
                    since=wanted.since,
                    until=wanted.until,
                    categories=wanted.categories,
                )
            )
            now = time.time()
            found += _matching([self._poster.mail(stored).log_entry(now) for stored in page], wanted)
            if len(page) < SCAN_PAGE:
                break
            before = page[-1].key
            await asyncio.sleep(0)
        return found[:limit]

    def _by_sg_message_id(self, sg_message_id: str) -> StoredMessage | None:
        provider_id, _, rest = sg_message_id.partition(".")
        position = rest.rpartition(".")[2]
        request = self._record.request_by_provider_id(provider_id)
        if request is None or not position.isdecimal() or int(position) >= KEYS_PER_REQUEST:
            return None
        stored = self._record.message(request.request_id * KEYS_PER_REQUEST + int(position))
        is_it = stored is not None and self._poster.mail(stored).sg_message_id == sg_message_id
        return stored if is_it else None


def _is_rehearsal(mail: Mail) -> bool:
    """Whether the mail is only to be checked (`mail_settings.sandbox_mode`)."""
    settings = mail.get("mail_settings")
    mode = settings.get("sandbox_mode") if isinstance(settings, dict) else None
    return isinstance(mode, dict) and mode.get("enable") is True


def _messages(mail: Mail, personalizations: list[Mail], request: StoredRequest) -> list[StoredMessage]:
    shared: dict[str, str] = mail.get("custom_args") or {}
    now, key = request.accepted_at, request.request_id * KEYS_PER_REQUEST
    messages = []
    for personalization in personalizations:
        own = personalization.get("custom_args") or shared
        args = {**shared, **own} if shared else own
        starts_at = max(now, personalization.get("send_at") or mail.get("send_at") or now)
        ids = (args.get(MESSAGE_ARG, ""), args.get(ORGANISATION_ARG, ""), args.get(SEND_ARG, ""))
        payload = orjson.dumps(personalization)
        for recipient, address in enumerate(addresses(personalization)):
            messages.append(StoredMessage(key, recipient, *ids, address, starts_at, payload))
            key += 1
    return messages


def _matching(entries: list[dict[str, Any]], wanted: LogQuery) -> list[dict[str, Any]]:
    """What SQL cannot tell, because it follows from time and text."""
    return [
        entry
        for entry in entries
        if (wanted.statuses is None or entry["status"] in wanted.statuses)
        and (wanted.subject is None or entry["subject"] == wanted.subject)
        and (wanted.reason is None or entry["reason"] == wanted.reason)
        and (wanted.to_email is None or entry["to_email"].lower() == wanted.to_email.lower())
    ]

"""Resend's API as far as the pipeline uses it: batches, the list of sent e-mails, one e-mail. Rules live elsewhere."""

import sqlite3
import time
from datetime import UTC, datetime
from hashlib import blake2b
from random import Random
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from comms_pipeline.sandbox.config import SandboxConfig
from comms_pipeline.sandbox.faults import Faults
from comms_pipeline.sandbox.mail import Mail
from comms_pipeline.sandbox.poster import Poster
from comms_pipeline.sandbox.record import (
    KEYS_PER_REQUEST,
    Provider,
    Record,
    Search,
    StoredMessage,
    StoredRequest,
)
from comms_pipeline.sandbox.resend_rules import (
    CAMPAIGN_TAG,
    MAX_EMAILS,
    MAX_KEY_CHARACTERS,
    MESSAGE_TAG,
    ORGANISATION_TAG,
    SEND_TAG,
    check,
    recipients,
    tags,
)
from comms_pipeline.sandbox.wire import BodyTooLargeError, JsonResponse, is_authorized, read_body

MAX_BODY_BYTES = 40 * 1024 * 1024
MAX_PAGE, DEFAULT_PAGE = 100, 20
KEY_SECONDS = 24 * 3600
"""How long an idempotency key is remembered."""


def error(status: int, name: str, message: str, headers: dict[str, str] | None = None) -> JsonResponse:
    """An error answer in Resend's shape."""
    body = {"statusCode": status, "name": name, "message": message}
    return JsonResponse(body, status_code=status, headers=headers)


class ResendApi:
    """The endpoints of one sandbox."""

    def __init__(self, config: SandboxConfig, record: Record, poster: Poster, faults: Faults) -> None:
        self._authorization = f"Bearer {config.resend_api_key}"
        # Ids need to be unique, not secret; seeded by the system once instead of asking it each time.
        self._random = Random()  # noqa: S311
        self._record = record
        self._poster = poster
        self._faults = faults
        self._keys_under_way: set[str] = set()

    def routes(self) -> list[Route]:
        return [
            Route("/emails/batch", self.send, methods=["POST"]),
            Route("/emails", self.list_emails, methods=["GET"]),
            Route("/emails/{email_id}", self.fetch, methods=["GET"]),
        ]

    async def send(self, request: Request) -> Response:
        """`POST /emails/batch`: 200 once every e-mail is on disk; none is accepted twice under one key."""
        refusal, headers = self._admit(request)
        if refusal is not None:
            return refusal
        key = request.headers.get("idempotency-key")
        if key is not None and not 1 <= len(key) <= MAX_KEY_CHARACTERS:
            return error(400, "invalid_idempotency_key", "The key must be between 1-256 chars.", headers)
        if key in self._keys_under_way:
            message = "Same idempotency key used while original request is still in progress."
            return error(409, "concurrent_idempotent_requests", message, headers)
        if key is None:
            return await self._send(request, headers, None)
        self._keys_under_way.add(key)
        try:
            return await self._send(request, headers, key)
        finally:
            self._keys_under_way.discard(key)

    async def _send(self, request: Request, headers: dict[str, str], key: str | None) -> Response:
        try:
            body = await read_body(request, MAX_BODY_BYTES)
            emails = orjson.loads(body)
        except BodyTooLargeError:
            return error(413, "validation_error", "The payload is too large.", headers)
        except orjson.JSONDecodeError:
            return error(422, "validation_error", "The body is not valid JSON.", headers)
        if not isinstance(emails, list) or not 1 <= len(emails) <= MAX_EMAILS:
            return error(422, "validation_error", f"A batch has 1 to {MAX_EMAILS} emails.", headers)
        fingerprint, now = blake2b(body, digest_size=16).hexdigest(), time.time()
        known = self._known(key, now)
        if known is not None:
            if known["fingerprint"] == fingerprint:
                return JsonResponse(known["answer"], headers=headers)
            message = "Same idempotency key used with a different request payload."
            return error(409, "invalid_idempotent_request", message, headers)
        faults = {place: fault for place, email in enumerate(emails) if (fault := check(email))}
        is_permissive = request.headers.get("x-batch-validation", "strict") == "permissive"
        if faults and not is_permissive:
            return error(422, "validation_error", next(iter(faults.values())), headers)
        accepted = [self._stored(email, now) for place, email in enumerate(emails) if place not in faults]
        answer: dict[str, Any] = {"data": [{"id": stored.provider_id} for stored, _ in accepted]}
        if is_permissive:
            answer["errors"] = [{"index": place, "message": fault} for place, fault in faults.items()]
        note = orjson.dumps({"fingerprint": fingerprint, "answer": answer, "at": now})
        await self._accept(accepted, {_digest(key): note} if key else {}, now)
        return JsonResponse(answer, headers=headers)

    async def _accept(
        self,
        accepted: list[tuple[StoredRequest, list[StoredMessage]]],
        contents: dict[bytes, bytes],
        now: float,
    ) -> None:
        for request, _ in accepted:
            self._poster.announce(request.request_id, now)
        try:
            await self._record.accept_all(accepted, contents)
        except sqlite3.Error:
            for request, _ in accepted:
                self._poster.withdraw(request.request_id)
            raise
        for request, messages in accepted:
            self._poster.schedule(request.request_id, messages)

    async def list_emails(self, request: Request) -> Response:
        """`GET /emails`: newest first, in pages that begin after an id."""
        refusal, headers = self._admit(request)
        if refusal is not None:
            return refusal
        limit, after = request.query_params.get("limit", str(DEFAULT_PAGE)), request.query_params.get("after")
        if not limit.isdecimal() or not 1 <= int(limit) <= MAX_PAGE:
            return error(422, "validation_error", "The `limit` must be a number between 1 and 100.", headers)
        last = self._by_id(after) if after else None
        if after and last is None:
            return error(422, "validation_error", "The pagination cursor is not valid.", headers)
        before = last.request_id * KEYS_PER_REQUEST if last else 2**62
        found = await self._record.search(
            Search(provider=Provider.RESEND, limit=int(limit) + 1, before=before)
        )
        listed = [self._summary(stored) for stored in found[: int(limit)]]
        return JsonResponse(
            {"object": "list", "has_more": len(found) > int(limit), "data": listed}, headers=headers
        )

    async def fetch(self, request: Request) -> Response:
        """`GET /emails/{id}`: one e-mail with its bodies and tags."""
        refusal, headers = self._admit(request)
        if refusal is not None:
            return refusal
        stored = self._by_id(request.path_params["email_id"])
        if stored is None:
            return error(404, "not_found", "Email not found", headers)
        email = orjson.loads(stored.payload)
        bodies = {part: email.get(part) for part in ("html", "text")}
        shown = {"object": "email", **self._summary(stored), **bodies, "tags": email.get("tags") or []}
        return JsonResponse(shown, headers=headers)

    def _admit(self, request: Request) -> tuple[Response | None, dict[str, str]]:
        """(the answer to a request that may not pass, the rate-limit headers of every other answer)."""
        now = time.time()
        allowance = self._faults.limits[Provider.RESEND].take(now)
        headers = {
            "ratelimit-limit": str(allowance.limit),
            "ratelimit-remaining": str(allowance.remaining),
            "ratelimit-reset": str(max(0, allowance.reset_at - int(now))),
        }
        if not request.headers.get("authorization"):
            return error(401, "missing_api_key", "Missing API key in the authorization header."), headers
        if not is_authorized(request, self._authorization):
            return error(403, "invalid_api_key", "API key is invalid"), headers
        if not request.headers.get("user-agent"):
            return error(403, "validation_error", "error code: 1010"), headers
        if not allowance.is_granted:
            retry = {**headers, "retry-after": str(allowance.retry_after_seconds)}
            return error(429, "rate_limit_exceeded", "Too many requests.", retry), headers
        return None, headers

    def _known(self, key: str | None, now: float) -> dict[str, Any] | None:
        """What was answered to a request under this key."""
        note = self._record.content(_digest(key)) if key else None
        return note if note and now - note["at"] < KEY_SECONDS else None

    def _stored(self, email: Mail, now: float) -> tuple[StoredRequest, list[StoredMessage]]:
        named = tags(email)
        request = StoredRequest(
            request_id=self._record.new_request_id(),
            provider=Provider.RESEND,
            provider_id=str(UUID(bytes=self._random.randbytes(16), version=4)),
            accepted_at=now,
            categories=(named[CAMPAIGN_TAG],) if CAMPAIGN_TAG in named else (),
        )
        ids = [named.get(tag, "") for tag in (MESSAGE_TAG, ORGANISATION_TAG, SEND_TAG)]
        payload, key = orjson.dumps(email), request.request_id * KEYS_PER_REQUEST
        return request, [
            StoredMessage(key + place, place, ids[0], ids[1], ids[2], address, now, payload)
            for place, address in enumerate(recipients(email))
        ]

    def _by_id(self, email_id: str) -> StoredMessage | None:
        request = self._record.request_by_provider_id(email_id)
        if request is None or request.provider is not Provider.RESEND:
            return None
        return self._record.message(request.request_id * KEYS_PER_REQUEST)

    def _summary(self, stored: StoredMessage) -> dict[str, Any]:
        """What the list tells of an e-mail."""
        request, email = self._record.request(stored.request_id), orjson.loads(stored.payload)
        return {
            "id": request.provider_id,
            "to": recipients(email),
            "from": email["from"],
            "created_at": datetime.fromtimestamp(request.accepted_at, UTC).isoformat(timespec="microseconds"),
            "subject": email["subject"],
            "cc": None,
            "bcc": None,
            "reply_to": email.get("reply_to"),
            "last_event": "sent",
            "scheduled_at": None,
        }


def _digest(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=16, person=b"resend key").digest()

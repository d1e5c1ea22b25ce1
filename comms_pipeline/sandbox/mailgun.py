"""Mailgun's API as far as the pipeline uses it: messages and events of one domain. Rules live elsewhere."""

import sqlite3
import time
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from hashlib import blake2b
from random import Random
from typing import Any, NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from comms_pipeline.sandbox.config import SandboxConfig
from comms_pipeline.sandbox.faults import Faults
from comms_pipeline.sandbox.mailgun_rules import Form, read, user_variables
from comms_pipeline.sandbox.poster import Poster
from comms_pipeline.sandbox.record import (
    KEYS_PER_REQUEST,
    Provider,
    Record,
    Search,
    StoredMessage,
    StoredRequest,
)
from comms_pipeline.sandbox.sent_mailgun import SentMailgunMail
from comms_pipeline.sandbox.wire import (
    BodyTooLargeError,
    JsonResponse,
    form_fields,
    is_authorized,
    read_body,
)

MAX_BODY_BYTES = 25 * 1024 * 1024
MAX_EVENTS, DEFAULT_EVENTS = 300, 100
MOST_MATCHES = 100_000
MESSAGE_VARIABLE, ORGANISATION_VARIABLE, SEND_VARIABLE = "comms_message", "comms_org", "comms_send"
"""The user variables by which the record knows our messages."""


def error(status: int, message: str, headers: dict[str, str] | None = None) -> JsonResponse:
    """An error answer in Mailgun's shape."""
    return JsonResponse({"message": message}, status_code=status, headers=headers)


class MailgunApi:
    """The endpoints of one sandbox."""

    def __init__(self, config: SandboxConfig, record: Record, poster: Poster, faults: Faults) -> None:
        self._authorization = "Basic " + b64encode(f"api:{config.mailgun_api_key}".encode()).decode()
        self._domain = config.mailgun_domain
        # Ids need to be unique, not secret; seeded by the system once instead of asking it each time.
        self._random = Random()  # noqa: S311
        self._record = record
        self._poster = poster
        self._faults = faults

    def routes(self) -> list[Route]:
        return [
            Route("/v3/{domain}/messages", self.send, methods=["POST"]),
            Route("/v3/{domain}/events", self.events, methods=["GET"]),
            Route("/v3/{domain}/events/{page}", self.events_page, methods=["GET"]),
        ]

    async def send(self, request: Request) -> Response:
        """`POST /v3/{domain}/messages`: 200 once every message is on disk."""
        refusal = self._admit(request)
        if refusal is not None:
            return refusal
        try:
            body = await read_body(request, MAX_BODY_BYTES)
            form = read(form_fields(body, request.headers.get("content-type", "")))
        except BodyTooLargeError:
            return error(413, "Message exceeds the maximum size of 25 MB")
        except ValueError:
            return error(400, "the form cannot be read")
        if isinstance(form, str):
            return error(400, form)
        now = time.time()
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d%H%M%S")
        provider_id = f"{stamp}.{self._random.randbytes(8).hex()}@{self._domain}"
        await self._accept(form, provider_id, now)
        return JsonResponse({"id": f"<{provider_id}>", "message": "Queued. Thank you."})

    async def events(self, request: Request) -> Response:
        """`GET /v3/{domain}/events`: what was accepted, in pages."""
        refusal = self._admit(request)
        if refusal is not None:
            return refusal
        query = _event_query(dict(request.query_params))
        if query is None:
            return error(
                400, "begin and end are epoch seconds, limit at most 300; end or ascending is needed"
            )
        return await self._page(request, query)

    async def events_page(self, request: Request) -> Response:
        """`GET /v3/{domain}/events/{page}`: where `paging.next` leads."""
        refusal = self._admit(request)
        if refusal is not None:
            return refusal
        try:
            query = _EventQuery(*orjson.loads(urlsafe_b64decode(request.path_params["page"])))
        except (ValueError, TypeError):
            return error(404, "no such page")
        return await self._page(request, query)

    async def _page(self, request: Request, query: "_EventQuery") -> Response:
        found: list[StoredMessage] = []
        # Nothing is known of a message but that it was accepted.
        if query.event in {None, "accepted"}:
            search = Search(
                provider=Provider.MAILGUN,
                limit=MOST_MATCHES,
                address=query.recipient,
                since=query.since,
                until=query.until,
                categories=None if query.tags is None else (query.tags,),
            )
            found = await self._record.search(search)
        if query.is_ascending:
            found.reverse()
        shown = found[query.offset : query.offset + query.limit]
        base = f"{request.url.scheme}://{request.url.netloc}/v3/{self._domain}/events"
        turns = {"next": query.offset + len(shown), "previous": max(0, query.offset - query.limit)}
        paging = {name: f"{base}/{query._replace(offset=offset).token}" for name, offset in turns.items()}
        return JsonResponse({"items": [self._event(stored) for stored in shown], "paging": paging})

    def _admit(self, request: Request) -> Response | None:
        if not is_authorized(request, self._authorization):
            return PlainTextResponse("Forbidden", status_code=401)
        allowance = self._faults.limits[Provider.MAILGUN].take(time.time())
        if not allowance.is_granted:
            retry = {"Retry-After": str(allowance.retry_after_seconds)}
            return error(429, "Too many requests", retry)
        domain = request.path_params["domain"]
        return None if domain == self._domain else error(404, f"Domain not found: {domain}")

    async def _accept(self, form: Form, provider_id: str, now: float) -> None:
        skeleton = orjson.dumps(form.skeleton)
        request = StoredRequest(
            request_id=self._record.new_request_id(),
            provider=Provider.MAILGUN,
            provider_id=provider_id,
            accepted_at=now,
            categories=tuple(form.skeleton["tags"]),
            digest=blake2b(skeleton, digest_size=16).digest(),
        )
        messages = []
        for key, (address, variables) in enumerate(
            form.recipients.items(), start=request.request_id * KEYS_PER_REQUEST
        ):
            told = user_variables(form.skeleton, variables, address)
            ids = [told.get(name, "") for name in (MESSAGE_VARIABLE, ORGANISATION_VARIABLE, SEND_VARIABLE)]
            messages.append(
                StoredMessage(key, 0, ids[0], ids[1], ids[2], address, now, orjson.dumps(variables))
            )
        self._poster.announce(request.request_id, now)
        try:
            await self._record.accept(request, messages, skeleton)
        except sqlite3.Error:
            self._poster.withdraw(request.request_id)
            raise
        self._poster.schedule(request.request_id, messages)

    def _event(self, stored: StoredMessage) -> dict[str, Any]:
        """The `accepted` event of a message."""
        mail = self._poster.mail(stored)
        assert isinstance(mail, SentMailgunMail)
        event_id = blake2b(str(stored.key).encode(), digest_size=16).hexdigest()
        return {**mail.event("accepted", event_id, mail.request.accepted_at), "method": "HTTP"}


class _EventQuery(NamedTuple):
    since: float
    until: float
    is_ascending: bool
    limit: int
    event: str | None
    tags: str | None
    recipient: str | None
    offset: int = 0

    @property
    def token(self) -> str:
        """What stands for this query in a page's address."""
        return urlsafe_b64encode(orjson.dumps(list(self))).decode()


def _event_query(params: dict[str, str]) -> _EventQuery | None:
    """What is asked for; the order follows from which end of the range comes first. None if it cannot be read."""
    try:
        begin = float(params["begin"])
        end = float(params["end"]) if "end" in params else None
        limit = int(params.get("limit", DEFAULT_EVENTS))
    except (KeyError, ValueError):
        return None
    if not 1 <= limit <= MAX_EVENTS or (end is None and "ascending" not in params):
        return None
    if end is None:
        end = 1e12 if params["ascending"] == "yes" else 0.0
    return _EventQuery(
        since=min(begin, end),
        until=max(begin, end),
        is_ascending=begin <= end,
        limit=limit,
        event=params.get("event"),
        tags=params.get("tags"),
        recipient=params.get("recipient"),
    )

"""Twilio's Messages API (2010-04-01): create, list, fetch, delete. Rules and texts live elsewhere."""

import base64
import sqlite3
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from comms_pipeline.sandbox.config import SandboxConfig
from comms_pipeline.sandbox.faults import Faults
from comms_pipeline.sandbox.poster import Poster
from comms_pipeline.sandbox.recipients import HORIZON, sms_refusal
from comms_pipeline.sandbox.record import (
    FAR_FUTURE,
    KEYS_PER_REQUEST,
    Provider,
    Record,
    Search,
    StoredMessage,
    StoredRequest,
)
from comms_pipeline.sandbox.sent_text import REPLIES
from comms_pipeline.sandbox.text_rules import Refusal, check, is_whatsapp, starts_at
from comms_pipeline.sandbox.wire import BodyTooLargeError, JsonResponse, is_authorized, read_body

MAX_BODY_BYTES = 1024 * 1024
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 1000
DAY_SECONDS = 86_400
MESSAGE_PARAMETER, ORGANISATION_PARAMETER, SEND_PARAMETER = "message", "org", "send"
"""The query parameters of a StatusCallback by which the record knows our messages."""
_PATH = "/2010-04-01/Accounts/{account}/Messages"


class TwilioApi:
    """The endpoints of one sandbox."""

    def __init__(self, config: SandboxConfig, record: Record, poster: Poster, faults: Faults) -> None:
        credentials = f"{config.twilio_account_sid}:{config.twilio_auth_token}"
        self._authorization = "Basic " + base64.b64encode(credentials.encode()).decode()
        self._account_sid = config.twilio_account_sid
        self._event_delay_seconds = config.event_delay_seconds
        # Ids need to be unique, not secret; seeded by the system once instead of asking it each time.
        self._random = Random()  # noqa: S311
        self._record = record
        self._poster = poster
        self._faults = faults

    def routes(self) -> list[Route]:
        return [
            Route(_PATH + ".json", self.create, methods=["POST"]),
            Route(_PATH + ".json", self.list_messages, methods=["GET"]),
            Route(_PATH + "/{sid}.json", self.fetch, methods=["GET"]),
            Route(_PATH + "/{sid}.json", self.delete, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        """`POST …/Messages.json`: 201 and the resource once the message is on disk."""
        refusal = self._admit(request)
        if refusal is not None:
            return refusal
        try:
            body = (await read_body(request, MAX_BODY_BYTES)).decode()
        except (BodyTooLargeError, UnicodeDecodeError):
            return _refuse(Refusal(21602))
        pairs = parse_qsl(body)
        media = [value for name, value in pairs if name == "MediaUrl"]
        form = {name: value for name, value in pairs if name != "MediaUrl"}
        now = time.time()
        fault = check(form, media, now) or self._check_owner(form["To"])
        if fault is not None:
            return _refuse(fault)
        if media:
            form["MediaCount"] = str(len(media))
        if is_whatsapp(form) and "ContentSid" not in form and not await self._has_written(form["To"], now):
            form["IsOutsideWindow"] = "true"
        stored = await self._accept(form, now)
        return JsonResponse(self._poster.text(stored).resource(now), status_code=201)

    async def fetch(self, request: Request) -> Response:
        """`GET …/Messages/{sid}.json`."""
        refusal = self._admit(request)
        if refusal is not None:
            return refusal
        stored = self._by_sid(request.path_params["sid"])
        if stored is None:
            return _refuse(Refusal(20404, request.url.path))
        return JsonResponse(self._poster.text(stored).resource(time.time()))

    async def delete(self, request: Request) -> Response:
        """`DELETE …/Messages/{sid}.json`: 204 once the message is forgotten."""
        refusal = self._admit(request)
        if refusal is not None:
            return refusal
        stored = self._by_sid(request.path_params["sid"])
        if stored is None:
            return _refuse(Refusal(20404, request.url.path))
        await self._record.erase([stored.key])
        return Response(status_code=204)

    async def list_messages(self, request: Request) -> Response:
        """`GET …/Messages.json`: newest first, filtered by To, From and DateSent, in pages.

        A message not sent yet has no `date_sent`; the filters then look at when it was created.
        """
        refusal = self._admit(request)
        if refusal is not None:
            return refusal
        query = dict(request.query_params)
        window = _window(query)
        size, number = query.get("PageSize", str(DEFAULT_PAGE_SIZE)), query.get("Page", "0")
        if window is None:
            return _refuse(Refusal(20422, "DateSent"))
        if not size.isdecimal() or int(size) < 1 or not number.isdecimal():
            return _refuse(Refusal(20422, "PageSize"))
        page_size = min(int(size), MAX_PAGE_SIZE)
        last = self._by_sid(query.get("PageToken", "").removeprefix("PA"))
        search = Search(
            provider=Provider.TWILIO,
            limit=page_size + 1,
            before=last.key if last else 2**62,
            address=query.get("To"),
            since=window.since,
            until=window.until,
        )
        found = await self._search(search, query.get("From"))
        return JsonResponse(self._page(request, query, page_size, found))

    async def _search(self, wanted: Search, sender: str | None) -> list[StoredMessage]:
        """Like the record's search, and by sender, which only the payload tells."""
        found = await self._record.search(wanted)
        if sender is None:
            return found
        kept = [stored for stored in found if self._poster.text(stored).sender == sender]
        while len(kept) < wanted.limit and found:
            found = await self._record.search(
                Search(
                    provider=wanted.provider,
                    limit=wanted.limit,
                    before=found[-1].key,
                    address=wanted.address,
                    since=wanted.since,
                    until=wanted.until,
                )
            )
            kept += [stored for stored in found if self._poster.text(stored).sender == sender]
        return kept[: wanted.limit]

    def _page(
        self, request: Request, query: Mapping[str, str], page_size: int, found: list[StoredMessage]
    ) -> dict[str, object]:
        now = time.time()
        number = int(query.get("Page", "0"))
        shown = [self._poster.text(stored) for stored in found[:page_size]]

        def uri(page: int, token: str | None) -> str:
            paging = {"PageSize": page_size, "Page": page, **({"PageToken": token} if token else {})}
            filters = {name: value for name, value in query.items() if not name.startswith("Page")}
            return f"{request.url.path}?{urlencode({**filters, **paging})}"

        is_more = len(found) > page_size
        return {
            "first_page_uri": uri(0, None),
            "previous_page_uri": None,
            "next_page_uri": uri(number + 1, f"PA{shown[-1].sid}") if is_more else None,
            "uri": uri(number, query.get("PageToken")),
            "page": number,
            "page_size": page_size,
            "start": number * page_size,
            "end": number * page_size + max(len(shown) - 1, 0),
            "messages": [text.resource(now) for text in shown],
        }

    def _admit(self, request: Request) -> Response | None:
        if not is_authorized(request, self._authorization):
            return _refuse(Refusal(20003))
        allowance = self._faults.limits[Provider.TWILIO].take(time.time())
        if not allowance.is_granted:
            refusal = _refuse(Refusal(20429))
            refusal.headers["Retry-After"] = str(allowance.retry_after_seconds)
            return refusal
        if request.path_params["account"] != self._account_sid:
            return _refuse(Refusal(20404, request.url.path))
        return None

    def _check_owner(self, to: str) -> Refusal | None:
        code = 21610 if self._poster.has_stopped(to) else sms_refusal(to)
        return Refusal(code, to) if code else None

    async def _has_written(self, address: str, now: float) -> bool:
        """Whether the owner of this number wrote to us within a day. They only ever write back."""
        since = now - DAY_SECONDS
        earliest = since - HORIZON * self._event_delay_seconds
        search = Search(provider=Provider.TWILIO, limit=MAX_PAGE_SIZE, address=address, since=earliest)
        return any(
            step.what in REPLIES and since < told.due_at(step) <= now
            for told in map(self._poster.text, await self._record.search(search))
            for step in told.steps
        )

    async def _accept(self, form: dict[str, str], now: float) -> StoredMessage:
        request = StoredRequest(
            request_id=self._record.new_request_id(),
            provider=Provider.TWILIO,
            provider_id="SM" + self._random.randbytes(16).hex(),
            accepted_at=now,
        )
        ours = parse_qs(urlsplit(form.get("StatusCallback", "")).query)
        stored = StoredMessage(
            request.request_id * KEYS_PER_REQUEST,
            0,
            ours.get(MESSAGE_PARAMETER, [""])[0],
            ours.get(ORGANISATION_PARAMETER, [""])[0],
            ours.get(SEND_PARAMETER, [""])[0],
            form["To"],
            starts_at(form, now),
            orjson.dumps(form),
        )
        self._poster.announce(request.request_id, now)
        try:
            await self._record.accept(request, [stored])
        except sqlite3.Error:
            self._poster.withdraw(request.request_id)
            raise
        self._poster.schedule(request.request_id, [stored])
        return stored

    def _by_sid(self, sid: str) -> StoredMessage | None:
        request = self._record.request_by_provider_id(sid)
        if request is None or request.provider is not Provider.TWILIO:
            return None
        return self._record.message(request.request_id * KEYS_PER_REQUEST)


class _Window(NamedTuple):
    since: float
    until: float


def _window(query: Mapping[str, str]) -> _Window | None:
    """The time window of DateSent, DateSent< and DateSent>, each included; None when one cannot be read.

    `DateSent<=2026-01-31` in an address is the parameter `DateSent<`, hence the inclusion.
    """
    since, until = 0.0, FAR_FUTURE
    for name in ("DateSent", "DateSent<", "DateSent>"):
        if name not in query:
            continue
        try:
            moment = datetime.fromisoformat(query[name])
        except ValueError:
            return None
        start = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
        end = start + (DAY_SECONDS if len(query[name]) == 10 else 1)
        since = since if name == "DateSent<" else max(since, start)
        until = until if name == "DateSent>" else min(until, end)
    return _Window(since, until)


def _refuse(refusal: Refusal) -> JsonResponse:
    return JsonResponse(refusal.body, status_code=refusal.status)

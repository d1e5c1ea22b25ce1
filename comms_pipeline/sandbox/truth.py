"""What tests and people ask the sandbox itself: what it accepted and owes, how it looked, what to break."""

import time
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import jinja2
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from comms_pipeline.sandbox.faults import FAULT_RULES, Faults
from comms_pipeline.sandbox.poster import Poster
from comms_pipeline.sandbox.record import Provider, Record, StoredMessage
from comms_pipeline.sandbox.wire import BodyTooLargeError, JsonResponse, read_body

PAGE_LIMIT = 10_000
SHOWN_MESSAGES = 50
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; frame-ancestors 'none'"
# Nothing is loaded from elsewhere: looking at a message here must not count as an open.
_PREVIEW_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)


class TruthApi:
    """`/_sandbox/*` and the page at `/`. Open to whoever reaches the port, which listens on loopback only."""

    def __init__(self, record: Record, poster: Poster, faults: Faults) -> None:
        self._record = record
        self._poster = poster
        self._faults = faults
        templates = jinja2.FileSystemLoader(Path(__file__).parent)
        self._page = jinja2.Environment(loader=templates, autoescape=True).get_template("inbox.html")

    def routes(self) -> list[Route]:
        return [
            Route("/", self.inbox),
            Route("/_sandbox/preview/{key:int}", self.preview),
            Route("/_sandbox/health", self.health),
            Route("/_sandbox/summary", self.summary),
            Route("/_sandbox/messages", self.messages),
            Route("/_sandbox/message/{message_id}", self.message),
            Route("/_sandbox/faults", self.add_faults, methods=["POST"]),
            Route("/_sandbox/faults", self.clear_faults, methods=["DELETE"]),
        ]

    async def health(self, _request: Request) -> Response:
        """Whether it serves, and how many steps of recipients it still owes."""
        return JsonResponse({"status": "ok", "owed": self._poster.owed})

    async def summary(self, _request: Request) -> Response:
        """Counts per provider and of webhooks. `duplicates` are acceptances of an id accepted before."""
        providers = {
            provider: {
                "accepted": accepted,
                "distinct": distinct,
                "duplicates": accepted - distinct - nameless,
                "nameless": nameless,
            }
            for provider, accepted, distinct, nameless in await self._record.totals()
        }
        webhooks = {"posted": self._poster.posted, "owed": self._poster.owed}
        return JsonResponse({"providers": providers, "webhooks": webhooks})

    async def messages(self, request: Request) -> Response:
        """Accepted messages, oldest first: `?provider=&send=&cursor=&limit=`; `next` is a cursor or null."""
        query = request.query_params
        cursor, limit = query.get("cursor") or "0", query.get("limit") or "1000"
        if not cursor.isdecimal() or not limit.isdecimal() or not 1 <= int(limit) <= PAGE_LIMIT:
            return JsonResponse(
                {"error": f"cursor and limit (1 to {PAGE_LIMIT}) are numbers"}, status_code=400
            )
        rows = await self._record.listing(
            provider=query.get("provider") or None,
            send=query.get("send") or None,
            after=int(cursor),
            limit=int(limit),
        )
        names = ("provider", "id", "message", "org", "send", "accepted_at", "accepted")
        listed = [dict(zip(names, row[1:], strict=True)) for row in rows]
        return JsonResponse({"messages": listed, "next": rows[-1][0] if len(rows) == int(limit) else None})

    async def message(self, request: Request) -> Response:
        """One message by our id, in full, as of its latest acceptance; `accepted` counts them all."""
        found = self._record.messages_of_id(request.path_params["message_id"])
        if not found:
            return JsonResponse({"error": "no message with this id was accepted"}, status_code=404)
        shown = self._full(next(stored for stored in found if stored.recipient == 0))
        return JsonResponse({**shown, "accepted": sum(stored.recipient == 0 for stored in found)})

    async def add_faults(self, request: Request) -> Response:
        """Add a JSON list of rules (`faults.FaultRule`)."""
        try:
            self._faults.add(FAULT_RULES.validate_json(await read_body(request, 1024 * 1024)))
        except BodyTooLargeError:
            return JsonResponse({"error": "too long"}, status_code=413)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            return JsonResponse({"error": f"{where}: {first['msg']}"}, status_code=400)
        return Response(status_code=204)

    async def clear_faults(self, _request: Request) -> Response:
        self._faults.clear()
        return Response(status_code=204)

    async def inbox(self, request: Request) -> Response:
        """The latest messages, and one as its recipient sees it (`?key=`)."""
        latest = self._record.latest_messages(SHOWN_MESSAGES)
        key = request.query_params.get("key", "")
        shown = self._record.message(int(key)) if key.isdecimal() and len(key) < 19 else None
        page = self._page.render(
            messages=[self._line(stored) for stored in latest],
            shown=self._full(shown) | {"key": shown.key} if shown else None,
        )
        return HTMLResponse(page, headers={"Content-Security-Policy": _PAGE_POLICY})

    async def preview(self, request: Request) -> Response:
        """A message's HTML body alone, for the frame of the page."""
        stored = self._record.message(request.path_params["key"])
        accepted = self._record.request(stored.request_id) if stored else None
        if stored is None or accepted is None or accepted.provider is Provider.TWILIO:
            return Response(status_code=404)
        return HTMLResponse(
            self._poster.mail(stored).rendered.html, headers={"Content-Security-Policy": _PREVIEW_POLICY}
        )

    def _line(self, stored: StoredMessage) -> dict[str, Any]:
        full = self._full(stored)
        return {
            "key": stored.key,
            "to": full["to"],
            "at": datetime.fromtimestamp(full["accepted_at"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "provider": full["provider"],
            "subject": full["subject"] or full["text"][:80],
            "status": full["status"],
        }

    def _full(self, stored: StoredMessage) -> dict[str, Any]:
        request, now = self._record.request(stored.request_id), time.time()
        common = {
            "provider": request.provider,
            "message": stored.message_id,
            "org": stored.organisation,
            "send": stored.send,
            "to": stored.address,
            "accepted_at": request.accepted_at,
            "categories": request.categories,
        }
        told: dict[str, Any]
        if request.provider is Provider.TWILIO:
            text = self._poster.text(stored)
            told = {
                "id": text.sid,
                "status": text.status(now)[0],
                "sender": text.sender,
                "subject": "",
                "text": text.text,
                "html": "",
                "headers": {},
            }
        else:
            mail = self._poster.mail(stored)
            told = mail.rendered._asdict()
            is_sendgrid = request.provider is Provider.SENDGRID
            told |= {
                "id": mail.sg_message_id if is_sendgrid else request.provider_id,
                "status": mail.status(now)[0],
            }
        body = f"{told['text']}\0{told['html']}".encode()
        return {**common, **told, "body_digest": blake2b(body, digest_size=16).hexdigest()}

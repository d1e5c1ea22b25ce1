"""Opens and clicks: the pixel and the tracked links of messages, landed before they are answered.

A person comes first: the pixel is always an image, and a click leads on also when the ledger is down. Nobody is
redirected to where we did not sign for.
"""

import logging
from base64 import b64decode
from datetime import UTC, datetime

import psycopg
from fastapi import APIRouter, Request
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from comms_pipeline.domain.links import PATHS, click_target, is_safe_target
from comms_pipeline.domain.tokens import Purpose, TokenClaims, TokenKeys
from comms_pipeline.ledger.landing import land
from comms_pipeline.providers import own_events
from comms_pipeline.providers.own_events import Hit, hit_body

PIXEL = b64decode("R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
"""One transparent pixel, GIF89a: 43 bytes."""
_PREFETCH_HEADERS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_PREFETCH_WORDS = ("prefetch", "prerender", "preview")
# Somebody is waiting.
_DATABASE_TIMEOUT_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Tracking:
    """The endpoints behind `/o/{token}` and `/c/{token}?to=…`."""

    def __init__(self, keys: TokenKeys, pool: ConnectionPool, public_url: str) -> None:
        self._keys = keys
        self._pool = pool
        self._public_url = public_url

    def router(self) -> APIRouter:
        """The routes, for the app to include."""
        router = APIRouter(tags=["tracking"])
        # Also what is no token at all gets its image.
        pixel, click = PATHS[Purpose.OPEN] + "{token:path}", PATHS[Purpose.CLICK] + "{token}"
        router.get(pixel, response_class=Response)(self.open)
        router.head(pixel, response_class=Response, include_in_schema=False)(self.open)
        router.get(click, status_code=302, response_class=Response)(self.click)
        router.head(click, status_code=302, response_class=Response, include_in_schema=False)(self.click)
        return router

    def open(self, request: Request, token: str) -> Response:
        """The pixel, whatever the token; only one of ours is recorded."""
        claims = self._keys.verify(token, Purpose.OPEN)
        if claims is not None:
            self._record(own_events.OPEN, request, claims)
        return Response(PIXEL, media_type="image/gif")

    def click(self, request: Request, token: str) -> Response:
        """On to the target that the token was signed with."""
        target = click_target(bytes(request.scope["query_string"]).decode("latin-1"))
        if target is None or not is_safe_target(target, self._public_url):
            raise HTTPException(404)
        claims = self._keys.verify(token, Purpose.CLICK, target)
        if claims is None:
            raise HTTPException(404)
        self._record(own_events.CLICK, request, claims, target)
        return Response(status_code=302, headers={"location": target})

    def _record(self, kind: str, request: Request, claims: TokenClaims, url: str | None = None) -> None:
        hit = Hit(
            claims=claims,
            occurred_at=datetime.now(UTC),
            user_agent=request.headers.get("user-agent"),
            is_head=request.method == "HEAD",
            is_prefetch=_is_prefetch(request),
            url=url,
        )
        try:
            with self._pool.connection(timeout=_DATABASE_TIMEOUT_SECONDS) as connection:
                land(connection, own_events.PROVIDER, kind, "", hit_body(hit))
        except psycopg.Error as error:
            _log.error("an event (%s) is lost: %s %s", kind, type(error).__qualname__, error.sqlstate)


def _is_prefetch(request: Request) -> bool:
    """Whether a browser or a mail program fetches this before anybody asked for it."""
    said = " ".join(value for name in _PREFETCH_HEADERS for value in request.headers.getlist(name)).lower()
    return any(word in said for word in _PREFETCH_WORDS)

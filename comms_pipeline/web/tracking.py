"""Opens, clicks and falls into the trap: kept before they are answered. How hits are kept lives in `hits`.

A person comes first: the pixel is always an image, and a click leads on also when the ledger is down. Nobody is
redirected to where we did not sign for.
"""

from base64 import b64decode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.responses import Response

from comms_pipeline.domain.clients import ip_key
from comms_pipeline.domain.links import PATHS, click_target, is_safe_target
from comms_pipeline.domain.tokens import Purpose, TokenClaims, TokenKeys
from comms_pipeline.providers import own_events
from comms_pipeline.providers.own_events import Hit, hit_body

PIXEL = b64decode("R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
"""One transparent pixel, GIF89a: 43 bytes."""
Keep = Callable[[str, bytes], Awaitable[None]]
_PREFETCH_HEADERS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_PREFETCH_WORDS = ("prefetch", "prerender", "preview")


class Tracking:
    """The endpoints behind `/o/{token}`, `/c/{token}?to=…` and `/t/{token}`.

    `keep` returns once a body to be landed as a kind is durable, and never fails. `secret` keys what is kept of
    clients.
    """

    def __init__(self, keys: TokenKeys, keep: Keep, public_url: str, secret: SecretStr) -> None:
        self._keys = keys
        self._keep = keep
        self._public_url = public_url
        self._secret = secret.get_secret_value().encode()

    def router(self) -> APIRouter:
        """The routes, for the app to include."""
        router = APIRouter(tags=["tracking"])
        # Also what is no token at all gets its image.
        pixel, click = PATHS[Purpose.OPEN] + "{token:path}", PATHS[Purpose.CLICK] + "{token}"
        trap = PATHS[Purpose.TRAP] + "{token}"
        router.get(pixel, response_class=Response)(self.open)
        router.head(pixel, response_class=Response, include_in_schema=False)(self.open)
        router.get(click, status_code=302, response_class=Response)(self.click)
        router.head(click, status_code=302, response_class=Response, include_in_schema=False)(self.click)
        router.get(trap, status_code=404, response_class=Response)(self.trap)
        router.head(trap, status_code=404, response_class=Response, include_in_schema=False)(self.trap)
        return router

    async def open(self, request: Request, token: str) -> Response:
        """The pixel, whatever the token; only one of ours is recorded."""
        claims = self._keys.verify(token, Purpose.OPEN)
        if claims is not None:
            await self._record(own_events.OPEN, request, claims)
        return Response(PIXEL, media_type="image/gif")

    async def click(self, request: Request, token: str) -> Response:
        """On to the target that the token was signed with."""
        target = click_target(bytes(request.scope["query_string"]).decode("latin-1"))
        if target is None or not is_safe_target(target, self._public_url):
            raise HTTPException(404)
        claims = self._keys.verify(token, Purpose.CLICK, target)
        if claims is None:
            raise HTTPException(404)
        await self._record(own_events.CLICK, request, claims, target)
        return Response(status_code=302, headers={"location": target})

    async def trap(self, request: Request, token: str) -> Response:
        """The page of a link that does not work, whatever the token; whoever brought one of ours is recorded."""
        claims = self._keys.verify(token, Purpose.TRAP)
        if claims is not None:
            await self._record(own_events.TRAP, request, claims)
        raise HTTPException(404)

    async def _record(self, kind: str, request: Request, claims: TokenClaims, url: str | None = None) -> None:
        hit = Hit(
            claims=claims,
            occurred_at=datetime.now(UTC),
            user_agent=request.headers.get("user-agent"),
            ip_key=ip_key(request.client.host if request.client else None, self._secret),
            is_head=request.method == "HEAD",
            is_prefetch=_is_prefetch(request),
            url=url,
        )
        await self._keep(kind, hit_body(hit))


def _is_prefetch(request: Request) -> bool:
    """Whether a browser or a mail program fetches this before anybody asked for it."""
    said = " ".join(value for name in _PREFETCH_HEADERS for value in request.headers.getlist(name)).lower()
    return any(word in said for word in _PREFETCH_WORDS)

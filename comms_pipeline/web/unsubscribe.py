"""The unsubscribe link of a message. POST acts at once, GET shows a page that can POST, HEAD does nothing.

RFC 8058: no cookies, no login, no redirect, idempotent. The token holds all there is to know, so that an
opt-out needs nothing but the ledger. Finer choices live in `preferences`, where both pages lead.
"""

from fastapi import APIRouter, Request
from psycopg_pool import ConnectionPool
from starlette.responses import Response

from comms_pipeline.domain.links import PATHS
from comms_pipeline.domain.tokens import Purpose, TokenClaims, TokenKeys
from comms_pipeline.web.answers import LimitedBody, Pages
from comms_pipeline.web.subscription import Source, address_claims, page_link, stop


class Unsubscribe:
    """The endpoints behind `/u/{token}`."""

    def __init__(self, keys: TokenKeys, pool: ConnectionPool, pages: Pages) -> None:
        self._keys = keys
        self._pool = pool
        self._pages = pages

    def router(self) -> APIRouter:
        """The routes, for the app to include."""
        router = APIRouter(tags=["unsubscribe"])
        path = PATHS[Purpose.UNSUBSCRIBE] + "{token}"
        router.get(path, response_class=Response)(self.show)
        router.head(path, response_class=Response, include_in_schema=False)(self.show)
        router.post(path, response_class=Response)(self.unsubscribe)
        return router

    def show(self, request: Request, token: str) -> Response:
        """A page that asks; link scanners open links, so opening one changes nothing."""
        claims = address_claims(self._keys, token, Purpose.UNSUBSCRIBE)
        return self._page("unsubscribe", request, claims)

    def unsubscribe(self, request: Request, token: str, _body: LimitedBody) -> Response:
        """Suppress marketing to the address at once, whatever the body.

        The body is `List-Unsubscribe=One-Click`, urlencoded or multipart, from mailbox providers and from our
        page alike. It says nothing the token does not, and a mangled one must not cost anybody an opt-out.
        """
        claims = address_claims(self._keys, token, Purpose.UNSUBSCRIBE)
        with self._pool.connection() as connection:
            stop(connection, claims, Source.UNSUBSCRIBE_LINK)
        return self._page("unsubscribed", request, claims)

    def _page(self, name: str, request: Request, claims: TokenClaims) -> Response:
        texts = self._pages.texts(request)
        preferences = page_link(self._keys, claims, Purpose.PREFERENCES)
        return self._pages.answer(
            name,
            texts,
            by=texts(f"by.{claims.channel}"),
            # Relative, for installations whose public address has a path.
            preferences=f"..{PATHS[Purpose.PREFERENCES]}{preferences}{texts.query}",
        )

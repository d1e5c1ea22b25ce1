"""The unsubscribe link of a message. POST acts at once, GET shows a page that can POST, HEAD does nothing.

RFC 8058: no cookies, no login, no redirect, idempotent. The token holds all there is to know, so that an
opt-out needs nothing but the ledger. Preferences live elsewhere.
"""

from fastapi import APIRouter
from psycopg_pool import ConnectionPool
from starlette.responses import Response

from comms_pipeline.domain.links import PATHS
from comms_pipeline.domain.tokens import Purpose, TokenKeys
from comms_pipeline.web.answers import LimitedBody, Pages
from comms_pipeline.web.subscription import NOUNS, Source, address_claims, stop


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

    def show(self, token: str) -> Response:
        """A page that asks; link scanners open links, so opening one changes nothing."""
        claims = address_claims(self._keys, token, Purpose.UNSUBSCRIBE)
        return self._pages.answer("confirm", noun=NOUNS[claims.channel])

    def unsubscribe(self, token: str, _body: LimitedBody) -> Response:
        """Suppress the address at once, whatever the body.

        The body is `List-Unsubscribe=One-Click`, urlencoded or multipart, from mailbox providers and from our
        page alike. It says nothing the token does not, and a mangled one must not cost anybody an opt-out.
        """
        claims = address_claims(self._keys, token, Purpose.UNSUBSCRIBE)
        with self._pool.connection() as connection:
            stop(connection, claims, Source.UNSUBSCRIBE_LINK)
        return self._pages.answer("done", noun=NOUNS[claims.channel])

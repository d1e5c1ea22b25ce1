"""The unsubscribe link of a message. POST acts at once, GET shows a page that can POST, HEAD does nothing.

RFC 8058: no cookies, no login, no redirect, idempotent. The token holds all there is to know, so that an
opt-out needs nothing but the ledger. Preferences live elsewhere.
"""

from fastapi import APIRouter
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose, TokenClaims, TokenKeys
from comms_pipeline.ledger.landing import land
from comms_pipeline.ledger.suppressions import Suppression, suppress
from comms_pipeline.providers import own_events
from comms_pipeline.web.answers import PAGES_PREFIX, LimitedBody, Pages

_SOURCE = "unsubscribe-link"
_NOUNS = {
    Channel.EMAIL: "e-mails",
    Channel.SMS: "text messages",
    Channel.WHATSAPP: "WhatsApp messages",
}


class Unsubscribe:
    """The endpoints behind `/u/{token}`."""

    def __init__(self, keys: TokenKeys, pool: ConnectionPool, pages: Pages) -> None:
        self._keys = keys
        self._pool = pool
        self._pages = pages

    def router(self) -> APIRouter:
        """The routes, for the app to include."""
        router = APIRouter(tags=["unsubscribe"])
        path = PAGES_PREFIX + "{token}"
        router.get(path, response_class=Response)(self.show)
        router.head(path, response_class=Response, include_in_schema=False)(self.show)
        router.post(path, response_class=Response)(self.unsubscribe)
        return router

    def show(self, token: str) -> Response:
        """A page that asks; link scanners open links, so opening one changes nothing."""
        return self._pages.answer("confirm", noun=_NOUNS[self._claims(token).channel])

    def unsubscribe(self, token: str, _body: LimitedBody) -> Response:
        """Suppress the address at once, whatever the body.

        The body is `List-Unsubscribe=One-Click`, urlencoded or multipart, from mailbox providers and from our
        page alike. It says nothing the token does not, and a mangled one must not cost anybody an opt-out.
        """
        claims = self._claims(token)
        row = Suppression(
            organisation_id=claims.organisation_id,
            channel=claims.channel,
            address_key=claims.address_key,
            reason=SuppressionReason.UNSUBSCRIBED,
            source=_SOURCE,
            contact_id=claims.contact_id,
        )
        with self._pool.connection() as connection:
            # Only a change is an event: a link pressed ten times was still one opt-out.
            if suppress(connection, [row]):
                body = own_events.unsubscribe_body(claims)
                land(connection, own_events.PROVIDER, own_events.UNSUBSCRIBE, "", body)
        return self._pages.answer("done", noun=_NOUNS[claims.channel])

    def _claims(self, token: str) -> TokenClaims:
        claims = self._keys.verify(token, Purpose.UNSUBSCRIBE)
        if claims is None or not claims.address_key:
            raise HTTPException(404)
        return claims

"""The preferences link of a message. GET shows how things stand, POST changes it, HEAD does nothing.

One form, one fieldset for each thing to choose: whether to get messages is the only one. Idempotent, without
cookies, login or script. What a choice does to the ledger lives in `subscription`.
"""

from enum import StrEnum
from urllib.parse import parse_qs

import psycopg
from fastapi import APIRouter
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.domain.links import PATHS
from comms_pipeline.domain.tokens import Purpose, TokenClaims, TokenKeys
from comms_pipeline.ledger.sends import get_organisation
from comms_pipeline.web.answers import LimitedBody, Pages
from comms_pipeline.web.subscription import NOUNS, Source, address_claims, how_it_stands, resume, stop

_FIELD = "receive"


class Receive(StrEnum):
    """The answers to whether messages are wanted."""

    YES = "yes"
    NO = "no"


class Preferences:
    """The endpoints behind `/p/{token}`."""

    def __init__(self, keys: TokenKeys, pool: ConnectionPool, pages: Pages) -> None:
        self._keys = keys
        self._pool = pool
        self._pages = pages

    def router(self) -> APIRouter:
        """The routes, for the app to include."""
        router = APIRouter(tags=["preferences"])
        path = PATHS[Purpose.PREFERENCES] + "{token}"
        router.get(path, response_class=Response)(self.show)
        router.head(path, response_class=Response, include_in_schema=False)(self.show)
        router.post(path, response_class=Response)(self.change)
        return router

    def show(self, token: str) -> Response:
        """The page with what is chosen now; opening it changes nothing."""
        claims = address_claims(self._keys, token, Purpose.PREFERENCES)
        with self._pool.connection() as connection:
            return self._page(connection, claims)

    def change(self, token: str, body: LimitedBody) -> Response:
        """Store what was chosen and show the page again. Answers 422 to a form that is not ours."""
        claims = address_claims(self._keys, token, Purpose.PREFERENCES)
        chosen = _chosen(body)
        # One transaction: a page that says "saved" is answered after the commit, any other after none.
        with self._pool.connection() as connection:
            if chosen is Receive.NO:
                stop(connection, claims, Source.PREFERENCES)
            else:
                resume(connection, claims)
            return self._page(connection, claims, chosen)

    def _page(
        self, connection: psycopg.Connection, claims: TokenClaims, chosen: Receive | None = None
    ) -> Response:
        standing = how_it_stands(connection, claims)
        return self._pages.answer(
            "preferences",
            noun=NOUNS[claims.channel],
            sender=_sender(connection, claims.organisation_id),
            standing=standing,
            # Not when a complaint, say, stands in the way of a yes.
            is_saved=chosen is (Receive.YES if standing.receives else Receive.NO),
        )


def _chosen(body: bytes) -> Receive:
    try:
        (answer,) = parse_qs(body.decode("latin-1"), max_num_fields=100).get(_FIELD, [])
        return Receive(answer)
    except ValueError:
        raise HTTPException(422, "the form does not say what was chosen") from None


def _sender(connection: psycopg.Connection, organisation_id: str) -> str:
    try:
        return get_organisation(connection, organisation_id).name
    except NotFound:
        # The link of an organisation that was removed since still has to work.
        return "this sender"

"""Double opt-in: the confirmation link of a message. POST records the consent, GET shows a page that can POST.

A press of the button is the proof, never the opening of the link: scanners open links. What a consent of this kind
allows is decided by rules.
"""

from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address

import psycopg
from fastapi import APIRouter, Request
from psycopg_pool import ConnectionPool
from starlette.responses import Response

from comms_pipeline.domain.consent import ConsentState
from comms_pipeline.domain.links import PATHS
from comms_pipeline.domain.message import EVERY_TOPIC
from comms_pipeline.domain.tokens import Purpose, TokenClaims, TokenKeys
from comms_pipeline.ledger.consents import Consent, latest, put_text, record
from comms_pipeline.web.answers import LimitedBody, Pages
from comms_pipeline.web.languages import Texts
from comms_pipeline.web.subscription import (
    Source,
    address_claims,
    how_it_stands,
    one_at_a_time,
    page_link,
    sender_of,
    subjects,
    want_again,
)

KIND = "double-opt-in"
_TEXT = "double-opt-in-1"


class Confirmation:
    """The endpoints behind `/y/{token}`."""

    def __init__(self, keys: TokenKeys, pool: ConnectionPool, pages: Pages) -> None:
        self._keys = keys
        self._pool = pool
        self._pages = pages

    def router(self) -> APIRouter:
        """The routes, for the app to include."""
        router = APIRouter(tags=["confirmation"])
        path = PATHS[Purpose.CONFIRM] + "{token}"
        router.get(path, response_class=Response)(self.show)
        router.head(path, response_class=Response, include_in_schema=False)(self.show)
        router.post(path, response_class=Response)(self.confirm)
        return router

    def show(self, request: Request, token: str) -> Response:
        """The page that asks; opening it changes nothing."""
        claims = address_claims(self._keys, token, Purpose.CONFIRM)
        texts = self._pages.texts(request)
        with self._pool.connection() as connection:
            wording = _wording(texts, claims, _sender(connection, texts, claims))
        return self._pages.answer("confirm", texts, wording=wording)

    def confirm(self, request: Request, token: str, _body: LimitedBody) -> Response:
        """Record the consent, once, whatever the body: it says nothing the token does not."""
        claims = address_claims(self._keys, token, Purpose.CONFIRM)
        texts = self._pages.texts(request)
        with self._pool.connection() as connection:
            one_at_a_time(connection, claims)
            sender = _sender(connection, texts, claims)
            before = how_it_stands(connection, claims, None)
            # Whoever opted out in the meantime and comes back has consented anew.
            if want_again(connection, claims, before, Source.CONFIRMATION) or not _is_confirmed(
                connection, claims
            ):
                _record(connection, claims, _wording(texts, claims, sender), _client_address(request))
        link = page_link(self._keys, claims, Purpose.PREFERENCES)
        return self._pages.answer(
            "confirmed",
            texts,
            by=texts(f"by.{claims.channel}"),
            sender=sender,
            barrier=texts(f"blocked.{before.barrier}") if before.barrier else "",
            preferences=f"..{PATHS[Purpose.PREFERENCES]}{link}{texts.query}",
        )


def _record(
    connection: psycopg.Connection, claims: TokenClaims, wording: str, client_address: str | None
) -> None:
    # Named after its content: each language, channel and name of the sender is a wording of its own.
    text_version = f"{_TEXT}-{sha256(wording.encode()).hexdigest()[:12]}"
    put_text(connection, claims.organisation_id, text_version, wording, Source.CONFIRMATION)
    consent = Consent(
        organisation_id=claims.organisation_id,
        subject=subjects(claims)[0],
        channel=claims.channel,
        kind=KIND,
        state=ConsentState.GIVEN,
        at=datetime.now(UTC),
        text_version=text_version,
        source=Source.CONFIRMATION,
        ip_address=client_address,
    )
    record(connection, [consent], Source.CONFIRMATION)


def _is_confirmed(connection: psycopg.Connection, claims: TokenClaims) -> bool:
    found = latest(
        connection,
        organisation_id=claims.organisation_id,
        channel=claims.channel,
        purpose=EVERY_TOPIC,
        subjects=subjects(claims),
    )
    newest = max(found.values(), key=lambda consent: consent.at, default=None)
    return newest is not None and (newest.kind, newest.state) == (KIND, ConsentState.GIVEN)


def _wording(texts: Texts, claims: TokenClaims, sender: str) -> str:
    return texts("confirm.wording", by=texts(f"by.{claims.channel}"), sender=sender)


def _sender(connection: psycopg.Connection, texts: Texts, claims: TokenClaims) -> str:
    organisation = sender_of(connection, claims)
    return organisation.name if organisation else texts("sender")


def _client_address(request: Request) -> str | None:
    """The visitor's address, as the web server in front says where there is one; None for what is none."""
    try:
        return str(ip_address(request.client.host)) if request.client else None
    except ValueError:
        return None

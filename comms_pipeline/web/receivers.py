"""Signed webhooks: verify, then land raw and suppress in one transaction, commit, and only then answer 2xx.

Parses just enough to suppress; the rest is the loader's work, from the landing, as often as it likes.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from xml.sax.saxutils import escape

import psycopg
from fastapi import APIRouter, Request
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from comms_pipeline.domain.addresses import address_key
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.event import ProviderEvent, SuppressionReason, SuppressionScope
from comms_pipeline.ledger.landing import land
from comms_pipeline.ledger.organisations import only_organisation
from comms_pipeline.ledger.sends import Organisation
from comms_pipeline.ledger.suppressions import EVERY_ORGANISATION, Suppression, lift, suppress
from comms_pipeline.ledger.windows import note_inbound
from comms_pipeline.providers import sendgrid_events, twilio_events
from comms_pipeline.providers.twilio_events import OptOutWord
from comms_pipeline.settings import Settings
from comms_pipeline.web.answers import LimitedBody

# These say something about the address, or to every sender on its line; the others were said to one sender.
_FOR_EVERY_ORGANISATION = frozenset(
    {SuppressionReason.BOUNCED, SuppressionReason.INVALID, SuppressionReason.STOPPED}
)
# Somebody who unsubscribes from newsletters still gets the invoice; a complaint or a dead address ends everything.
_FOR_MARKETING = frozenset({SuppressionReason.UNSUBSCRIBED})
# What carriers ask of these answers (CTIA Messaging Principles and Best Practices, 5.1): who sends, that it is done
# or how to reach us, how to stop, that rates may apply. One confirmation of a STOP and no more (47 CFR
# 64.1200(a)(12)), which says nothing to win anybody back.
_REPLIES = {
    OptOutWord.STOP: "{sender}You are unsubscribed and will receive no more messages. Reply START to resubscribe.",
    OptOutWord.START: "{sender}You are subscribed again. Msg frequency varies. Msg & data rates may apply. "
    "Reply HELP for help, STOP to stop.",
    OptOutWord.HELP: "{sender}{contact}Msg frequency varies. Msg & data rates may apply. Reply STOP to stop.",
}
_log = logging.getLogger(__name__)


class Receivers:
    """The webhook endpoints over one pool of ledger connections."""

    def __init__(self, settings: Settings, pool: ConnectionPool) -> None:
        self._settings = settings
        self._pool = pool
        self._secret = settings.secret_key.get_secret_value().encode()

    def router(self) -> APIRouter:
        """The routes, for the app to include."""
        router = APIRouter(prefix="/webhooks", tags=["webhooks"])
        router.post("/sendgrid", status_code=204, response_class=Response)(self.sendgrid)
        router.post("/twilio/status", status_code=204, response_class=Response)(self.twilio_status)
        router.post("/twilio/inbound", response_class=Response)(self.twilio_inbound)
        return router

    def sendgrid(self, request: Request, body: LimitedBody) -> Response:
        """SendGrid's signed event webhook."""
        key = self._settings.sendgrid_webhook_key
        if not key:
            raise ProviderMisconfigured(
                "COMMS_SENDGRID_WEBHOOK_KEY", "is not set", "Copy it from SendGrid's Signed Event Webhook"
            )
        if not sendgrid_events.verify(request.headers, body, key, datetime.now(UTC)):
            raise _forbidden(sendgrid_events.PROVIDER)
        rows = self._suppressions(
            (event, sendgrid_events.suppression_reason(event)) for event in sendgrid_events.parse(body)
        )
        with self._pool.connection() as connection:
            land(connection, sendgrid_events.PROVIDER, "events", _query(request), body)
            suppress(connection, rows)
        return Response(status_code=204)

    def twilio_status(self, request: Request, body: LimitedBody) -> Response:
        """Twilio's status callback; our message and organisation ids are in its query."""
        self._verify_twilio(request, body)
        event = twilio_events.parse_status(_query(request), body)
        rows = self._suppressions([(event, twilio_events.suppression_reason(event))])
        with self._pool.connection() as connection:
            land(connection, twilio_events.PROVIDER, "status", _query(request), body)
            suppress(connection, rows)
        return Response(status_code=204)

    def twilio_inbound(self, request: Request, body: LimitedBody) -> Response:
        """An inbound message: STOP suppresses for every organisation, START lifts that. Answers TwiML.

        Whatever it says, it opens the channel's reply window where there is one.
        """
        self._verify_twilio(request, body)
        event = twilio_events.parse_inbound(body)
        params = twilio_events.form(body)
        word = twilio_events.inbound_word(params)
        with self._pool.connection() as connection:
            land(connection, twilio_events.PROVIDER, "inbound", _query(request), body)
            if key := self._address_key(event):
                note_inbound(connection, event.channel, key)
            if word is OptOutWord.STOP:
                suppress(connection, self._suppressions([(event, SuppressionReason.STOPPED)]))
            elif word is OptOutWord.START:
                self._lift(connection, event)
            sender = only_organisation(connection) if word else None
        # Where Twilio's Advanced Opt-Out is on it says so, and has answered already: one confirmation is
        # allowed, not two (47 CFR 64.1200(a)(12)).
        reply = _reply(word, sender) if word and "OptOutType" not in params else None
        return Response(_twiml(reply), media_type="application/xml")

    def _verify_twilio(self, request: Request, body: bytes) -> None:
        # Twilio signs the address it was given; behind a proxy the Host header is another one, and forgeable.
        query = _query(request)
        url = f"{self._settings.public_url}{request.url.path}{'?' if query else ''}{query}"
        signature = request.headers.get(twilio_events.SIGNATURE_HEADER)
        token = self._settings.twilio_auth_token.get_secret_value()
        if not twilio_events.verify(url, twilio_events.form(body), signature, token):
            raise _forbidden(twilio_events.PROVIDER)

    def _suppressions(
        self, found: Iterable[tuple[ProviderEvent, SuppressionReason | None]]
    ) -> list[Suppression]:
        rows = []
        for event, reason in found:
            key = self._address_key(event) if reason else None
            if reason is None or key is None:
                continue
            is_for_all = reason in _FOR_EVERY_ORGANISATION or event.organisation_id is None
            rows.append(
                Suppression(
                    organisation_id=EVERY_ORGANISATION if is_for_all else event.organisation_id or "",
                    channel=event.channel,
                    address_key=key,
                    reason=reason,
                    source=event.provider,
                    scope=SuppressionScope.MARKETING if reason in _FOR_MARKETING else SuppressionScope.ALL,
                )
            )
        return rows

    def _lift(self, connection: psycopg.Connection, event: ProviderEvent) -> None:
        key = self._address_key(event)
        if key is not None:
            lift(
                connection,
                organisation_id=EVERY_ORGANISATION,
                channel=event.channel,
                address_keys=[key],
                reasons=[SuppressionReason.STOPPED],
                actor=event.provider,
            )

    def _address_key(self, event: ProviderEvent) -> bytes | None:
        return address_key(event.address, event.channel, self._secret) if event.address else None


def _query(request: Request) -> str:
    return bytes(request.scope["query_string"]).decode("latin-1")


def _forbidden(provider: str) -> HTTPException:
    _log.warning("refused a webhook that %s did not sign, or too long ago", provider)
    return HTTPException(403, "the signature is missing, wrong or too old")


def _reply(word: OptOutWord, sender: Organisation | None) -> str:
    """The answer to a word. It names the sender where there is only one; a number of many speaks for all of them."""
    if sender is None:
        return _REPLIES[word].format(sender="", contact="For help, contact the sender. ")
    contact = f"For help, write to {sender.postal_address}. " if sender.postal_address else ""
    return _REPLIES[word].format(sender=f"{sender.name}: ", contact=contact)


def _twiml(reply: str | None) -> str:
    message = f"<Message>{escape(reply)}</Message>" if reply else ""
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{message}</Response>'

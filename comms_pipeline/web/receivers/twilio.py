"""Twilio's webhooks: status callbacks, and inbound messages with their answers in TwiML."""

from datetime import timedelta
from xml.sax.saxutils import escape

import psycopg
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from comms_pipeline.domain.event import ProviderEvent, SuppressionReason
from comms_pipeline.ledger.organisations import only_organisation
from comms_pipeline.ledger.sends import Organisation
from comms_pipeline.ledger.suppressions import EVERY_ORGANISATION, lift
from comms_pipeline.ledger.webhooks import Once, Webhook, take_in
from comms_pipeline.ledger.windows import note_inbound
from comms_pipeline.providers import twilio_events
from comms_pipeline.providers.twilio_events import OptOutWord
from comms_pipeline.settings import Settings
from comms_pipeline.web.receivers.door import Door, forbidden, raw_query

MAX_BODY_BYTES = 100_000
# Twilio signs no time, so that nothing else ends what somebody else has recorded: a START that lifts a later STOP.
REMEMBERED = timedelta(days=400)
# What carriers ask of these answers (CTIA Messaging Principles and Best Practices, 5.1): who sends, that it is done
# or how to reach us, how to stop, that rates may apply. One confirmation of a STOP and no more (47 CFR
# 64.1200(a)(12)), which says nothing to win anybody back.
_REPLIES = {
    OptOutWord.STOP: "{sender}You are unsubscribed and will receive no more messages. Reply START to resubscribe.",
    OptOutWord.START: "{sender}You are subscribed again. Msg frequency varies. Msg & data rates may apply. "
    "Reply HELP for help, STOP to stop.",
    OptOutWord.HELP: "{sender}{contact}Msg frequency varies. Msg & data rates may apply. Reply STOP to stop.",
}


class TwilioReceiver:
    """The endpoints `/webhooks/twilio/status` and `/webhooks/twilio/inbound`."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._token = settings.twilio_auth_token.get_secret_value()
        self._public_url = settings.public_url
        self._door = door

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.post("/twilio/status", status_code=204, response_class=Response)(self.twilio_status)
        router.post("/twilio/inbound", response_class=Response)(self.twilio_inbound)

    async def twilio_status(self, request: Request) -> Response:
        """Twilio's status callback; our message and organisation ids are in its query.

        One that suppresses does so once: whoever records it cannot undo what people lift.
        """
        body = await self._verified(request)
        query = raw_query(request)
        event = twilio_events.parse_status(query, body)
        rows = self._door.suppressions([(event, twilio_events.suppression_reason(event))])
        webhook = Webhook(
            provider=twilio_events.PROVIDER,
            kind="status",
            query=query,
            body=body,
            suppressions=rows,
            once=_once(event) if rows else None,
        )
        await self._door.take_in(webhook)
        return Response(status_code=204)

    async def twilio_inbound(self, request: Request) -> Response:
        """An inbound message: STOP suppresses for every organisation, START lifts that. Answers TwiML.

        Whatever it says, it opens the channel's reply window where there is one. A repeated one gets the same answer
        and changes nothing.
        """
        body = await self._verified(request)
        event = twilio_events.parse_inbound(body)
        params = twilio_events.form(body)
        word = twilio_events.inbound_word(params)
        stops = [(event, SuppressionReason.STOPPED)] if word is OptOutWord.STOP else []
        webhook = Webhook(
            provider=twilio_events.PROVIDER,
            kind="inbound",
            query=raw_query(request),
            body=body,
            suppressions=self._door.suppressions(stops),
            once=_once(event),
        )
        sender = await run_in_threadpool(self._take_in_message, webhook, event, word)
        # Where Twilio's Advanced Opt-Out is on it says so, and has answered already: one confirmation is
        # allowed, not two (47 CFR 64.1200(a)(12)).
        reply = _reply(word, sender) if word and "OptOutType" not in params else None
        return Response(_twiml(reply), media_type="application/xml")

    def _take_in_message(
        self, webhook: Webhook, event: ProviderEvent, word: OptOutWord | None
    ) -> Organisation | None:
        """Store what follows from a message in one transaction; returns who answers it by name."""
        with self._door.pool.connection() as connection:
            (is_new,) = take_in(connection, [webhook])
            if is_new and (key := self._door.address_key(event)):
                note_inbound(connection, event.channel, key)
                if word is OptOutWord.START:
                    _lift(connection, event, key)
            return only_organisation(connection) if word else None

    async def _verified(self, request: Request) -> bytes:
        body = await self._door.body(request, twilio_events.PROVIDER, MAX_BODY_BYTES)
        # Twilio signs the address it was given; behind a proxy the Host header is another one, and forgeable.
        query = raw_query(request)
        url = f"{self._public_url}{request.url.path}{'?' if query else ''}{query}"
        signature = request.headers.get(twilio_events.SIGNATURE_HEADER)
        if not twilio_events.verify(url, twilio_events.form(body), signature, self._token):
            raise forbidden(twilio_events.PROVIDER)
        return body


def _once(event: ProviderEvent) -> Once:
    return Once(webhook_id=f"{event.raw_kind}:{event.provider_event_id}", lasts=REMEMBERED)


def _lift(connection: psycopg.Connection, event: ProviderEvent, address_key: bytes) -> None:
    lift(
        connection,
        organisation_id=EVERY_ORGANISATION,
        channel=event.channel,
        address_keys=[address_key],
        reasons=[SuppressionReason.STOPPED],
        actor=event.provider,
    )


def _reply(word: OptOutWord, sender: Organisation | None) -> str:
    """The answer to a word. It names the sender where there is only one; a number of many speaks for all of them."""
    if sender is None:
        return _REPLIES[word].format(sender="", contact="For help, contact the sender. ")
    contact = f"For help, write to {sender.postal_address}. " if sender.postal_address else ""
    return _REPLIES[word].format(sender=f"{sender.name}: ", contact=contact)


def _twiml(reply: str | None) -> str:
    message = f"<Message>{escape(reply)}</Message>" if reply else ""
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{message}</Response>'

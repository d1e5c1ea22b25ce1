"""Mailgun's webhook: one event a post. Its signature covers a token and not the event, so each token is good once."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from comms_pipeline.ledger.webhooks import Once, Webhook
from comms_pipeline.providers import mailgun_events
from comms_pipeline.settings import Settings
from comms_pipeline.web.receivers.door import Door, forbidden

MAX_BODY_BYTES = 1_000_000
REMEMBERED = mailgun_events.OLDEST_ACCEPTED + mailgun_events.NEWEST_ACCEPTED + timedelta(hours=1)
"""As long as a token's time would be accepted, and a margin."""


class MailgunReceiver:
    """The endpoint `/webhooks/mailgun`.

    Mailgun repeats for 8 hours what is answered with anything but 200 and 406, so 406 is what a seen token gets.
    """

    def __init__(self, settings: Settings, door: Door) -> None:
        self._key = settings.mailgun_webhook_key.get_secret_value()
        self._door = door

    def add_to(self, router: APIRouter) -> None:
        """Add the route."""
        router.post("/mailgun", status_code=200, response_class=Response)(self.mailgun)

    async def mailgun(self, request: Request) -> Response:
        """Mailgun's signed webhook."""
        body = await self._door.body(request, mailgun_events.PROVIDER, MAX_BODY_BYTES)
        shown = mailgun_events.signature(body)
        if not mailgun_events.verify(shown, self._key, datetime.now(UTC)) or shown is None:
            raise forbidden(mailgun_events.PROVIDER)
        events = mailgun_events.parse(body)
        webhook = Webhook(
            provider=mailgun_events.PROVIDER,
            kind="events",
            body=body,
            suppressions=self._door.suppressions(
                (event, mailgun_events.suppression_reason(event)) for event in events
            ),
            once=Once(webhook_id=shown.token, lasts=REMEMBERED),
        )
        if not await self._door.take_in(webhook):
            raise HTTPException(406, "this token was used before")
        return Response(status_code=200)

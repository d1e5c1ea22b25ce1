"""Resend's webhook: one event a post, signed by Svix."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from comms_pipeline.ledger.webhooks import Once, Webhook
from comms_pipeline.providers import resend_events
from comms_pipeline.settings import Settings
from comms_pipeline.web.receivers.door import Door, forbidden

MAX_BODY_BYTES = 1_000_000
# Svix repeats for 28 hours, under the same id.
REMEMBERED = timedelta(hours=48)


class ResendReceiver:
    """The endpoint `/webhooks/resend`. What comes again under its id gets its 2xx, and nothing is stored."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._secret = settings.resend_webhook_secret.get_secret_value()
        self._door = door

    def add_to(self, router: APIRouter) -> None:
        """Add the route."""
        router.post("/resend", status_code=204, response_class=Response)(self.resend)

    async def resend(self, request: Request) -> Response:
        """Resend's signed webhook."""
        body = await self._door.body(request, resend_events.PROVIDER, MAX_BODY_BYTES)
        if not resend_events.verify(request.headers, body, self._secret, datetime.now(UTC)):
            raise forbidden(resend_events.PROVIDER)
        webhook_id = request.headers[resend_events.ID_HEADER]
        query = resend_events.landed_query(webhook_id)
        events = resend_events.parse(query, body)
        webhook = Webhook(
            provider=resend_events.PROVIDER,
            kind="events",
            query=query,
            body=body,
            suppressions=self._door.suppressions(
                (event, resend_events.suppression_reason(event)) for event in events
            ),
            once=Once(webhook_id=webhook_id, lasts=REMEMBERED),
        )
        await self._door.take_in(webhook)
        return Response(status_code=204)

"""SendGrid's signed event webhook: up to some thousand events a post."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.ledger.webhooks import Webhook
from comms_pipeline.providers import sendgrid_events
from comms_pipeline.settings import Settings
from comms_pipeline.web.receivers.door import Door, forbidden, raw_query

MAX_BODY_BYTES = 5_000_000
"""SendGrid posts at most 768 kB at a time."""


class SendGridReceiver:
    """The endpoint `/webhooks/sendgrid`. A repeated post is landed again: the loader knows its events."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._key = settings.sendgrid_webhook_key
        self._door = door

    def add_to(self, router: APIRouter) -> None:
        """Add the route."""
        router.post("/sendgrid", status_code=204, response_class=Response)(self.sendgrid)

    async def sendgrid(self, request: Request) -> Response:
        """SendGrid's signed event webhook."""
        body = await self._door.body(request, sendgrid_events.PROVIDER, MAX_BODY_BYTES)
        if not self._key:
            raise ProviderMisconfigured(
                "COMMS_SENDGRID_WEBHOOK_KEY", "is not set", "Copy it from SendGrid's Signed Event Webhook"
            )
        if not sendgrid_events.verify(request.headers, body, self._key, datetime.now(UTC)):
            raise forbidden(sendgrid_events.PROVIDER)
        webhook = Webhook(
            provider=sendgrid_events.PROVIDER,
            kind="events",
            query=raw_query(request),
            body=body,
            suppressions=self._door.suppressions(sendgrid_events.suppressions(body)),
        )
        await self._door.take_in(webhook)
        return Response(status_code=204)

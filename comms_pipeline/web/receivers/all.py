"""The one list of receivers: a provider's webhooks are a module and a line here."""

from fastapi import APIRouter
from fastapi.routing import APIRoute
from psycopg_pool import ConnectionPool

from comms_pipeline.settings import Settings
from comms_pipeline.web.receivers.door import Door
from comms_pipeline.web.receivers.gate import Endpoint
from comms_pipeline.web.receivers.mailgun import MailgunReceiver
from comms_pipeline.web.receivers.resend import ResendReceiver
from comms_pipeline.web.receivers.sendgrid import SendGridReceiver
from comms_pipeline.web.receivers.twilio import TwilioReceiver

_RECEIVERS = (SendGridReceiver, TwilioReceiver, ResendReceiver, MailgunReceiver)


class Receivers:
    """The webhook endpoints over the ledger at `conninfo`; `pool` serves what is no mere landing."""

    def __init__(self, settings: Settings, pool: ConnectionPool, conninfo: str) -> None:
        self._door = Door(settings, pool, conninfo)
        self._router = APIRouter(prefix="/webhooks", tags=["webhooks"])
        for receiver in _RECEIVERS:
            receiver(settings, self._door).add_to(self._router)

    def router(self) -> APIRouter:
        """The routes, for the app to include and describe."""
        return self._router

    def endpoints(self) -> dict[str, Endpoint]:
        """The same by their paths, for `gate.Gate`."""
        return {route.path: route.endpoint for route in self._router.routes if isinstance(route, APIRoute)}

    def open(self) -> None:
        """Connect, without waiting for the database."""
        self._door.open()

    async def close(self) -> None:
        """Wait for what is being stored."""
        await self._door.close()

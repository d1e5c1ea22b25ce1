"""What every receiver shares: who may come in, how much they may bring, and how it is stored. Knows no provider."""

import logging
import math
from collections.abc import Iterable

from fastapi import Request
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException

from comms_pipeline.domain.addresses import address_key
from comms_pipeline.domain.event import ProviderEvent, SuppressionReason, SuppressionScope
from comms_pipeline.ledger.suppressions import EVERY_ORGANISATION, Suppression
from comms_pipeline.ledger.webhooks import Webhook
from comms_pipeline.settings import Settings
from comms_pipeline.web.answers import read_body
from comms_pipeline.web.receivers.intake import Intake
from comms_pipeline.web.receivers.rates import ClientRates

# These say something about the address, or to every sender on its line; the others were said to one sender.
_FOR_EVERY_ORGANISATION = frozenset(
    {SuppressionReason.BOUNCED, SuppressionReason.INVALID, SuppressionReason.STOPPED}
)
# Somebody who unsubscribes from newsletters still gets the invoice; a complaint or a dead address ends everything.
_FOR_MARKETING = frozenset({SuppressionReason.UNSUBSCRIBED})
_log = logging.getLogger(__name__)


class Door:
    """The way in of all receivers of one app."""

    def __init__(self, settings: Settings, pool: ConnectionPool, conninfo: str) -> None:
        self.pool = pool
        self._secret = settings.secret_key.get_secret_value().encode()
        self._rates = ClientRates(settings.webhook_rate)
        self._intake = Intake(conninfo)

    def open(self) -> None:
        """Connect, without waiting for the database."""
        self._intake.open()

    async def close(self) -> None:
        """Wait for what is being stored."""
        await self._intake.close()

    async def body(self, request: Request, provider: str, most_bytes: int) -> bytes:
        """The raw body. Raises an `HTTPException`: 429 for a client that calls too often, 413 for too large a body."""
        wait = self._rates.wait(provider, request.client.host if request.client else "")
        if wait:
            _log.warning("a client calls the receiver of %s more often than COMMS_WEBHOOK_RATE", provider)
            raise HTTPException(429, "too many requests", {"retry-after": str(math.ceil(wait))})
        return await read_body(request, most_bytes)

    async def take_in(self, webhook: Webhook) -> bool:
        """Store a verified webhook durably; whether it is new. Raises `psycopg.Error` when nothing was stored."""
        return await self._intake.take_in(webhook)

    def suppressions(
        self, found: Iterable[tuple[ProviderEvent, SuppressionReason | None]]
    ) -> list[Suppression]:
        """The rows that events call for, as far as they name an address and a reason."""
        rows = []
        for event, reason in found:
            key = self.address_key(event) if reason else None
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

    def address_key(self, event: ProviderEvent) -> bytes | None:
        """The keyed hash of the event's address, where it names one."""
        return address_key(event.address, event.channel, self._secret) if event.address else None


def raw_query(request: Request) -> str:
    """The query as it came."""
    return bytes(request.scope["query_string"]).decode("latin-1")


def forbidden(provider: str) -> HTTPException:
    """The answer to what the provider did not sign."""
    _log.warning("refused a webhook that %s did not sign, or too long ago", provider)
    return HTTPException(403, "the signature is missing, wrong or too old")

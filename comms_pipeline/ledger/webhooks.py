"""Takes verified webhooks in, many in one transaction: raw, with the suppressions they call for, each id once.

Verifies nothing; whether a webhook is genuine its receiver has found out before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import psycopg

from comms_pipeline.ledger.suppressions import Suppression, suppress
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/webhooks.sql"


@dataclass(frozen=True, kw_only=True)
class Once:
    """What makes a webhook the same one again: its provider's id or token, remembered for `lasts`."""

    webhook_id: str
    lasts: timedelta

    @property
    def digest(self) -> bytes:
        """16 bytes; ids are as long as their provider likes."""
        return blake2b(self.webhook_id.encode(), digest_size=16).digest()


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A verified webhook as it came, and what follows from it at once."""

    provider: str
    kind: str
    body: bytes
    query: str = ""
    suppressions: Sequence[Suppression] = ()
    once: Once | None = None


def take_in(connection: psycopg.Connection[Any], webhooks: Sequence[Webhook]) -> list[bool]:
    """Store all of these webhooks, or none: which of them are new, in their order.

    In the caller's transaction, or, in autocommit mode, in one of its own. Of those seen before (`once`), or earlier in
    `webhooks`, nothing is stored.
    """
    if not any(webhook.once or webhook.suppressions for webhook in webhooks):
        # One statement is a transaction by itself.
        _land(connection, webhooks)
        return [True] * len(webhooks)
    with connection.transaction():
        is_new = _unseen(connection, webhooks)
        taken = [webhook for webhook, new in zip(webhooks, is_new, strict=True) if new]
        _land(connection, taken)
        suppress(connection, [row for webhook in taken for row in webhook.suppressions])
    return is_new


def _land(connection: psycopg.Connection[Any], webhooks: Sequence[Webhook]) -> None:
    if webhooks:
        connection.execute(
            named_queries(_SQL)["land"],
            {
                "providers": [webhook.provider for webhook in webhooks],
                "kinds": [webhook.kind for webhook in webhooks],
                "queries": [webhook.query for webhook in webhooks],
                "bodies": [webhook.body for webhook in webhooks],
            },
        )


def _unseen(connection: psycopg.Connection[Any], webhooks: Sequence[Webhook]) -> list[bool]:
    lasting = {
        (webhook.provider, webhook.once.digest): webhook.once.lasts for webhook in webhooks if webhook.once
    }
    if not lasting:
        return [True] * len(webhooks)
    rows = connection.execute(
        named_queries(_SQL)["see"],
        {
            "providers": [provider for provider, _ in lasting],
            "digests": [digest for _, digest in lasting],
            "seconds": [lasts.total_seconds() for lasts in lasting.values()],
        },
    ).fetchall()
    unseen = {(provider, bytes(digest)) for provider, digest in rows}
    found = []
    for webhook in webhooks:
        key = (webhook.provider, webhook.once.digest) if webhook.once else None
        found.append(key is None or key in unseen)
        if key is not None:
            unseen.discard(key)
    return found


def purge(connection: psycopg.Connection[Any]) -> int:
    """Forget webhooks whose signature would no longer be accepted; returns how many."""
    return connection.execute(named_queries(_SQL)["purge"]).rowcount

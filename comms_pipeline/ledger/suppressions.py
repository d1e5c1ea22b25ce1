"""Suppressions: whom we must not reach, by keyed address hash. Never an address, never a reason to send.

Every function is one round trip inside the caller's transaction; every change is audited by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/suppressions.sql"
EVERY_ORGANISATION = "*"
_KEYS_PER_QUERY = 50_000


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """One address of one channel that one organisation, or every one ('*'), must not reach.

    `source` says who learnt it, e.g. `sendgrid` or `one-click`; it becomes the audit's actor.
    """

    organisation_id: str
    channel: Channel
    address_key: bytes
    reason: SuppressionReason
    source: str
    contact_id: str | None = None


def suppress(connection: psycopg.Connection[Any], rows: Sequence[Suppression]) -> int:
    """Add suppressions; returns how many changed something.

    Of what is suppressed already the first reason stays, but `UNSUBSCRIBED` gives way to any other.
    """
    if not rows:
        return 0
    return connection.execute(
        named_queries(_SQL)["suppress"],
        {
            "organisation_ids": [row.organisation_id for row in rows],
            "channels": [row.channel.value for row in rows],
            "address_keys": [row.address_key for row in rows],
            "reasons": [row.reason.value for row in rows],
            "sources": [row.source for row in rows],
            "contact_ids": [row.contact_id for row in rows],
        },
    ).rowcount


def lift(
    connection: psycopg.Connection[Any],
    *,
    organisation_id: str,
    channel: Channel,
    address_keys: Sequence[bytes],
    reasons: Sequence[SuppressionReason],
    actor: str,
    sources: Sequence[str] | None = None,
) -> int:
    """Remove suppressions that stand for one of `reasons`, from one of `sources` (None: from any).

    All others stay. Returns how many were removed.
    """
    return connection.execute(
        named_queries(_SQL)["lift"],
        {
            "organisation_id": organisation_id,
            "channel": channel.value,
            "address_keys": list(address_keys),
            "reasons": [reason.value for reason in reasons],
            "sources": None if sources is None else list(sources),
            "actor": actor,
        },
    ).rowcount


def suppressed(
    connection: psycopg.Connection[Any], organisation_id: str, channel: Channel, keys: list[bytes]
) -> set[bytes]:
    """Which of `keys` (16 bytes each) the organisation must not reach: its own suppressions and those for every one."""
    rows = connection.execute(
        named_queries(_SQL)["suppressed"],
        {"organisation_id": organisation_id, "channel": channel.value, "address_keys": b"".join(keys)},
    ).fetchall()
    return {bytes(row[0]) for row in rows}


def reasons(
    connection: psycopg.Connection[Any], organisation_id: str, channel: Channel, keys: Sequence[bytes]
) -> dict[bytes, str]:
    """Why each suppressed one of `keys` must not be reached; keys that may be are left out."""
    found: dict[bytes, str] = {}
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        chunk = list(keys[start : start + _KEYS_PER_QUERY])
        rows = connection.execute(
            named_queries(_SQL)["reasons"],
            {"organisation_id": organisation_id, "channel": channel.value, "address_keys": chunk},
        )
        found |= {bytes(key): reason for key, reason in rows}
    return found


def standing(
    connection: psycopg.Connection[Any], organisation_id: str, channel: Channel, address_key: bytes
) -> list[Suppression]:
    """What stands between the organisation and one address: its own suppression, and the one for every one."""
    rows = connection.execute(
        named_queries(_SQL)["standing"],
        {"organisation_id": organisation_id, "channel": channel.value, "address_key": address_key},
    )
    return [
        Suppression(
            organisation_id=owner,
            channel=channel,
            address_key=address_key,
            reason=SuppressionReason(reason),
            source=source,
        )
        for owner, reason, source in rows
    ]

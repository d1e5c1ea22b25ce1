"""Suppressions: whom we must not reach, by keyed address hash. Never an address, never a reason to send.

Every function is one round trip inside the caller's transaction; every change is audited by it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from comms_pipeline.domain.event import SuppressionReason, SuppressionScope
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/suppressions.sql"
EVERY_ORGANISATION = "*"


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """One address of one channel that one organisation, or every one ('*'), must not reach.

    `source` says who learnt it, e.g. `sendgrid` or `one-click`; it becomes the audit's actor. Nothing gets through
    unless the caller narrows the `scope`, as somebody does who opts out of marketing only.
    """

    organisation_id: str
    channel: Channel
    address_key: bytes
    reason: SuppressionReason
    source: str
    contact_id: str | None = None
    scope: SuppressionScope = SuppressionScope.ALL


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A suppression as lists show it. `address_key` is all there is of the address."""

    channel: str
    address_key: bytes
    reason: str
    scope: str
    source: str
    created_at: datetime


def suppress(connection: psycopg.Connection[Any], rows: Sequence[Suppression]) -> int:
    """Add suppressions; returns how many changed something.

    Of what is suppressed already the first reason stays, but `UNSUBSCRIBED` gives way to any other. The scope only
    ever widens.
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
            "scopes": [row.scope.value for row in rows],
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
    connection: psycopg.Connection[Any],
    organisation_id: str,
    channel: Channel,
    keys: Sequence[bytes],
    message_class: MessageClass = MessageClass.MARKETING,
) -> set[bytes]:
    """Which of `keys` (16 bytes each) the organisation must not reach: its own suppressions and those for every one.

    One against marketing counts for marketing alone.
    """
    rows = _asked(connection, "suppressed", organisation_id, channel, keys, message_class)
    return {bytes(row[0]) for row in rows}


def reasons(
    connection: psycopg.Connection[Any],
    organisation_id: str,
    channel: Channel,
    keys: Sequence[bytes],
    message_class: MessageClass = MessageClass.MARKETING,
) -> dict[bytes, str]:
    """Why each suppressed one of `keys` must not be reached; keys that may be are left out."""
    rows = _asked(connection, "reasons", organisation_id, channel, keys, message_class)
    return {bytes(key): reason for key, reason in rows}


def _asked(
    connection: psycopg.Connection[Any],
    name: str,
    organisation_id: str,
    channel: Channel,
    keys: Sequence[bytes],
    message_class: MessageClass,
) -> list[tuple[Any, ...]]:
    return connection.execute(
        named_queries(_SQL)[name],
        {
            "organisation_id": organisation_id,
            "channel": channel.value,
            "address_keys": b"".join(keys),
            "is_marketing": message_class is MessageClass.MARKETING,
        },
    ).fetchall()


def listed(
    connection: psycopg.Connection[Any],
    organisation_id: str,
    *,
    channel: Channel | None = None,
    limit: int | None = None,
) -> Iterator[Listed]:
    """The suppressions of one organisation (`EVERY_ORGANISATION`: those for every one), in the order of their keys.

    Streamed, so the caller keeps a transaction open.
    """
    parameters = {
        "organisation_id": organisation_id,
        "channel": channel.value if channel else None,
        "limit": limit,
    }
    with connection.cursor("listed_suppressions", row_factory=class_row(Listed)) as cursor:
        cursor.itersize = 10_000
        yield from cursor.execute(named_queries(_SQL)["listed"], parameters)


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
            scope=SuppressionScope(scope),
        )
        for owner, reason, source, scope in rows
    ]

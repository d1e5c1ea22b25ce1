"""Lands webhooks as they came, before anything is parsed. Reading them back is `feeds`' work."""

from collections.abc import Sequence
from typing import Any

import psycopg

from comms_pipeline.ledger.feeds import Watermark
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/landing.sql"


def land(connection: psycopg.Connection[Any], provider: str, kind: str, query: str, body: bytes) -> int:
    """Store one verified webhook in the caller's transaction; returns its landing id. Once per call.

    `query` is the request's raw query string, `body` its raw body. The caller commits before it answers.
    """
    row = connection.execute(
        named_queries(_SQL)["land"], {"provider": provider, "kind": kind, "query": query, "body": body}
    ).fetchone()
    assert row is not None
    return int(row[0])


async def land_together(
    connection: psycopg.AsyncConnection[Any], provider: str, landings: Sequence[tuple[str, bytes]]
) -> None:
    """Store many bodies, (kind, body) each, by one statement: in autocommit mode that is one commit for all."""
    await connection.execute(
        named_queries(_SQL)["land_together"],
        {
            "provider": provider,
            "kinds": [kind for kind, _ in landings],
            "bodies": [body for _, body in landings],
        },
    )


def oldest_waiting_seconds(connection: psycopg.Connection[Any], watermark: Watermark) -> float:
    """How long the oldest webhook behind `watermark` has been waiting to be loaded; 0 when none is."""
    row = connection.execute(named_queries(_SQL)["oldest_waiting_seconds"], vars(watermark)).fetchone()
    return float(row[0]) if row else 0.0

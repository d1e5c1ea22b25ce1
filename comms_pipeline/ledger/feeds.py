"""Reads the ledger's two append-only feeds, outcomes and landed webhooks, in an order no commit can disturb.

The watermark lives in the lake, in the transaction that loads the rows: nothing here remembers a position.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import psycopg
from psycopg.rows import class_row

from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/feeds.sql"


class Feed(StrEnum):
    """The feeds, by the name their watermark carries."""

    OUTCOMES = "outcomes"
    LANDINGS = "landings"


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """The last row loaded: its transaction id, then its own id."""

    xact: int = 0
    last_id: int = 0


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """One recorded outcome of one batch; `results` is Arrow IPC, one row per message."""

    xact: int
    id: int
    batch_id: int
    send_id: str
    lane: str
    results: bytes
    recorded_at: datetime


@dataclass(frozen=True, kw_only=True)
class LandingRow:
    """One webhook as it came."""

    xact: int
    id: int
    provider: str
    kind: str
    received_at: datetime
    query: str
    body: bytes


def outcomes_after(connection: psycopg.Connection, watermark: Watermark, limit: int) -> list[OutcomeRow]:
    """The next recorded outcomes, at most `limit`; rows of open transactions, and any behind them, wait."""
    with connection.cursor(row_factory=class_row(OutcomeRow)) as cursor:
        cursor.execute(named_queries(_SQL)["outcomes_after"], vars(watermark) | {"limit": limit})
        return cursor.fetchall()


def landings_after(connection: psycopg.Connection, watermark: Watermark, limit: int) -> list[LandingRow]:
    """The next landed webhooks, at most `limit`; the same order and promise as `outcomes_after`."""
    # Binary: as text every byte of a body would be two hexadecimal digits.
    with connection.cursor(row_factory=class_row(LandingRow), binary=True) as cursor:
        cursor.execute(named_queries(_SQL)["landings_after"], vars(watermark) | {"limit": limit})
        return cursor.fetchall()


def waiting(connection: psycopg.Connection, feed: Feed, watermark: Watermark) -> int:
    """How many rows of a feed are not loaded yet."""
    row = connection.execute(named_queries(_SQL)[f"{feed}_waiting"], vars(watermark)).fetchone()
    return int(row[0]) if row else 0


def purge(connection: psycopg.Connection, feed: Feed, watermark: Watermark, *, keep_days: int) -> int:
    """Delete loaded rows older than `keep_days`; returns how many."""
    return connection.execute(
        named_queries(_SQL)[f"purge_{feed}"], vars(watermark) | {"keep_days": keep_days}
    ).rowcount

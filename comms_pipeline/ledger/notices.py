"""Alerts on record: which are open, which were told. Judges nothing and tells nobody: that is `alerting`'s work."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/notices.sql"
SETTLING_SECONDS = 120.0
"""How long something must stay away before it counts as over."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One alert on record. `key` tells it from others that are open; `resolved_at` is null while it lasts."""

    notice_id: int
    key: str
    severity: str
    subject: str
    what: str
    fix: str
    since: datetime
    resolved_at: datetime | None


def record(connection: psycopg.Connection[Any], alerts: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Make the open notices those of `alerts`, in one transaction; what is among them no more goes, by and by.

    Each alert has `key, severity, subject, what, fix, since`. A key that comes back within `SETTLING_SECONDS` goes
    on with its notice.
    """
    with connection.transaction():
        _run(connection, "one_at_a_time")
        for alert in alerts:
            _run(connection, "open_or_refresh", **alert)
        _run(connection, "mark_gone", keys=[alert["key"] for alert in alerts], now=now)
        _run(connection, "resolve", now=now, settling_seconds=SETTLING_SECONDS)


def open_notices(connection: psycopg.Connection[Any]) -> list[Notice]:
    """What is the matter now, the gravest first."""
    return _notices(connection, "open")


def to_tell(
    connection: psycopg.Connection[Any], again_seconds: Mapping[str, float], now: datetime
) -> list[Notice]:
    """What people have to hear: what is new, what is over, and what lasts for longer than its severity's time."""
    severities = {"severities": list(again_seconds), "again_seconds": list(again_seconds.values())}
    return _notices(connection, "to_tell", **severities, now=now)


def mark_told(connection: psycopg.Connection[Any], notice_ids: Collection[int], now: datetime) -> None:
    """Say that people have heard of these, as they are now."""
    _run(connection, "mark_told", notice_ids=list(notice_ids), now=now)


def forget(connection: psycopg.Connection[Any], days: int) -> int:
    """Delete what has been over for so long; returns how many."""
    return _run(connection, "forget", days=days).rowcount


def _run(connection: psycopg.Connection[Any], name: str, **parameters: object) -> psycopg.Cursor[Any]:
    return connection.execute(named_queries(_SQL)[name], parameters)


def _notices(connection: psycopg.Connection[Any], name: str, **parameters: object) -> list[Notice]:
    with connection.cursor(row_factory=class_row(Notice)) as cursor:
        return cursor.execute(named_queries(_SQL)[name], parameters).fetchall()

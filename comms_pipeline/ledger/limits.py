"""How fast and how many: token buckets and quotas, shared by every process through Postgres. Waits for nobody."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from comms_pipeline.domain.rate import Rate
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/limits.sql"


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Requests that may go now; when none may, the seconds to wait before asking again."""

    granted: int
    wait_seconds: float


@dataclass(frozen=True, kw_only=True)
class Period:
    """What a quota leaves of its current hour or day."""

    scope: str
    period: str
    starts_at: datetime
    ends_at: datetime
    allowed: int
    remaining: int


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Messages a scope (`organisation:NAME`, `lane:NAME`, `warm-up:LANE`) may send per hour or day, and has sent."""

    scope: str
    period: str
    allowed: int
    used: int


def _run(connection: psycopg.Connection, name: str, **parameters: object) -> psycopg.Cursor[tuple[Any, ...]]:
    return connection.execute(named_queries(_SQL)[name], parameters)


def open_bucket(connection: psycopg.Connection, bucket: str, rate: Rate) -> None:
    """Make sure the bucket is there; a new one is full."""
    _run(connection, "open_bucket", bucket=bucket, burst=rate.burst)


def take_tokens(connection: psycopg.Connection, bucket: str, rate: Rate, wanted: int) -> Grant:
    """Take up to `wanted` tokens; whole ones only."""
    row = _run(
        connection,
        "take_tokens",
        bucket=bucket,
        burst=rate.burst,
        per_second=rate.per_second,
        wanted=wanted,
    ).fetchone()
    return Grant(granted=row[0], wait_seconds=row[1]) if row else Grant(granted=0, wait_seconds=1.0)


def give_back(connection: psycopg.Connection, bucket: str, rate: Rate, tokens: int) -> None:
    """Put back tokens nobody used."""
    _run(connection, "give_back", bucket=bucket, burst=rate.burst, tokens=tokens)


def slow_down(connection: psycopg.Connection, bucket: str, seconds: float) -> None:
    """The provider said "too many": nothing for `seconds`, then half as fast as before."""
    _run(connection, "slow_down", bucket=bucket, seconds=seconds)


def speed_up(connection: psycopg.Connection, bucket: str) -> None:
    """Things go well: a little faster, up to the full rate."""
    _run(connection, "speed_up", bucket=bucket)


def put_quota(connection: psycopg.Connection, scope: str, period: str, allowed: int | None) -> None:
    """Set how many messages a scope may send per `hour` or `day`; None lifts the quota."""
    if allowed is None:
        _run(connection, "drop_quota", scope=scope, period=period)
    else:
        _run(connection, "put_quota", scope=scope, period=period, allowed=allowed)


def keep_quotas(connection: psycopg.Connection, kind: str, scopes: Sequence[str]) -> None:
    """Lift the quotas whose scope is of one kind (`kind:…`), except those of `scopes`."""
    _run(connection, "keep_quotas", prefix=f"{kind}:", scopes=list(scopes))


def today(connection: psycopg.Connection) -> date:
    """The day whose quotas hold now, in UTC and by Postgres' clock."""
    row = _run(connection, "today").fetchone()
    assert row is not None
    day: date = row[0]
    return day


def open_periods(connection: psycopg.Connection, scopes: Iterable[str]) -> list[Period]:
    """The current periods of the quotas that hold for `scopes`, locked until the transaction ends."""
    with connection.cursor(row_factory=class_row(Period)) as cursor:
        cursor.execute(named_queries(_SQL)["open_periods"], {"scopes": sorted(set(scopes))})
        return cursor.fetchall()


def use_quota(connection: psycopg.Connection, used: Sequence[tuple[Period, int]]) -> None:
    """Count messages against open periods."""
    if used:
        _run(
            connection,
            "use_quota",
            scopes=[period.scope for period, _ in used],
            periods=[period.period for period, _ in used],
            starts_at=[period.starts_at for period, _ in used],
            used=[count for _, count in used],
        )


def quotas(connection: psycopg.Connection) -> list[Quota]:
    """Every quota with its current use."""
    with connection.cursor(row_factory=class_row(Quota)) as cursor:
        return cursor.execute(named_queries(_SQL)["quotas"]).fetchall()


def purge(connection: psycopg.Connection) -> int:
    """Forget the use of periods long past; returns how many."""
    return _run(connection, "purge_quota_use").rowcount

"""Brings the ledger's database to the newest schema, forward only. Holds no SQL of the schema itself.

Migrations are `warehouse/ledger/migrations/NNNN_name.sql`, numbered from 1 without gaps. Each runs in one
transaction, under an advisory lock, and leaves a row in the table `migration`. An applied file never changes.
"""

import hashlib
import re
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.sqlfiles import warehouse_root

# Any fixed number serves, as long as every version of this program takes the same one.
_LOCK = 0x636F6D6D73
_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
_TABLE = """
    create table if not exists migration (
        version    integer primary key,
        name       text not null,
        digest     text not null,
        applied_at timestamptz not null default now()
    )
"""


class MigrationError(CommsError):
    """The schema cannot be brought up to date; the culprit is a file, of which nothing was applied."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One file. `name` is its stem, `0001_ledger`; `digest` the SHA-256 of its text, in hexadecimal."""

    version: int
    name: str
    sql: str
    digest: str


def migrate(target: psycopg.Connection[Any] | Server, folder: Path | None = None) -> list[str]:
    """Apply what is missing, in order, and return the names applied by this call; none when up to date.

    Any number of processes may call it at once. A connection given must not be inside a transaction.
    Raises `MigrationError` for a gap in the numbers, an applied file that changed or vanished, or SQL that
    fails; what was applied before it stays.
    """
    migrations = read_migrations(folder or warehouse_root() / "ledger" / "migrations")
    applied = []
    with connect(target) if isinstance(target, Server) else nullcontext(target) as connection:
        while (name := _apply_next(connection, migrations)) is not None:
            applied.append(name)
    return applied


def pending(connection: psycopg.Connection[Any], folder: Path | None = None) -> list[str]:
    """Names of the migrations that are not applied yet. Applies none."""
    migrations = read_migrations(folder or warehouse_root() / "ledger" / "migrations")
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        if cursor.execute("select to_regclass('migration') is null").fetchall() == [(True,)]:
            return [migration.name for migration in migrations]
        applied = {row[0] for row in cursor.execute("select name from migration").fetchall()}
    return [migration.name for migration in migrations if migration.name not in applied]


def read_migrations(folder: Path) -> list[Migration]:
    """The migrations of a folder in order. Raises `MigrationError` for a strange name, gap or duplicate."""
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise MigrationError(path.name, "is not named like 0002_add_table.sql", "Rename it")
        version = int(match[1])
        if version != len(migrations) + 1:
            expected = f"{len(migrations) + 1:04d}"
            raise MigrationError(path.name, f"stands where {expected} is due", f"Number it {expected}")
        # Read as text, so that a checkout with other line ends has the same digest.
        sql = path.read_text(encoding="utf-8")
        digest = hashlib.sha256(sql.encode()).hexdigest()
        migrations.append(Migration(version=version, name=path.stem, sql=sql, digest=digest))
    return migrations


def _apply_next(connection: psycopg.Connection[Any], migrations: list[Migration]) -> str | None:
    """Apply the first missing migration, if any, in a transaction of its own."""
    culprit = "table migration"
    try:
        with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
            # Held to the end of the transaction: it also serves behind a pooler, which session locks do not.
            cursor.execute("select pg_advisory_xact_lock(%(lock)s)", {"lock": _LOCK})
            if cursor.execute("select to_regclass('migration') is null").fetchall() == [(True,)]:
                cursor.execute(_TABLE)
            applied = cursor.execute("select name, digest from migration order by version").fetchall()
            migration = _first_missing(applied, migrations)
            if migration is None:
                return None
            culprit = f"{migration.name}.sql"
            cursor.execute(migration.sql.encode())
            cursor.execute(
                "insert into migration (version, name, digest) values (%(version)s, %(name)s, %(digest)s)",
                {"version": migration.version, "name": migration.name, "digest": migration.digest},
            )
            return migration.name
    except psycopg.Error as error:
        problem = (str(error).splitlines() or ["Postgres gave no reason"])[0]
        raise MigrationError(culprit, problem, "Nothing of it was applied; mend it and run again") from None


def _first_missing(applied: list[tuple[str, str]], migrations: list[Migration]) -> Migration | None:
    """The first file without a row; raises `MigrationError` where a row and its file differ."""
    for row, migration in zip_longest(applied, migrations):
        if row is None:
            return migration
        name, digest = row
        if migration is None or migration.name != name:
            raise MigrationError(
                f"{name}.sql",
                "was applied to this database but is not here",
                "Use the newer version of comms",
            )
        if migration.digest != digest:
            raise MigrationError(
                f"{name}.sql",
                "changed after it was applied",
                "Restore it and put the change in a new migration",
            )
    return None

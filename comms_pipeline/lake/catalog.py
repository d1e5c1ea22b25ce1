"""The lake's catalog as a Postgres database: how DuckDB is told of it, the lock all writers share, and which schema
was applied last.
"""

import os
import secrets
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from comms_pipeline.domain.errors import DatabaseUnavailable

# Any constant will do; it must be the same in every process that writes this catalog.
_WRITE_LOCK = 0x1A4E


class WriteLock:
    """The advisory lock of all writers, held for as long as its connection lives."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def take(self) -> None:
        """Wait for the lock. Raises `DatabaseUnavailable`."""
        self._execute("select pg_advisory_lock(%s)", _WRITE_LOCK)

    def require(self) -> None:
        """Make sure that the lock is still ours: had its connection dropped, another writer may be inside.

        Raises `DatabaseUnavailable` when it is not.
        """
        self._execute("select 1")

    def _execute(self, statement: str, *parameters: int) -> None:
        try:
            self._connection.execute(statement, parameters)
        except psycopg.Error:
            raise DatabaseUnavailable(
                "lake catalog", "the connection that holds the write lock was lost", "Run it again"
            ) from None


class AppliedSchema:
    """Which schema the lake's tables were last brought to, kept in the catalog beside DuckLake's own tables.

    It goes where the catalog goes: a restored backup has the tables that its digest says.
    """

    def __init__(self, catalog: str) -> None:
        self._catalog = catalog

    def digest(self) -> str | None:
        """The digest noted last; None for a new catalog. Raises `DatabaseUnavailable`."""
        with closing(self._connect()) as connection:
            try:
                row = connection.execute("select digest from comms.lake_schema").fetchone()
            except psycopg.errors.UndefinedTable:
                return None
            except psycopg.Error:
                raise catalog_unavailable() from None
        return row[0] if row else None

    def note(self, digest: str) -> None:
        """Replace it. The caller holds the write lock. Raises `DatabaseUnavailable`."""
        with closing(self._connect()) as connection:
            try:
                with connection.transaction():
                    connection.execute("create schema if not exists comms")
                    connection.execute("create table if not exists comms.lake_schema (digest text not null)")
                    connection.execute("delete from comms.lake_schema")
                    connection.execute("insert into comms.lake_schema values (%s)", (digest,))
            except psycopg.Error:
                raise catalog_unavailable() from None

    def _connect(self) -> psycopg.Connection:
        try:
            return psycopg.connect(self._catalog, autocommit=True)
        except psycopg.Error:
            raise catalog_unavailable() from None


def without_password(catalog: str, folder: Path) -> str:
    """The same libpq keyword string with the password moved to a file in `folder` that libpq reads.

    DuckDB shows connection strings in errors and in `duckdb_databases()`.
    """
    parameters = conninfo_to_dict(catalog)
    password = parameters.pop("password", None)
    if password is None:
        return catalog
    line = f"*:*:*:*:{str(password).replace(chr(92), chr(92) * 2).replace(':', chr(92) + ':')}\n"
    path = folder.absolute() / "catalog.pgpass"
    if not path.is_file() or path.read_text(encoding="utf-8") != line:
        _write_privately(path, line)
    return make_conninfo("", **parameters, passfile=str(path))


def _write_privately(path: Path, text: str) -> None:
    """Write a file only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(
        os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    temporary.replace(path)


def catalog_unavailable() -> DatabaseUnavailable:
    """What to raise when the catalog does not answer."""
    return DatabaseUnavailable(
        "lake catalog",
        "its Postgres database cannot be reached",
        "Check with `comms doctor`, start it with `comms db start`",
    )

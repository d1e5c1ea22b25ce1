"""The lake's connection: attach, read, write under the one lock. Knows no table by name."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import duckdb
import psycopg

from comms_pipeline.domain.errors import DatabaseUnavailable
from comms_pipeline.lake.catalog import AppliedSchema, WriteLock, catalog_unavailable, without_password
from comms_pipeline.lake.extensions import link_extensions
from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.models import registry
from comms_pipeline.sqlfiles import named_queries, warehouse_root

ALIAS = "lake"


class Lake:
    """A DuckLake: Parquet under `data_path`, catalog in Postgres.

    `catalog` is a libpq keyword string; `extension_folder` a folder of our own for DuckDB's extensions and the
    catalog's password. One DuckDB instance per object is opened on first use; readers get cursors on it and see
    each commit of any process. Writers exclude each other, and maintenance, across processes by a Postgres
    advisory lock: DuckLake loses acknowledged deletes that race maintenance.
    """

    def __init__(
        self,
        *,
        catalog: str,
        data_path: Path,
        extension_folder: Path,
        is_read_only: bool = False,
        memory_limit: str = "4GB",
    ) -> None:
        self._catalog = catalog
        self._data_path = data_path
        self._extension_folder = extension_folder
        self._is_read_only = is_read_only
        self._memory_limit = memory_limit
        self._opening = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own on the lake's DuckDB instance, `USE lake` done. The caller closes it.

        Raises `DatabaseUnavailable` when the catalog cannot be reached.
        """
        with self._opening:
            if self._connection is None:
                self._connection = self._attach()
        cursor = self._connection.cursor()
        cursor.execute(f"use {ALIAS}")
        return cursor

    def close(self) -> None:
        """Let go of the DuckDB instance; the next use opens a new one."""
        with self._opening:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor inside one transaction: every query in it sees the same snapshot."""
        cursor = self.connect()
        try:
            cursor.execute("begin")
            yield cursor
        finally:
            _roll_back_and_close(cursor)

    @contextmanager
    def writer(self) -> Iterator[LakeWriter]:
        """One transaction under the write lock; commits at the end of the block, rolls back on any error."""
        with self.exclusively() as lock:
            cursor = self.connect()
            try:
                cursor.execute("begin")
                yield LakeWriter(cursor)
                lock.require()
                cursor.execute("commit")
            finally:
                _roll_back_and_close(cursor)

    @contextmanager
    def exclusively(self) -> Iterator[WriteLock]:
        """Hold the write lock for the block; waits for whoever has it.

        Raises `DatabaseUnavailable` when the catalog cannot be reached.
        """
        try:
            connection = psycopg.connect(self._catalog, autocommit=True)
        except psycopg.Error:
            raise catalog_unavailable() from None
        # Closing the connection lets go of the lock, also when the process dies.
        with closing(connection):
            lock = WriteLock(connection)
            lock.take()
            yield lock

    def create_tables(self) -> None:
        """Bring the schema and the models' tables up to date; a few milliseconds when they are.

        The catalog remembers what was applied.
        """
        schema = (warehouse_root() / "lake/schema.sql").read_text(encoding="utf-8")
        # Persisted for every client: inlined rows are where acknowledged deletes were lost.
        options = f"call {ALIAS}.set_option('data_inlining_row_limit', 0)"
        digest = hashlib.sha256(f"{options};{schema};{registry.text_of_all()}".encode()).hexdigest()
        applied = AppliedSchema(self._catalog)
        if applied.digest() == digest:
            return
        with self.exclusively():
            cursor = self.connect()
            try:
                cursor.execute(options)
                cursor.execute("begin")
                cursor.execute(schema)
                _apply_models(cursor)
                cursor.execute("commit")
            finally:
                _roll_back_and_close(cursor)
            # Last, and under the lock: dying in between only means that it is applied again.
            applied.note(digest)

    def _attach(self) -> duckdb.DuckDBPyConnection:
        self._data_path.mkdir(parents=True, exist_ok=True)
        catalog = without_password(self._catalog, self._extension_folder)
        connection = duckdb.connect(
            config={
                "extension_directory": str(link_extensions(self._extension_folder)),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                # Ours are out of wheels whose hashes were checked, as DuckDB itself is; to check their signatures
                # at each start takes half a second. No other may follow them without one.
                "allow_unsigned_extensions": True,
                "memory_limit": self._memory_limit,
            }
        )
        try:
            connection.execute("load ducklake; load postgres_scanner; set allow_unsigned_extensions = false")
            # ICU is built in; without it dates would follow the machine's zone.
            connection.execute("load icu; set global TimeZone = 'UTC'")
            options = f"DATA_PATH {_quoted(str(self._data_path))}, DATA_INLINING_ROW_LIMIT 0"
            if self._is_read_only:
                options += ", READ_ONLY"
            connection.execute(f"attach {_quoted(f'ducklake:postgres:{catalog}')} as {ALIAS} ({options})")
        except duckdb.Error as error:
            connection.close()
            raise _not_attached(str(error)) from None
        return connection


def _apply_models(cursor: duckdb.DuckDBPyConnection) -> None:
    """Bring the models' tables and views to what their headers say, in the open transaction."""
    # It needs sqlglot, which takes a quarter of a second; most who open the lake find it up to date.
    from comms_pipeline.models import ddl

    queries = named_queries("lake/queries/relations.sql")
    views = {table for (table,) in cursor.execute(queries["views"], {"lake": ALIAS}).fetchall()}
    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in cursor.execute(queries["columns"], {"lake": ALIAS}).fetchall():
        columns.setdefault(table, {})[column] = kind
    existing = {
        table: ddl.Existing(is_view=table in views, columns=kinds) for table, kinds in columns.items()
    }
    for statement in ddl.statements(registry.models().values(), existing):
        cursor.execute(statement)


def _roll_back_and_close(cursor: duckdb.DuckDBPyConnection) -> None:
    """Close a cursor whose transaction may still be open."""
    # Were closing left to roll back, and the catalog's connection had died, DuckDB would abort the process.
    with suppress(duckdb.Error):
        cursor.execute("rollback")
    cursor.close()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _not_attached(message: str) -> DatabaseUnavailable:
    """Why the lake cannot be attached. DuckDB quotes the connection string, so nothing of its text goes on."""
    if "creating a new DuckLake is explicitly disabled" in message:
        return DatabaseUnavailable("lake", "it has not been created yet", "Run `comms init`")
    if "does not match existing data path" in message:
        return DatabaseUnavailable(
            "lake",
            "its files were in another folder when it was made",
            "Move COMMS_HOME back to where it was",
        )
    return catalog_unavailable()

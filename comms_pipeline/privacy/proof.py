"""Looks for an address in everything an installation keeps, and says where it still is. Changes nothing.

Files are searched as bytes, and Parquet also as what it decodes to; tables column by column, packed payloads unpacked.
"""

import mmap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import psycopg
from polars import selectors
from psycopg import sql

from comms_pipeline.dispatch.payload import unpack
from comms_pipeline.ledger.server import Database, DatabaseMissing, connect
from comms_pipeline.privacy.spellings import Spellings
from comms_pipeline.settings import Settings
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_ARROW = b"ARROW1"
_TEXTS = ("text", "character varying", "character", "json", "jsonb", "ARRAY", "xml")
_ELSEWHERE = ("postgres", "sandbox", "duckdb_extensions")
"""Folders of a home that are searched in another way (databases), are the providers' side, or hold programs."""
_LEDGER_QUERIES, _LAKE_QUERIES = "ledger/queries/erasure.sql", "lake/queries/privacy.sql"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was searched, and where the address was found: a file or `database: table.column`, and how often."""

    files: int
    tables: int
    rows: int
    found: Sequence[tuple[str, int]]


def search(stores: Stores, spellings: Sequence[Spellings]) -> Proof:
    """Search every file of the home and every table of the ledger, the lake's catalog and Dagster's storage."""
    found: Counter[str] = Counter()
    files = tables = rows = 0
    for path in _files(stores.settings):
        files += 1
        found[str(path.relative_to(stores.settings.home))] += _hits_in_file(path, spellings)
    for database in Database:
        # Dagster's storage is made with Dagster's first start.
        with suppress(DatabaseMissing), connect(stores.server, database) as connection:
            for schema, table, columns in _tables(connection):
                tables += 1
                rows += _rows(connection, schema, table)
                for column, kind in columns:
                    place = f"{stores.server.database_name(database)}: {table}.{column}"
                    found[place] += _hits_in_column(connection, (schema, table, column), kind, spellings)
    return Proof(files=files, tables=tables, rows=rows, found=[(place, n) for place, n in found.items() if n])


def hits_in_files(paths: Iterable[Path], spellings: Sequence[Spellings]) -> list[Path]:
    """Which of these files hold the address."""
    return [path for path in paths if _hits_in_file(path, spellings)]


def _files(settings: Settings) -> Iterator[Path]:
    roots = {settings.home, settings.lake_path, settings.reports_path}
    for path in sorted({path for root in roots for path in root.rglob("*")}):
        inside = path.relative_to(settings.home).parts if path.is_relative_to(settings.home) else ()
        if path.is_file() and not path.is_symlink() and not (inside and inside[0] in _ELSEWHERE):
            yield path


def _hits_in_file(path: Path, spellings: Sequence[Spellings]) -> int:
    # A file may go while it is looked at: then it holds nothing.
    with suppress(FileNotFoundError):
        hits = 0
        if path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                hits = sum(each.is_in(content) for each in spellings)
        return hits or (_hits_in_parquet(path, spellings) if path.suffix == ".parquet" else 0)
    return 0


def _hits_in_parquet(path: Path, spellings: Sequence[Spellings]) -> int:
    """Rows that hold the address once they are decompressed."""
    queries = named_queries(_LAKE_QUERIES)
    hits = 0
    with duckdb.connect() as connection:
        connection.execute(queries["make_may_hold"])
        for each in spellings:
            wanted = {"path": str(path), "pattern": each.pattern, "anchor": each.anchor}
            row = connection.execute(queries["rows_of_file_with"], wanted).fetchone()
            hits += int(row[0]) if row else 0
    return hits


def _tables(connection: psycopg.Connection[Any]) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    for schema, table, names, kinds in connection.execute(
        named_queries(_LEDGER_QUERIES)["columns_of_tables"]
    ).fetchall():
        yield schema, table, list(zip(names, kinds, strict=True))


def _rows(connection: psycopg.Connection[Any], schema: str, table: str) -> int:
    row = connection.execute(
        sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
    ).fetchone()
    return int(row[0]) if row else 0


def _hits_in_column(
    connection: psycopg.Connection[Any], name: tuple[str, str, str], kind: str, spellings: Sequence[Spellings]
) -> int:
    schema, table, column = name
    names = {"table": sql.Identifier(schema, table), "column": sql.Identifier(column)}
    if kind in _TEXTS:
        query = sql.SQL("select count(*) from {table} where {column}::text ~* any(%s::text[])").format(
            **names
        )
        row = connection.execute(query, ([each.pattern for each in spellings],)).fetchone()
        return int(row[0]) if row else 0
    if kind != "bytea":
        return 0
    query = sql.SQL("select {column} from {table} where {column} is not null").format(**names)
    with connection.cursor(name="proof") as cursor:
        return sum(_is_in(value, spellings) for (value,) in cursor.execute(query))


def _is_in(value: bytes, spellings: Sequence[Spellings]) -> bool:
    if value.startswith(_ARROW):
        value = _text_of(unpack(value))
    return any(each.is_in(value) for each in spellings)


def _text_of(frame: pl.DataFrame) -> bytes:
    texts = frame.select(selectors.string())
    return texts.write_csv(include_header=False).encode() if texts.width else b""

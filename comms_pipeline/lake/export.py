"""Copies the lake into one DuckDB file that any tool opens. Reads one snapshot; never holds up a writer."""

import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.lake.lake import Lake
from comms_pipeline.models.registry import models
from comms_pipeline.sqlfiles import named_queries

LAYERS = ("raw", "core", "campaign", "mart")
PERSONAL_COLUMNS = {
    "core.contacts": ("external_id", "email", "phone", "name", "postcode", "attributes"),
    # Bodies of webhooks and properties of events hold what others put there.
    "raw.provider_events": ("payload",),
    "core.business_events": ("properties",),
}
"""What says who somebody is, or may: left out unless it is asked for."""


class ExportRefused(CommsError):
    """The lake cannot be copied there."""


@dataclass(frozen=True, kw_only=True)
class Copied:
    """A table of the copy (`schema.name`) and its rows."""

    table: str
    rows: int


def export_lake(
    lake: Lake,
    path: Path,
    *,
    layers: Collection[str] = LAYERS,
    has_personal_data: bool = False,
    on_table: Callable[[Copied], None] = lambda _: None,
) -> list[Copied]:
    """Write the tables of `layers` as they are now into a new DuckDB file at `path`, with their descriptions.

    The file appears when it is whole. Addresses, names and free text are left out unless `has_personal_data`.
    Raises `ExportRefused` where the file exists already or cannot be written.
    """
    if path.exists():
        raise ExportRefused(str(path), "it exists already", "Delete it, or choose another name")
    if not path.parent.is_dir():
        raise ExportRefused(str(path), "its folder does not exist", f"Make {path.parent} first")
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with lake.reader() as cursor:
            copied = _copy_all(cursor, unfinished, layers, has_personal_data, on_table)
        unfinished.replace(path)
    except (OSError, duckdb.IOException) as error:
        raise ExportRefused(
            str(path),
            f"it cannot be written ({type(error).__name__})",
            "See that there is room and the right to",
        ) from None
    finally:
        unfinished.unlink(missing_ok=True)
        unfinished.with_name(unfinished.name + ".wal").unlink(missing_ok=True)
    return copied


def _copy_all(
    cursor: duckdb.DuckDBPyConnection,
    path: Path,
    layers: Collection[str],
    has_personal_data: bool,
    on_table: Callable[[Copied], None],
) -> list[Copied]:
    name = f"copy_{secrets.token_hex(4)}"
    cursor.execute(f"attach '{str(path).replace(chr(39), chr(39) * 2)}' as {name}")
    try:
        found = cursor.execute(named_queries("lake/queries/export.sql")["tables"]).fetchall()
        copied = []
        for schema, table in found:
            if schema in layers:
                cursor.execute(f"create schema if not exists {name}.{schema}")
                copied.append(_copy(cursor, name, f"{schema}.{table}", has_personal_data=has_personal_data))
                on_table(copied[-1])
        cursor.execute("commit")
    finally:
        _let_go(cursor, name)
    return copied


def _copy(cursor: duckdb.DuckDBPyConnection, target: str, table: str, *, has_personal_data: bool) -> Copied:
    left_out = () if has_personal_data else PERSONAL_COLUMNS.get(table, ())
    chosen = f"* exclude ({', '.join(left_out)})" if left_out else "*"
    # Views too become tables: they may read what is left out.
    cursor.execute(f"create table {target}.{table} as select {chosen} from {table}")
    model = models().get(table)
    if model is not None:
        cursor.execute(f"comment on table {target}.{table} is {_quoted(model.header.description)}")
        for column, described in model.header.columns.items():
            cursor.execute(f"comment on column {target}.{table}.{column} is {_quoted(described.description)}")
    row = cursor.execute(f"select count(*) from {target}.{table}").fetchone()
    return Copied(table=table, rows=row[0] if row else 0)


def _let_go(cursor: duckdb.DuckDBPyConnection, name: str) -> None:
    """Detach what was attached, whatever state the transaction is in."""
    with suppress(duckdb.TransactionException):
        cursor.execute("rollback")
    cursor.execute(f"detach {name}")
    # The reader that handed us its cursor ends the transaction it began.
    cursor.execute("begin")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

"""`comms query` and `comms shell`: the lake, read-only, for analysts."""

import csv
import sys
from enum import StrEnum
from typing import Annotated

import duckdb
import typer

from comms_pipeline.cli.console import err, out, table
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.errors import CommsError

_ROWS_SHOWN = 200
_ROWS_AT_A_TIME = 10_000


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class InvalidQuery(CommsError):
    """The SQL does not run."""


def query(
    sql: Annotated[
        str, typer.Argument(help='One statement, e.g. "select * from mart.campaign_performance".')
    ],
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Run SQL on the warehouse, read-only."""
    lake = open_stores().lake_read_only
    with lake.reader() as cursor:
        _answer(cursor, sql, format)


def _answer(cursor: duckdb.DuckDBPyConnection, sql: str, format: Format) -> None:
    try:
        statements = cursor.extract_statements(sql)
        if len(statements) != 1:
            raise InvalidQuery("query", f"it holds {len(statements)} statements", "Write one")
        result: duckdb.DuckDBPyRelation | None = cursor.sql(statements[0])
        # Statements like SET answer nothing.
        if result is not None:
            _PRINTERS[format](result)
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        raise InvalidQuery("query", first.rstrip(".!"), "See `show all tables` for what there is") from None


def _print_table(result: duckdb.DuckDBPyRelation) -> None:
    rows = result.limit(_ROWS_SHOWN + 1).fetchall()
    table(None, result.columns, rows[:_ROWS_SHOWN])
    if len(rows) > _ROWS_SHOWN:
        err.print(f"The first {_ROWS_SHOWN} rows; --format csv prints all.")


# DuckDB itself writes the values of files, so that every type it has can be printed.


def _print_csv(result: duckdb.DuckDBPyRelation) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    texts = result.project("columns(*)::varchar")
    while rows := texts.fetchmany(_ROWS_AT_A_TIME):
        writer.writerows(rows)


def _print_json(result: duckdb.DuckDBPyRelation) -> None:
    objects = result.query("row_of_answer", "select to_json(row_of_answer) from row_of_answer")
    while rows := objects.fetchmany(_ROWS_AT_A_TIME):
        sys.stdout.writelines(f"{text}\n" for (text,) in rows)


_PRINTERS = {Format.TABLE: _print_table, Format.CSV: _print_csv, Format.JSON: _print_json}


def shell() -> None:
    """A SQL prompt on the warehouse, read-only. Statements end with ';', `.quit` leaves."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives the prompt history and editing
    connection = open_stores().lake_read_only.connect()
    out.print("The warehouse, read-only. Tables: `show all tables;`  Leave: .quit")
    pending = ""
    while True:
        try:
            line = input("comms> " if not pending else "   ..> ")
        except (EOFError, KeyboardInterrupt):
            break
        if not pending and line.strip() in {".quit", ".exit", "exit", "quit"}:
            break
        pending = f"{pending}\n{line}" if pending else line
        if pending.rstrip().endswith(";"):
            try:
                _answer(connection, pending, Format.TABLE)
            except CommsError as error:
                err.print(str(error), markup=False)
            pending = ""
    connection.close()

"""`comms query` and `comms shell`: the lake, read-only, for analysts."""

from enum import StrEnum
from typing import Annotated

import duckdb
import typer

from comms_pipeline.cli.console import err, out, table
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.errors import CommsError

_ROWS_SHOWN = 200


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
        _print(_run(cursor, sql), format)


def _run(cursor: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyConnection:
    try:
        return cursor.execute(sql)
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        raise InvalidQuery("query", first.rstrip(".!"), "See `show all tables` for what there is") from None


def _print(result: duckdb.DuckDBPyConnection, format: Format) -> None:
    names = [column[0] for column in result.description]
    if format is Format.TABLE:
        rows = result.fetchmany(_ROWS_SHOWN + 1)
        table(None, names, rows[:_ROWS_SHOWN])
        if len(rows) > _ROWS_SHOWN:
            err.print(f"The first {_ROWS_SHOWN} rows; --format csv prints all.")
        return
    frame = result.pl()
    typer.echo(frame.write_csv() if format is Format.CSV else frame.write_ndjson(), nl=False)


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
                _print(_run(connection, pending), Format.TABLE)
            except CommsError as error:
                err.print(str(error), markup=False)
            pending = ""
    connection.close()

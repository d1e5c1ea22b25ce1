"""`comms query`, `comms shell`, `comms warehouse`: the lake for analysts, read-only, here or in tools of their own."""

import csv
import sys
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import duckdb
import typer

from comms_pipeline.cli import questions
from comms_pipeline.cli.actor import actor
from comms_pipeline.cli.console import err, out, step, table
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.lake.export import LAYERS, export_lake
from comms_pipeline.lake.readers import put_reader
from comms_pipeline.ledger import audit
from comms_pipeline.ledger.server import Database
from comms_pipeline.stores import Stores

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
        str | None, typer.Argument(help='One statement, e.g. "select * from mart.campaign_performance".')
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="A ready question instead; `comms warehouse questions` lists them.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter of it: `--set message=…` is $message.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Run SQL on the warehouse, read-only."""
    text = questions.question_named(question).sql if question is not None else sql
    if text is None or (sql is not None and question is not None):
        raise InvalidQuery("query", "it needs SQL or a ready question", "Write SQL, or --question NAME")
    parameters = dict(_parameter(value) for value in values or [])
    lake = open_stores().lake_read_only
    with lake.reader() as cursor:
        _answer(cursor, text, format, parameters)


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise InvalidQuery(f"--set {text[:60]}", "that is no name and value", "Write --set name=value")
    return name, value


def _answer(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    format: Format,
    parameters: Mapping[str, str] = MappingProxyType({}),
) -> None:
    try:
        statements = cursor.extract_statements(sql)
        if len(statements) != 1:
            raise InvalidQuery("query", f"it holds {len(statements)} statements", "Write one")
        missing = sorted(statements[0].named_parameters ^ parameters.keys())
        if missing:
            fix = " ".join(f"--set {name}=…" for name in sorted(statements[0].named_parameters))
            raise InvalidQuery(
                "query", f"parameters do not fit: {', '.join(missing)}", f"Give {fix or 'none'}"
            )
        result: duckdb.DuckDBPyRelation | None = cursor.sql(
            statements[0].query, params=dict(parameters) or None
        )
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


def list_questions() -> None:
    """Questions that are ready to be asked: `comms query --question NAME`."""
    table(
        None,
        ["name", "question", "parameters"],
        [(each.name, each.title, ", ".join(each.parameters)) for each in questions.questions()],
    )


def export(
    file: Annotated[Path, typer.Argument(help="The DuckDB file to make.")],
    layers: Annotated[str, typer.Option(help="Which layers, with commas.")] = ",".join(LAYERS),
    with_personal_data: Annotated[
        bool,
        typer.Option("--with-personal-data", help="Addresses, names and free text too; the audit notes it."),
    ] = False,
) -> None:
    """Copy the warehouse, as it is now, into one DuckDB file for any tool."""
    chosen = [layer.strip() for layer in layers.split(",")]
    if unknown := sorted(set(chosen) - set(LAYERS)):
        raise InvalidQuery("--layers", f"there is no layer '{unknown[0]}'", f"Choose of {', '.join(LAYERS)}")
    stores = open_stores()
    if with_personal_data:
        with stores.ledger() as ledger:
            audit.note(
                ledger,
                actor=actor(),
                action="exported personal data",
                subject="warehouse",
                details={"layers": chosen},
            )
    with step("Copying") as progress:
        copied = export_lake(
            stores.lake_read_only,
            file,
            layers=chosen,
            has_personal_data=with_personal_data,
            on_table=lambda one: progress.update(progress.task_ids[0], note=one.table),
        )
    rows = sum(one.rows for one in copied)
    out.print(f"{file}: {len(copied)} tables, {rows:,} rows, {file.stat().st_size / 1e6:,.1f} MB")


def rebuild(
    model: Annotated[str, typer.Argument(help="Such as mart.send_funnel; empty: all.")] = "",
) -> None:
    """Compute models anew, all their rows. What they say must not change by it."""
    from comms_pipeline.loader.models import rebuild as compute
    from comms_pipeline.models.registry import model_named, models

    stores = open_stores()
    rows = []
    for name in [model_named(model).table] if model else models():
        with step(name):
            done = compute(stores, name)
        rows.append((done.table, done.rows, round(done.seconds, 1)))
    table(None, ["model", "rows", "seconds"], rows)


def reader(
    name: Annotated[
        str, typer.Argument(help="The role to make, or to give a new password.")
    ] = "comms_reader",
) -> None:
    """Make a role that may only read the warehouse, and print how to use it from DuckDB."""
    stores = open_stores()
    password = put_reader(stores.server.conninfo(Database.CATALOG), name)
    out.print(attach_snippet(stores, name, password), markup=False, soft_wrap=True)


def attach_snippet(stores: Stores, user: str, password: str) -> str:
    """What somebody types into DuckDB's own command line to read the lake."""
    catalog = replace(stores.server, user=user, password=password).conninfo(Database.CATALOG)
    lines = (
        "install ducklake; install postgres; load ducklake; load postgres; load icu; set TimeZone = 'UTC';",
        f"attach 'ducklake:postgres:{catalog}' as lake (data_path '{stores.settings.lake_path}', read_only);",
        "use lake;",
    )
    return "\n".join(lines)

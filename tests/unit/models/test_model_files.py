"""Every model there is: its SQL runs, gives what its header says, and its checks can be evaluated."""

from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import pytest

from comms_pipeline.loader.computed import computed
from comms_pipeline.models import ddl
from comms_pipeline.models.base_tables import base_tables
from comms_pipeline.models.checks import measures, statement
from comms_pipeline.models.dictionary import render
from comms_pipeline.models.lineage import Source, lineage
from comms_pipeline.models.registry import models
from comms_pipeline.models.schema import polars_schema
from comms_pipeline.models.sql import reads, spelled
from comms_pipeline.sqlfiles import warehouse_root

TABLES = list(models())
every_model = pytest.mark.parametrize("table", TABLES)
PARAMETERS = {
    "now": datetime(2026, 12, 1, tzinfo=UTC),
    "since": datetime(2026, 11, 1, tzinfo=UTC),
    "after": 7,
}


@pytest.fixture(scope="module")
def empty_lake() -> Iterator[duckdb.DuckDBPyConnection]:
    """All tables and views in memory."""
    with duckdb.connect() as connection:
        connection.execute((warehouse_root() / "lake/schema.sql").read_text(encoding="utf-8"))
        for each in ddl.statements(models().values(), {}):
            connection.execute(each)
        yield connection


def run(lake: duckdb.DuckDBPyConnection, sql: str) -> None:
    [parsed] = lake.extract_statements(sql)
    lake.execute(parsed, {name: PARAMETERS[name] for name in parsed.named_parameters})


@every_model
def test_a_model_gives_the_columns_and_types_of_its_header(
    empty_lake: duckdb.DuckDBPyConnection, table: str
) -> None:
    model = models()[table]
    wanted = {name: spelled(column.type) for name, column in model.header.columns.items()}
    if model.is_python:
        assert callable(computed(model))
        assert list(polars_schema(model)) == list(wanted)
        return
    if model.changed:
        keys = ", ".join(model.header.incremental)
        run(
            empty_lake,
            f"create or replace temp table changed as select * from ({model.changed}) found ({keys})",
        )
        types = {row[0]: spelled(row[1]) for row in empty_lake.execute("describe changed").fetchall()}
        assert types == {key: wanted[key] for key in model.header.incremental}
    run(empty_lake, f"create or replace temp table rebuilt as {model.select}")
    found = {row[0]: spelled(row[1]) for row in empty_lake.execute("describe rebuilt").fetchall()}
    assert found == wanted


@every_model
def test_the_checks_of_a_model_pass_on_an_empty_lake(
    empty_lake: duckdb.DuckDBPyConnection, table: str
) -> None:
    if models()[table].is_view:
        assert measures(models()[table]) == []
        return
    figures = empty_lake.execute(statement(models()[table])).fetchone()
    assert figures
    assert not any(figures)


@every_model
def test_every_column_comes_from_somewhere(table: str) -> None:
    model = models()[table]
    if model.is_python:
        assert lineage(model) == {}
        return
    found = lineage(model)
    assert list(found) == list(model.header.columns)
    assert {source.table for sources in found.values() for source in sources} <= reads(model) | {table}
    assert any(found[key] for key in model.header.key)


@every_model
def test_relations_and_reads_name_what_there_is(table: str) -> None:
    known = {name: set(base.columns) for name, base in base_tables().items()}
    known |= {name: set(model.header.columns) for name, model in models().items()}
    assert reads(models()[table]) <= known.keys()
    for column in models()[table].header.columns.values():
        for relation in column.relations:
            assert relation.column in known[relation.table]


def test_every_table_of_the_schema_is_understood(empty_lake: duckdb.DuckDBPyConnection) -> None:
    rows = empty_lake.execute(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns() "
        "where not internal and database_name = 'memory' and schema_name <> 'main'"
    ).fetchall()
    found = {(table, column): spelled(kind) for table, column, kind in rows if table not in models()}
    assert {
        (table, name): spelled(column.type)
        for table, base in base_tables().items()
        for name, column in base.columns.items()
    } == found


def test_lineage_sees_through_subqueries_and_conditions_of_counts() -> None:
    counts = lineage(models()["core.message_counts"])
    assert counts["channel"] == (Source(table="core.message_facts", column="channel"),)
    assert counts["refused"] == (Source(table="core.message_facts", column="state"),)
    assert counts["messages"] == ()
    hours = lineage(models()["core.send_hours"])
    assert hours["weight"] == (
        Source(table="core.message_status", column="first_human_clicked_at"),
        Source(table="core.message_status", column="first_human_opened_at"),
    )


def test_the_data_dictionary_is_up_to_date() -> None:
    page = (warehouse_root().parent / "docs/data-dictionary.md").read_text(encoding="utf-8")
    assert page == render(), "run `make dictionary`"


def test_every_column_of_the_lake_is_explained() -> None:
    unexplained = [
        f"{table}.{name}"
        for table, base in base_tables().items()
        for name, column in base.columns.items()
        if not column.note
    ]
    assert unexplained == []
    assert [table for table, base in base_tables().items() if not base.grain] == []

"""What is made of headers: tables and views, their order, and the statement that checks their rows."""

from pathlib import Path

import pytest

from comms_pipeline.models.checks import measures, model_checks, statement
from comms_pipeline.models.ddl import Existing, statements
from comms_pipeline.models.header import InvalidModel, Model, Severity, read_model
from comms_pipeline.models.registry import in_order, read_folder
from comms_pipeline.models.sql import reads


def model(
    table: str, sql: str, more: str = "", columns: str = "id: {type: varchar, description: Id.}"
) -> Model:
    header = (
        f"description: Some.\ngrain: one id\nkey: id\ngroup: analytics\nowner: team:analysts\n{more}"
        f"columns:\n  {columns}"
    )
    return read_model(table, f"{table}.sql", f"/* ---\n{header}\n--- */\n{sql}")


def test_a_new_lake_gets_tables_then_views() -> None:
    view = model("core.seen", "select id from mart.seen", "materialized: view\n")
    table = model("mart.seen", "select id from core.events")
    assert statements([view, table], {}) == [
        "create table mart.seen (\n    id varchar\n)",
        "create or replace view core.seen as\nselect id from mart.seen",
    ]


def test_a_table_gets_what_it_lacks_and_loses_what_is_too_much() -> None:
    wanted = model(
        "mart.seen",
        "select 1",
        columns="id: {type: varchar, description: Id.}\n  seen: {type: bigint, description: Times.}",
    )
    there = Existing(is_view=False, columns={"id": "VARCHAR", "old": "BIGINT"})
    assert statements([wanted], {"mart.seen": there}) == [
        "alter table mart.seen add column seen bigint",
        "alter table mart.seen drop column old",
    ]
    same = Existing(is_view=False, columns={"id": "VARCHAR", "seen": "INT64"})
    assert statements([wanted], {"mart.seen": same}) == []


def test_what_has_another_type_or_was_a_view_is_made_anew() -> None:
    wanted = model("mart.seen", "select id from core.events")
    create = "create table mart.seen (\n    id varchar\n)"
    other_type = Existing(is_view=False, columns={"id": "BIGINT"})
    assert statements([wanted], {"mart.seen": other_type}) == ["drop table mart.seen", create]
    was_view = Existing(is_view=True, columns={"id": "VARCHAR"})
    assert statements([wanted], {"mart.seen": was_view}) == ["drop view mart.seen", create]


def test_what_a_model_reads_comes_of_its_sql() -> None:
    found = reads(
        model(
            "mart.seen",
            "-- name: changed\nselect id from core.outcomes where load_id > $after\n"
            "-- name: model\nwith events as (select id from core.events semi join changed using (id))\n"
            "select id from events where id in (select id from mart.other) and id not in (from mart.seen select id)",
            "incremental: id\n",
        )
    )
    assert found == {"core.outcomes", "core.events", "mart.other"}


def test_models_come_after_what_they_read() -> None:
    ordered = in_order(
        [
            model("core.a", "select id from mart.b"),
            model("mart.b", "select id from mart.c"),
            model("mart.c", "select id from core.events"),
        ]
    )
    assert list(ordered) == ["mart.c", "mart.b", "core.a"]


def test_a_circle_is_told() -> None:
    with pytest.raises(
        InvalidModel, match=r"read each other in a circle: core\.a → core\.b → core\.a|core\.b → core\.a"
    ):
        in_order([model("core.a", "select id from core.b"), model("core.b", "select id from core.a")])


@pytest.mark.parametrize(
    ("sql", "told"),
    [("select from where", "cannot be parsed"), ("drop table core.events", "is not a SELECT")],
)
def test_sql_that_is_no_query_is_told(sql: str, told: str) -> None:
    with pytest.raises(InvalidModel, match=told):
        reads(model("core.a", sql))


def test_files_are_named_after_their_table(tmp_path: Path) -> None:
    (tmp_path / "mart").mkdir()
    (tmp_path / "mart/seen.sql").write_text("select 1", encoding="utf-8")
    with pytest.raises(InvalidModel, match=r"^warehouse/lake/models/mart/seen\.sql: it does not begin"):
        read_folder(tmp_path)


def test_checks_are_few_and_grave_where_figures_would_be_wrong() -> None:
    checked = model(
        "mart.seen",
        "select 1",
        "checks:\n  sums: select 1 where false\n  all_there: {rows: {equal: core.events}}\n",
        columns="id: {type: varchar, description: Id., tests: [not_null, {relation: core.events.event_id}]}\n"
        '  kind: {type: varchar, description: Kind., tests: [{accepted: [new, "it\'s old"]}]}\n'
        "  rate: {type: double, description: Rate., tests: [share, not_null]}",
    )
    assert {check.name: check.severity for check in model_checks(checked)} == {
        "keys_unique": Severity.ERROR,
        "values_present": Severity.ERROR,
        "values_accepted": Severity.WARN,
        "shares_in_range": Severity.ERROR,
        "relations_hold": Severity.WARN,
        "sums": Severity.ERROR,
        "all_there": Severity.ERROR,
    }
    assert [measure.what for measure in measures(checked)] == [
        "id: there twice",
        "id: missing",
        "kind: not one of the known values",
        "rate: missing",
        "rate: not in 0 to 1",
        "id: not in core.events.event_id",
        "rows found",
        "rows = rows of core.events: not so",
    ]
    assert "kind not in ('new', 'it''s old')" in statement(checked)

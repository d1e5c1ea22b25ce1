"""What a model's file may say, and what somebody is told who wrote it wrongly."""

import pytest

from comms_pipeline.models.header import InvalidModel, Model, Severity, read_model, read_shared_columns

FILE = "warehouse/lake/models/mart/reads.sql"
HEADER = """\
description: How often each contact read.
grain: one contact
key: [contact_id]
group: analytics
owner: team:analysts
columns:
  contact_id: {type: varchar, description: The contact., tests: [not_null, {relation: core.contacts.contact_id}]}
  reads: {type: bigint, unit: messages, description: "Opened, whoever did it.", tests: [not_null]}
"""
SELECT = "select contact_id, count(*) as reads from core.events group by contact_id"


def text(header: str = HEADER, sql: str = SELECT) -> str:
    return f"/* ---\n{header.rstrip()}\n--- */\n\n{sql}\n"


def read(header: str = HEADER, sql: str = SELECT) -> Model:
    return read_model("mart.reads", FILE, text(header, sql))


def problem(header: str = HEADER, sql: str = SELECT) -> str:
    with pytest.raises(InvalidModel) as caught:
        read(header, sql)
    return str(caught.value)


def test_a_header_says_what_the_table_is() -> None:
    model = read(
        f"{HEADER}freshness_hours: 26\nchecks:\n  some: select 1 where false\n"
        "  fewer: {rows: {at_most: core.contacts}, severity: warn}\n"
    )
    assert (model.table, model.layer, model.noun) == ("mart.reads", "mart", "reads")
    assert model.select == SELECT
    assert model.changed is None
    assert model.header.key == ("contact_id",)
    assert model.header.freshness_hours == 26
    contact, reads = model.header.columns.values()
    assert contact.has("not_null")
    assert [relation.relation for relation in contact.relations] == ["core.contacts.contact_id"]
    assert (reads.unit, reads.description) == ("messages", "Opened, whoever did it.")
    assert model.header.checks["some"].sql == "select 1 where false"
    rows = model.header.checks["fewer"].rows
    assert rows is not None
    assert rows.comparison == ("<=", "core.contacts")
    assert model.header.checks["fewer"].severity is Severity.WARN


def test_an_incremental_model_has_two_queries() -> None:
    model = read(
        f"{HEADER}incremental: contact_id\n",
        f"-- name: changed\nselect contact_id from core.events\n\n-- name: model\n{SELECT};",
    )
    assert model.header.incremental == ("contact_id",)
    assert model.changed == "select contact_id from core.events"
    assert model.select == SELECT


def test_a_model_of_python_has_a_header_only() -> None:
    model = read(f"{HEADER}computed: python\ndepends_on: [core.events]\n", "")
    assert model.is_python
    assert model.select is None


SHARED = """\
reads: {type: bigint, unit: messages, description: Opened by whomever.}
rate: {type: double, unit: share, description: Of the messages., is: "reads / nullif(messages, 0)"}
"""


def test_a_column_without_a_definition_is_the_shared_one_and_its_formula_is_added_to_the_rows() -> None:
    header = HEADER[: HEADER.index("  reads:")] + "  reads:\n  rate:\n"
    model = read_model("mart.reads", FILE, text(header), read_shared_columns("columns.yaml", SHARED))
    assert model.header.columns["reads"].description == "Opened by whomever."
    assert model.select is not None
    assert model.select.split() == (
        f"select *, reads / nullif(messages, 0) as rate from ( {SELECT} ) row_of_model".split()
    )


def test_a_column_that_nobody_defines_is_told() -> None:
    assert problem(f"{HEADER}  rate:\n") == (
        f"{FILE}: `columns.rate` has no definition. Write one; columns.yaml has none of that name"
    )


def test_shared_columns_that_are_not_yaml_are_told() -> None:
    with pytest.raises(InvalidModel, match=r"columns\.yaml:1: the file is not YAML"):
        read_shared_columns("columns.yaml", "reads: {type: bigint")
    with pytest.raises(InvalidModel, match=r"columns\.yaml: the file is not a mapping"):
        read_shared_columns("columns.yaml", "- reads")


def test_the_digest_follows_what_makes_the_rows_and_not_what_is_said_of_them() -> None:
    assert read(HEADER.replace("The contact.", "Who it is.")).digest == read().digest
    assert read(sql=f"{SELECT} having reads > 1").digest != read().digest
    assert read(HEADER.replace("bigint", "integer")).digest != read().digest


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (HEADER.replace("grain: one contact\n", ""), "`grain` is missing. Add it to the header."),
        (HEADER.replace("group: analytics", "group: numbers"), "`group` cannot be used: Input should be"),
        (HEADER.replace("team:analysts", "bob"), "`owner` cannot be used: String should match"),
        (
            HEADER.replace("key: [contact_id]", "key: [nobody]"),
            "`key` names nobody, which is no column. Add it",
        ),
        (HEADER + "incremental: nothing\n", "`incremental` names nothing, which is no column"),
        (HEADER + "colour: red\n", "`colour` is not known here. Remove it"),
        (
            HEADER.replace('"Opened, whoever did it."', "Opened, whoever did it."),
            "`columns.reads.whoever did it.` is not known here. Remove it, or quote the text it comes from",
        ),
        (HEADER.replace("[not_null]}", "[is_nice]}"), "`columns.reads.tests.0"),
        (
            HEADER + "checks:\n  both: {sql: select 1, rows: {equal: core.events}}\n",
            "give either sql or rows",
        ),
        (HEADER + "checks:\n  two: {rows: {equal: a.b, at_most: a.b}}\n", "give exactly one of equal"),
        (HEADER + "chart: {name: reads, of: sum(reads)}\n", "give either by or over"),
        (HEADER + "depends_on: [core.events]\n", "`depends_on` is given, though the SQL says it"),
        ("- a list\n", "the header is not a mapping"),
        (HEADER + "  grain: {\n", "the header is not YAML"),
    ],
)
def test_a_wrong_header_is_told_with_its_file_and_what_to_do(header: str, told: str) -> None:
    message = problem(header)
    assert message.startswith(FILE)
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("header", "sql", "told"),
    [
        (HEADER, "", "it is not incremental, so one SELECT"),
        (HEADER, f"-- name: model\n{SELECT}", "it is not incremental, so one SELECT"),
        (HEADER + "incremental: contact_id\n", SELECT, "`changed` and `model`"),
        (HEADER + "computed: python\n", SELECT, "it is computed in Python and has SQL"),
        (
            HEADER + "incremental: contact_id\nmaterialized: view\n",
            f"-- name: changed\nselect 1\n-- name: model\n{SELECT}",
            "a table with the queries",
        ),
    ],
)
def test_sql_that_does_not_fit_its_header_is_told(header: str, sql: str, told: str) -> None:
    assert told in problem(header, sql)


def test_a_file_without_a_header_is_told() -> None:
    with pytest.raises(InvalidModel, match="it does not begin with a header"):
        read_model("mart.reads", FILE, f"-- just SQL\n{SELECT}")

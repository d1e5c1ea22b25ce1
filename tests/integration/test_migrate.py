"""Forward-only migrations on a real Postgres."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.rows import dict_row

from comms_pipeline.ledger.migrate import MigrationError, migrate, read_migrations
from comms_pipeline.ledger.server import Database, Server, connect

FILES = {
    "0001_fruit.sql": "create table fruit (name text primary key); insert into fruit values ('100% quince');",
    "0002_vegetable.sql": "create table vegetable (name text primary key);",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
def empty(database: Server) -> Server:
    """A server whose ledger's database holds nothing yet."""
    return replace(database, database=database.database_name(Database.DAGSTER))


def query(server: Server, statement: str) -> list[tuple[object, ...]]:
    with closing(connect(server)) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_the_ledgers_own_schema_applies(empty: Server) -> None:
    assert migrate(empty)[0] == "0001_ledger"
    assert query(empty, "select to_regclass('batch')::text, to_regclass('suppression')::text") == [
        ("batch", "suppression")
    ]


def test_migrations_apply_in_order_and_only_once(empty: Server, folder: Path) -> None:
    assert migrate(empty, folder) == ["0001_fruit", "0002_vegetable"]
    assert migrate(empty, folder) == []
    assert query(empty, "select name from fruit") == [("100% quince",)]
    assert query(empty, "select version, name, length(digest) from migration order by version") == [
        (1, "0001_fruit", 64),
        (2, "0002_vegetable", 64),
    ]


def test_a_later_file_applies_alone(empty: Server, folder: Path) -> None:
    migrate(empty, folder)
    (folder / "0003_spice.sql").write_text("create table spice (name text)", encoding="utf-8")
    assert migrate(empty, folder) == ["0003_spice"]


def test_an_open_connection_of_any_kind_serves(empty: Server, folder: Path) -> None:
    with closing(connect(empty, autocommit=True)) as connection:
        connection.row_factory = dict_row
        assert migrate(connection, folder) == ["0001_fruit", "0002_vegetable"]
        assert not connection.closed
    assert query(empty, "select count(*) from migration") == [(2,)]


def test_many_at_once_apply_each_file_once(empty: Server, folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        applied = [name for names in pool.map(lambda _: migrate(empty, folder), range(8)) for name in names]
    assert sorted(applied) == ["0001_fruit", "0002_vegetable"]
    assert query(empty, "select count(*) from fruit") == [(1,)]


def test_a_changed_file_is_refused_by_name(empty: Server, folder: Path) -> None:
    migrate(empty, folder)
    (folder / "0001_fruit.sql").write_text("create table fruit (name text);", encoding="utf-8")
    with pytest.raises(MigrationError, match=r"^0001_fruit\.sql: changed after it was applied\. ") as caught:
        migrate(empty, folder)
    assert caught.value.culprit == "0001_fruit.sql"


def test_other_line_ends_are_no_change(empty: Server, folder: Path) -> None:
    (folder / "0001_fruit.sql").write_bytes(b"create table fruit (\nname text);\n")
    migrate(empty, folder)
    (folder / "0001_fruit.sql").write_bytes(b"create table fruit (\r\nname text);\r\n")
    assert migrate(empty, folder) == []


def test_a_database_newer_than_the_files_is_refused(empty: Server, folder: Path) -> None:
    migrate(empty, folder)
    (folder / "0002_vegetable.sql").unlink()
    with pytest.raises(
        MigrationError, match=r"^0002_vegetable\.sql: was applied to this database but is not here"
    ):
        migrate(empty, folder)


def test_a_failing_file_leaves_nothing_behind_and_earlier_ones_stay(empty: Server, folder: Path) -> None:
    (folder / "0002_vegetable.sql").write_text("create table half (x int); select 1/0;", encoding="utf-8")
    with pytest.raises(MigrationError) as caught:
        migrate(empty, folder)
    assert str(caught.value) == (
        "0002_vegetable.sql: division by zero. Nothing of it was applied; mend it and run again"
    )
    assert query(empty, "select to_regclass('half')::text, to_regclass('fruit')::text") == [(None, "fruit")]
    (folder / "0002_vegetable.sql").write_text("create table half (x int);", encoding="utf-8")
    assert migrate(empty, folder) == ["0002_vegetable"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("0004_gap.sql", "stands where 0003 is due"),
        ("0002_twice.sql", "stands where 0003 is due"),
        ("3_short.sql", "is not named like 0002_add_table.sql"),
        ("0003-dash.sql", "is not named like 0002_add_table.sql"),
    ],
)
def test_a_misnumbered_file_is_refused_by_name(folder: Path, name: str, problem: str) -> None:
    # Sorts after the others, whatever its number.
    if name == "0002_twice.sql":
        (folder / "0002_vegetable.sql").rename(folder / "0002_earlier.sql")
    (folder / name).write_text("select 1", encoding="utf-8")
    with pytest.raises(MigrationError) as caught:
        read_migrations(folder)
    assert (caught.value.culprit, caught.value.problem) == (name, problem)

"""What was deleted from the lake and then forgotten is in no file, snapshot or statistic. All else is as before."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from comms_pipeline.lake.erase import forget_deleted
from comms_pipeline.lake.lake import Lake
from comms_pipeline.ledger.server import Database, Server, connect
from comms_pipeline.stores import Stores

TABLE = "core.contacts"
BOUNDS = """
select g.min_value, g.max_value from ducklake_table_column_stats g
join ducklake_column c using (table_id, column_id) join ducklake_table t using (table_id)
where t.table_name = 'contacts' and c.column_name = 'email' and c.end_snapshot is null
"""


@pytest.fixture
def lake(stores: Stores) -> Lake:
    return stores.lake


def insert(lake: Lake, *emails: str) -> None:
    """One file."""
    with lake.writer() as writer:
        writer.cursor.execute(
            f"insert into {TABLE} by name select md5(email) as contact_id, 'gallery' as organisation_id, email, "
            "'{}' as attributes, false as is_erased, now() as created_at, now() as updated_at "
            "from (select unnest($emails) as email)",
            {"emails": list(emails)},
        )


def delete(lake: Lake, email: str) -> None:
    with lake.writer() as writer:
        writer.cursor.execute(f"delete from {TABLE} where email = $email", {"email": email})


def ask(lake: Lake, query: str) -> list[tuple[Any, ...]]:
    with lake.reader() as cursor:
        return cursor.execute(query).fetchall()


def catalog(database: Server, query: str) -> list[tuple[Any, ...]]:
    with connect(database, Database.CATALOG) as connection:
        return connection.execute(query.encode()).fetchall()


def parquet_values(folder: Path) -> set[str]:
    return {
        value
        for path in folder.rglob("contacts/*.parquet")
        if not path.stem.endswith("-delete")
        for (value,) in duckdb.connect()
        .execute("select email from read_parquet($p)", {"p": str(path)})
        .fetchall()
    }


def answers(lake: Lake) -> dict[str, object]:
    """What filters on the column say, which DuckDB may settle from statistics alone."""
    return {
        question: ask(lake, f"select count(*) from {TABLE} where {question}")[0][0]
        for question in (
            "email = 'm@x'",
            "email > 'n'",
            "email < 'c'",
            "email is null",
            "email between 'a' and 'zz'",
        )
    }


def test_deleted_rows_leave_files_and_statistics(stores: Stores, lake: Lake, database: Server) -> None:
    insert(lake, "a@x", "m@x", "b@x")
    insert(lake, "c@x", "z@x")
    delete(lake, "a@x")
    delete(lake, "z@x")
    assert parquet_values(stores.settings.lake_path) >= {"a@x", "z@x"}
    assert catalog(database, BOUNDS) == [("a@x", "z@x")]
    forget_deleted(lake, [TABLE])
    assert parquet_values(stores.settings.lake_path) == {"b@x", "c@x", "m@x"}
    assert catalog(database, BOUNDS) == [("b@x", "m@x")]
    assert ask(lake, "select count(*) from ducklake_snapshots('lake')") == [(1,)]
    expected = {"email = 'm@x'": 1, "email > 'n'": 0, "email < 'c'": 1, "email is null": 0}
    assert answers(lake) == expected | {"email between 'a' and 'zz'": 3}


def test_a_file_that_lost_all_its_rows_leaves_no_bounds(lake: Lake, database: Server) -> None:
    insert(lake, "m@x", "n@x")
    insert(lake, "z@x")
    delete(lake, "z@x")
    forget_deleted(lake, [TABLE])
    assert catalog(database, BOUNDS) == [("m@x", "n@x")]
    insert(lake, "q@x")
    assert catalog(database, BOUNDS) == [("m@x", "q@x")]
    assert answers(lake)["email = 'm@x'"] == 1
    assert answers(lake)["email > 'n'"] == 2


def test_an_emptied_table_starts_over(lake: Lake, database: Server) -> None:
    insert(lake, "z@x")
    delete(lake, "z@x")
    forget_deleted(lake, [TABLE])
    assert catalog(database, BOUNDS) == [(None, None)]
    insert(lake, "k@x", "l@x")
    assert catalog(database, BOUNDS) == [("k@x", "l@x")]
    assert ask(lake, f"select email from {TABLE} where email > 'k@x'") == [("l@x",)]


def test_a_process_that_remembers_old_bounds_does_not_write_them_back(
    stores: Stores, lake: Lake, database: Server
) -> None:
    insert(lake, "m@x")
    insert(lake, "z@x")
    delete(lake, "z@x")
    other = Stores(replace_home(stores)).lake
    assert ask(other, f"select count(*) from {TABLE} where email > 'a'") == [(1,)]
    forget_deleted(lake, [TABLE])
    insert(other, "p@x")
    assert catalog(database, BOUNDS) == [("m@x", "p@x")]
    assert answers(other)["email = 'm@x'"] == answers(lake)["email = 'm@x'"] == 1
    other.close()


def replace_home(stores: Stores) -> Any:
    """The same settings for another process."""
    return stores.settings.model_copy()


def test_long_texts_keep_their_bounds(lake: Lake, database: Server) -> None:
    insert(lake, "b" + "x" * 600, "m@x")
    insert(lake, "zz" + "y" * 600)
    delete(lake, "zz" + "y" * 600)
    forget_deleted(lake, [TABLE])
    ((least, greatest),) = catalog(database, BOUNDS)
    assert least.startswith("bxxx")
    assert greatest == "m@x"
    assert ask(lake, f"select count(*) from {TABLE} where email < 'c'") == [(1,)]


def test_a_reader_in_the_middle_gets_the_truth_or_an_error(lake: Lake) -> None:
    insert(lake, "m@x", "n@x")
    with lake.reader() as reader:
        assert reader.execute(f"select count(*) from {TABLE}").fetchall() == [(2,)]
        delete(lake, "m@x")
        forget_deleted(lake, [TABLE])
        with pytest.raises(duckdb.IOException):
            reader.execute(f"select min(email) from {TABLE}").fetchall()
    assert ask(lake, f"select min(email) from {TABLE}") == [("n@x",)]


def test_what_a_dead_writer_left_goes_too(stores: Stores, lake: Lake) -> None:
    insert(lake, "m@x")
    (known,) = stores.settings.lake_path.rglob("contacts/*.parquet")
    orphan = known.with_name("ducklake-of-nobody.parquet")
    orphan.write_bytes(known.read_bytes())
    forget_deleted(lake, [TABLE])
    assert not orphan.exists()
    assert known.exists()


def test_forgetting_again_changes_nothing(lake: Lake, database: Server) -> None:
    insert(lake, "m@x", "n@x")
    delete(lake, "m@x")
    forget_deleted(lake, [TABLE])
    before = catalog(database, "select * from ducklake_snapshot")
    forget_deleted(lake, [TABLE])
    assert catalog(database, "select * from ducklake_snapshot") == before
    assert ask(lake, f"select email from {TABLE}") == [("n@x",)]

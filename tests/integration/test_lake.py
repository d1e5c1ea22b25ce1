"""The lake on a real catalog: what writers promise, what readers see, and what nobody ever gets to see."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import duckdb
import polars as pl
import psycopg
import pytest

from comms_pipeline.domain.errors import DatabaseUnavailable
from comms_pipeline.lake.extensions import link_extensions
from comms_pipeline.lake.lake import Lake
from comms_pipeline.lake.maintain import maintain
from comms_pipeline.ledger import launcher
from comms_pipeline.ledger.server import Database, Server
from comms_pipeline.sqlfiles import warehouse_root

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
TABLE = "raw.watermarks"
NOTHING = timedelta(0)


@pytest.fixture(scope="module")
def server(postgres: Server) -> Server:
    server = replace(postgres, database=f"lake_{uuid4().hex[:12]}")
    launcher.ensure_databases(server)
    return server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lake")


def open_lake(server: Server, home: Path, *, is_read_only: bool = False) -> Lake:
    return Lake(
        catalog=server.conninfo(Database.CATALOG),
        data_path=home / "lake",
        extension_folder=home / "extensions",
        is_read_only=is_read_only,
    )


@pytest.fixture(scope="module")
def lake(server: Server, home: Path) -> Iterator[Lake]:
    """One lake for all tests of this file; each keeps to rows whose `feed` begins with a word of its own."""
    lake = open_lake(server, home)
    lake.create_tables()
    yield lake
    lake.close()


@pytest.fixture
def word() -> str:
    return uuid4().hex


def rows(*ids: int, feed: str) -> pl.DataFrame:
    # Not in the table's order: columns go by name.
    return pl.DataFrame(
        {"loaded_at": NOW, "last_id": list(ids), "feed": feed, "xact": 7},
        schema_overrides={"xact": pl.UInt64},
    )


def ids(lake: Lake, word: str) -> list[tuple[str, int]]:
    with lake.reader() as cursor:
        return cursor.execute(
            f"select feed, last_id from {TABLE} where feed like $word || '%' order by all", {"word": word}
        ).fetchall()


def in_another_process(code: str, server: Server, home: Path, **environment: str) -> "subprocess.Popen[str]":
    """Runs `code`, with `lake` at hand."""
    prelude = (
        "import os\nfrom pathlib import Path\nfrom comms_pipeline.lake.lake import Lake\n"
        "home = Path(os.environ['LAKE_HOME'])\n"
        "lake = Lake(catalog=os.environ['CATALOG'], data_path=home / 'lake', extension_folder=home / 'extensions')\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", prelude + code],
        env={
            **os.environ,
            "CATALOG": server.conninfo(Database.CATALOG),
            "LAKE_HOME": str(home),
            **environment,
        },
        text=True,
        stdout=subprocess.PIPE,
    )


def finished(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return output


def terminate_others(server: Server, condition: str = "true") -> int:
    with psycopg.connect(server.conninfo(Database.CATALOG), autocommit=True) as admin:
        query = (
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity "
            f"where datname = current_database() and pid <> pg_backend_pid() and {condition}"
        )
        return len(admin.execute(query).fetchall())


HOLDS_THE_LOCK = "pid in (select pid from pg_locks where locktype = 'advisory')"


def test_append_replace_and_erase_change_only_the_rows_they_name(lake, word):
    with lake.writer() as writer:
        assert writer.append(TABLE, rows(1, 2, feed=f"{word}-a")) == 2
        assert writer.append(TABLE, rows(3, feed=f"{word}-b")) == 1
        assert writer.append(TABLE, rows(4, 5, feed=f"{word}-c")) == 2
        assert writer.append(TABLE, rows(feed=f"{word}-a").clear()) == 0
    with lake.writer() as writer:
        assert writer.replace_partition(TABLE, "feed", f"{word}-a", rows(9, feed=f"{word}-a")) == 1
        assert writer.replace_keys(TABLE, "feed", rows(6, 7, feed=f"{word}-b")) == 2
        assert writer.replace_keys(TABLE, "feed", rows(8, feed=f"{word}-d")) == 1
        writer.erase(TABLE, "feed", [f"{word}-c", f"{word}-unknown"])
        writer.erase(TABLE, "feed", [])

    assert ids(lake, word) == [(f"{word}-a", 9), (f"{word}-b", 6), (f"{word}-b", 7), (f"{word}-d", 8)]
    with lake.reader() as cursor:
        [row] = cursor.execute(f"select * from {TABLE} where feed = $feed", {"feed": f"{word}-d"}).fetchall()
    assert row == (f"{word}-d", 7, 8, NOW)


def test_a_writer_that_fails_leaves_nothing_in_any_table(lake, word):
    with lake.writer() as writer:
        writer.append(TABLE, rows(1, feed=word))

    def fail() -> None:
        with lake.writer() as writer:
            writer.erase(TABLE, "feed", [word])
            writer.append(TABLE, rows(2, feed=word))
            reject = {"landing_id": [1], "provider": [word], "received_at": [NOW], "reason": ["x"]}
            writer.append("raw.event_rejects", pl.DataFrame(reject))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ids(lake, word) == [(word, 1)]
    with lake.reader() as cursor:
        assert (
            cursor.execute("select * from raw.event_rejects where provider = $w", {"w": word}).fetchall()
            == []
        )


def test_a_frame_with_a_column_the_table_lacks_is_refused(lake, word):
    with pytest.raises(duckdb.BinderException), lake.writer() as writer:
        writer.append(TABLE, rows(1, feed=word).with_columns(stranger=pl.lit(1)))

    assert ids(lake, word) == []


def test_a_writer_whose_lock_was_lost_commits_nothing(lake, server, word):
    def write() -> None:
        with lake.writer() as writer:
            writer.append(TABLE, rows(1, feed=word))
            assert terminate_others(server, HOLDS_THE_LOCK) == 1

    with pytest.raises(DatabaseUnavailable, match="write lock was lost"):
        write()
    assert ids(lake, word) == []


def test_a_catalog_that_goes_away_in_a_transaction_is_an_error_and_the_next_transaction_works(
    lake, server, word
):
    def write() -> None:
        with lake.writer() as writer:
            writer.append(TABLE, rows(1, feed=word))
            terminate_others(server)

    def read() -> None:
        with lake.reader() as cursor:
            cursor.execute(f"select count(*) from {TABLE}").fetchall()
            terminate_others(server)
            cursor.execute("select count(*) from core.contacts where name = 'Ada'").fetchall()

    with pytest.raises(DatabaseUnavailable):
        write()
    with pytest.raises(duckdb.Error):
        read()
    with lake.writer() as writer:
        writer.append(TABLE, rows(2, feed=word))
    assert ids(lake, word) == [(word, 2)]


def test_a_reader_sees_one_snapshot_and_the_next_reader_the_commits_in_between(lake, word):
    count = f"select count(*) from {TABLE} where feed = $feed"
    with lake.reader() as cursor:
        assert cursor.execute(count, {"feed": word}).fetchall() == [(0,)]
        with lake.writer() as writer:
            writer.append(TABLE, rows(1, 2, feed=word))
        assert cursor.execute(count, {"feed": word}).fetchall() == [(0,)]

    with lake.reader() as cursor:
        assert cursor.execute(count, {"feed": word}).fetchall() == [(2,)]


def test_another_process_reads_what_is_committed_while_a_writer_is_open(lake, server, home, word):
    code = (
        f"with lake.reader() as cursor:\n"
        f"    print(cursor.execute(\"select list(last_id) from {TABLE} where feed = '{word}'\").fetchall())"
    )
    with lake.writer() as writer:
        writer.append(TABLE, rows(1, feed=word))

    with lake.writer() as writer:
        writer.append(TABLE, rows(2, feed=word))
        assert finished(in_another_process(code, server, home)) == "[([1],)]\n"


def test_writers_of_two_processes_wait_for_each_other(lake, server, home, word):
    code = (
        "with lake.writer() as writer:\n"
        f"    writer.cursor.execute(\"insert into {TABLE} select '{word}', 7, count(*), now()"
        f" from {TABLE} where feed = '{word}'\")"
    )
    with lake.writer() as writer:
        writer.append(TABLE, rows(0, feed=word))
        process = in_another_process(code, server, home)
        with psycopg.connect(server.conninfo(Database.CATALOG), autocommit=True) as admin:
            waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
            while admin.execute(waiting).fetchone() == (0,) and process.poll() is None:
                time.sleep(0.02)
        # It came second and counts what this one wrote.

    finished(process)
    assert ids(lake, word) == [(word, 0), (word, 1)]


def test_the_read_only_lake_refuses_to_write(lake, server, home, word):
    read_only = open_lake(server, home, is_read_only=True)
    try:
        with pytest.raises(duckdb.InvalidInputException, match="read-only"), read_only.writer() as writer:
            writer.append(TABLE, rows(1, feed=word))
        assert ids(read_only, word) == []
    finally:
        read_only.close()


def test_days_are_utc_days_whatever_the_zone_of_the_machine(lake, server, home, word):
    code = (
        "with lake.reader() as cursor:\n"
        "    moment = \"timestamptz '2026-03-01 02:00:00+00'\"\n"
        "    print(cursor.execute(f\"select date_trunc('day', {moment})::varchar, {moment}::date::varchar, "
        "current_setting('TimeZone')\").fetchone())"
    )

    output = finished(in_another_process(code, server, home, TZ="America/New_York"))

    assert output == "('2026-03-01 00:00:00+00', '2026-03-01', 'UTC')\n"


def test_extensions_other_than_ours_still_need_a_signature(lake):
    with closing(lake.connect()) as cursor:
        assert cursor.execute("select current_setting('allow_unsigned_extensions')").fetchone() == (False,)
        with pytest.raises(duckdb.Error, match="Cannot change allow_unsigned_extensions"):
            cursor.execute("set allow_unsigned_extensions = true")


def test_inlining_is_off_also_for_a_client_that_does_not_ask_for_it(lake, server, home, word):
    files = f"select count(*) from ducklake_list_files('plain', '{TABLE.split('.')[1]}', schema => 'raw')"
    with duckdb.connect(config={"extension_directory": str(home / "extensions")}) as plain:
        catalog = server.conninfo(Database.CATALOG)
        plain.execute(f"load ducklake; load postgres_scanner; attach 'ducklake:postgres:{catalog}' as plain")
        options = "select value from ducklake_options('plain') where option_name = 'data_inlining_row_limit'"
        assert plain.execute(options).fetchall() == [("0",)]
        before = plain.execute(files).fetchall()[0][0]
        plain.execute(f"insert into plain.{TABLE} values ('{word}', 1, 1, now())")
        assert plain.execute(files).fetchall() == [(before + 1,)]


def test_the_extension_folder_holds_links_only_and_may_be_made_by_many_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(link_extensions, [tmp_path] * 100)) == [tmp_path] * 100

    found = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert sorted(path.name for path in found) == [
        "ducklake.duckdb_extension",
        "postgres_scanner.duckdb_extension",
    ]
    assert all(path.is_symlink() and path.exists() for path in found)


def test_nothing_shown_holds_the_password(lake, server, home, tmp_path):
    assert len(server.password) > 8
    shown = [repr(lake), str(vars(lake)["_connection"])]
    with lake.reader() as cursor:
        shown.append(str(cursor.execute("from duckdb_databases()").fetchall()))
        shown.append(str(cursor.execute("from duckdb_settings()").fetchall()))
    wrong = [
        replace(server, port=1),
        replace(server, database="missing"),
        replace(server, user="nobody"),
        replace(server, password="wrong but secret"),
    ]
    for each in wrong:
        for method in ("connect", "create_tables"):
            other = open_lake(each, tmp_path)
            with pytest.raises(DatabaseUnavailable) as caught:
                getattr(other, method)()
            shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]

    assert "wrong but secret" not in str(shown)
    assert server.password not in str(shown)
    password_file = home / "extensions" / "catalog.pgpass"
    assert password_file.stat().st_mode & 0o077 == 0


def test_a_lake_that_was_never_made_says_so(server, tmp_path):
    unmade = Lake(
        catalog=server.conninfo(Database.DAGSTER),
        data_path=tmp_path,
        extension_folder=tmp_path / "extensions",
        is_read_only=True,
    )

    with pytest.raises(DatabaseUnavailable, match="it has not been created yet"):
        unmade.connect()


def test_a_lake_whose_files_moved_says_so(lake, server, tmp_path):
    moved = open_lake(server, tmp_path)

    with pytest.raises(DatabaseUnavailable, match="its files were in another folder"):
        moved.connect()


def test_creating_the_tables_again_keeps_what_is_in_them(lake, word):
    with lake.writer() as writer:
        writer.append(TABLE, rows(1, feed=word))

    lake.create_tables()

    assert ids(lake, word) == [(word, 1)]


def test_a_changed_schema_is_applied_by_the_next_start(server, home, word, tmp_path, monkeypatch):
    shipped = (warehouse_root() / "lake/schema.sql").read_text(encoding="utf-8")
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake/schema.sql").write_text(
        f"{shipped}\ncreate table if not exists raw.new_{word} (id integer not null);\n", encoding="utf-8"
    )
    with closing(open_lake(server, home)) as before:
        before.create_tables()
    monkeypatch.setattr("comms_pipeline.lake.lake.warehouse_root", lambda: tmp_path)

    # Two processes of the new version may start at once.
    with (
        ThreadPoolExecutor(2) as pool,
        closing(open_lake(server, home)) as one,
        closing(open_lake(server, home)) as two,
    ):
        list(pool.map(Lake.create_tables, (one, two)))
        with two.writer() as writer:
            assert writer.append(f"raw.new_{word}", pl.DataFrame({"id": [1]})) == 1
            writer.cursor.execute(f"drop table raw.new_{word}")


def test_a_schema_that_is_current_is_not_even_looked_at(lake, server, home):
    lake.create_tables()
    with lake.exclusively(), closing(open_lake(server, home)) as other:
        # Who writes does not keep others from starting.
        other.create_tables()
        assert vars(other)["_connection"] is None


def test_a_schema_that_could_not_be_applied_is_tried_again(server, home, word, tmp_path, monkeypatch):
    (tmp_path / "lake").mkdir()
    schema = tmp_path / "lake/schema.sql"
    schema.write_text(f"create table if not exists raw.new_{word} (id intejer);", encoding="utf-8")
    monkeypatch.setattr("comms_pipeline.lake.lake.warehouse_root", lambda: tmp_path)
    with closing(open_lake(server, home)) as lake:
        for _ in range(2):
            with pytest.raises(duckdb.Error):
                lake.create_tables()


def test_maintenance_merges_small_files_and_leaves_a_reader_its_own(lake, word):
    for number in range(4):
        with lake.writer() as writer:
            writer.append(TABLE, rows(number, feed=word))
    with lake.reader() as cursor:
        query = f"select list_sort(list(last_id)) from {TABLE} where feed = $feed"
        assert cursor.execute(query, {"feed": word}).fetchall() == [([0, 1, 2, 3],)]

        maintain(lake, now=datetime.now(UTC), keep_snapshots=NOTHING)

        assert cursor.execute(query, {"feed": word}).fetchall() == [([0, 1, 2, 3],)]
    with lake.reader() as cursor:
        [(files,)] = cursor.execute(
            "select count(*) from ducklake_list_files('lake', 'watermarks', schema => 'raw')"
        ).fetchall()
    assert files == 1
    assert len(ids(lake, word)) == 4


def test_maintenance_removes_old_files_and_what_dead_writers_left(lake, home, word):
    with lake.writer() as writer:
        writer.append(TABLE, rows(1, feed=word))
    with lake.writer() as writer:
        writer.erase(TABLE, "feed", [word])
    left_behind = home / "lake" / "raw" / "watermarks" / "ducklake-left-behind.parquet"
    left_behind.write_bytes(b"PAR1")

    maintain(lake, now=datetime.now(UTC) + timedelta(seconds=5), keep_snapshots=NOTHING, keep_files=NOTHING)

    with lake.reader() as cursor:
        needed = {
            Path(name).name
            for columns in cursor.execute(
                "select data_file, delete_file from ducklake_list_files('lake', 'watermarks', schema => 'raw')"
            ).fetchall()
            for name in columns
            if name
        }
    assert {path.name for path in left_behind.parent.glob("*.parquet")} == needed
    assert ids(lake, word) == []


WRITER = """
import random, sys, time
import polars as pl
from datetime import UTC, datetime
name = os.environ['NAME']
alive, number, until = [], 0, time.monotonic() + float(os.environ['SECONDS'])
while time.monotonic() < until:
    added = [f'{name}-{number + step}' for step in range(20)]
    gone = random.sample(alive, min(len(alive), 9))
    with lake.writer() as writer:
        writer.append('raw.watermarks', pl.DataFrame(
            {'feed': added, 'xact': 1, 'last_id': 1, 'loaded_at': datetime.now(UTC)}))
        writer.erase('raw.watermarks', 'feed', gone)
    number += 20
    alive = [feed for feed in alive if feed not in gone] + added
lake.close()
print('\\n'.join(alive))
"""
MAINTAINER = """
import time
from datetime import UTC, datetime, timedelta
from comms_pipeline.lake.maintain import maintain
until = time.monotonic() + float(os.environ['SECONDS'])
while time.monotonic() < until:
    maintain(lake, now=datetime.now(UTC), keep_snapshots=timedelta(0), keep_files=timedelta(0))
lake.close()
"""


def test_no_acknowledged_write_is_lost_while_maintenance_runs(lake, server, home, word):
    writers = [
        in_another_process(WRITER, server, home, NAME=f"{word}-{number}", SECONDS="4") for number in range(2)
    ]
    maintainers = [in_another_process(MAINTAINER, server, home, SECONDS="4") for _ in range(2)]

    acknowledged = sorted(feed for writer in writers for feed in finished(writer).split())
    for maintainer in maintainers:
        finished(maintainer)

    assert len(acknowledged) > 20
    assert [feed for feed, _ in ids(lake, word)] == acknowledged

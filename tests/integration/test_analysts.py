"""What analysts use: ready questions, a copy in one file, a role that only reads, and reading while others write."""

import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import duckdb
import psycopg
import pytest

from comms_pipeline.cli.questions import Question, question_named, questions
from comms_pipeline.cli.warehouse import attach_snippet
from comms_pipeline.domain.errors import NotFound
from comms_pipeline.lake.export import ExportRefused, export_lake
from comms_pipeline.lake.readers import ReaderRefused, put_reader
from comms_pipeline.ledger.server import Database, Server
from comms_pipeline.stores import Stores

CONTACT = """
insert into core.contacts by name
select 'c1' as contact_id, 'gallery' as organisation_id, 'ada@x.example' as email, 'Ada' as name,
       '{"city": "Graz"}' as attributes, false as is_erased, now() as created_at, now() as updated_at
"""


@pytest.fixture
def with_a_contact(stores: Stores) -> Stores:
    with stores.lake.writer() as writer:
        writer.cursor.execute(CONTACT)
    return stores


def test_there_are_questions_enough() -> None:
    assert len(questions()) >= 25
    assert all(question.title.endswith("?") for question in questions())


@pytest.mark.parametrize("question", questions(), ids=lambda question: question.name)
def test_question_is_answered_by_an_empty_warehouse(shared_stores: Stores, question: Question) -> None:
    parameters = dict.fromkeys(question.parameters, "none")
    with shared_stores.lake_read_only.reader() as cursor:
        assert cursor.execute(question.sql, parameters).description


def test_question_misspelt_names_the_nearest() -> None:
    with pytest.raises(NotFound, match="Did you mean 'best-hours'"):
        question_named("best-hour")


def test_copy_holds_every_table_but_nothing_that_says_who_somebody_is(
    with_a_contact: Stores, tmp_path: Path
) -> None:
    path = tmp_path / "copy.duckdb"
    copied = {one.table: one.rows for one in export_lake(with_a_contact.lake_read_only, path)}
    assert copied["core.contacts"] == 1
    assert {"mart.send_funnel", "campaign.messages", "raw.provider_events", "core.timeline"} <= copied.keys()
    with duckdb.connect(str(path), read_only=True) as copy:
        columns = [row[0] for row in copy.execute("describe core.contacts").fetchall()]
        assert {"contact_id", "organisation_id", "language"} <= set(columns)
        assert not {"email", "phone", "name", "attributes"} & set(columns)
        [comment] = copy.execute(
            "select comment from duckdb_tables() where schema_name = 'mart' and table_name = 'send_funnel'"
        ).fetchall()
        assert comment[0].startswith("Where everybody of each send's audience ended up")
    assert b"ada@x.example" not in path.read_bytes()
    assert [each.name for each in tmp_path.glob("*copy*")] == ["copy.duckdb"]


def test_copy_with_personal_data_when_asked_for(with_a_contact: Stores, tmp_path: Path) -> None:
    path = tmp_path / "it's all.duckdb"
    export_lake(with_a_contact.lake_read_only, path, layers=["core"], has_personal_data=True)
    with duckdb.connect(str(path), read_only=True) as copy:
        assert copy.execute("select email from core.contacts").fetchall() == [("ada@x.example",)]
        schemas = copy.execute("select distinct schema_name from duckdb_tables()").fetchall()
    assert schemas == [("core",)]


def test_copy_overwrites_nothing(with_a_contact: Stores, tmp_path: Path) -> None:
    path = tmp_path / "copy.duckdb"
    path.write_text("mine")
    with pytest.raises(ExportRefused, match="it exists already"):
        export_lake(with_a_contact.lake_read_only, path)
    assert path.read_text() == "mine"
    with pytest.raises(ExportRefused, match="its folder does not exist"):
        export_lake(with_a_contact.lake_read_only, tmp_path / "none" / "copy.duckdb")


def test_lake_goes_on_after_a_copy(with_a_contact: Stores, tmp_path: Path) -> None:
    export_lake(with_a_contact.lake, tmp_path / "one.duckdb")
    with with_a_contact.lake.writer() as writer:
        writer.cursor.execute("update core.contacts set language = 'de'")
    export_lake(with_a_contact.lake, tmp_path / "two.duckdb")
    with duckdb.connect(str(tmp_path / "two.duckdb"), read_only=True) as copy:
        assert copy.execute("select language from core.contacts").fetchall() == [("de",)]


@pytest.fixture
def reader(with_a_contact: Stores) -> tuple[str, str]:
    """A role of this test's own and its password."""
    name = f"reader_{with_a_contact.server.database.removeprefix('test_')}"
    return name, put_reader(with_a_contact.server.conninfo(Database.CATALOG), name)


ATTACH = """
import sys, duckdb
connection = duckdb.connect(config={"extension_directory": sys.argv[1], "allow_unsigned_extensions": False})
connection.execute("load icu; load ducklake; load postgres_scanner; set TimeZone = 'UTC'")
connection.execute(sys.argv[2])
for statement in sys.argv[3:]:
    try:
        print(connection.execute(statement).fetchall())
    except Exception as error:
        print(type(error).__name__)
"""


def in_duckdb(stores: Stores, role: tuple[str, str], *statements: str) -> list[str]:
    """What DuckDB alone says, attached as the snippet for analysts has it."""
    attach = attach_snippet(stores, *role).splitlines()[1]
    folder = str(stores.settings.home / "duckdb_extensions")
    command = [sys.executable, "-c", ATTACH, folder, attach, *statements]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_reader_reads_the_lake_from_plain_duckdb_and_writes_nothing(
    with_a_contact: Stores, reader: tuple[str, str]
) -> None:
    told = in_duckdb(
        with_a_contact,
        reader,
        "select contact_id from lake.core.contacts",
        "delete from lake.core.contacts",
        "select count(*) from lake.core.contacts",
    )
    assert told[0] == "[('c1',)]"
    assert told[1].endswith("Exception")
    assert told[2] == "[(1,)]"


def test_reader_sees_tables_made_later(with_a_contact: Stores, reader: tuple[str, str]) -> None:
    with with_a_contact.lake.writer() as writer:
        writer.cursor.execute("create table mart.mine as select 42 as answer")
    assert in_duckdb(with_a_contact, reader, "from lake.mart.mine") == ["[(42,)]"]


def as_reader(stores: Stores, reader: tuple[str, str], database: Database) -> str:
    server = stores.server
    return Server(
        host=server.host, port=server.port, user=reader[0], password=reader[1], database=server.database
    ).conninfo(database)


def test_reader_cannot_change_the_catalog_nor_read_the_ledger(
    with_a_contact: Stores, reader: tuple[str, str]
) -> None:
    catalog = as_reader(with_a_contact, reader, Database.CATALOG)
    with psycopg.connect(catalog) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("delete from ducklake_table")
    with psycopg.connect(catalog, autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from ducklake_table")
    ledger = as_reader(with_a_contact, reader, Database.LEDGER)
    with psycopg.connect(ledger) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select * from suppression")


def test_reader_gets_a_new_password_and_a_powerful_role_is_left_alone(
    with_a_contact: Stores, reader: tuple[str, str]
) -> None:
    catalog = with_a_contact.server.conninfo(Database.CATALOG)
    assert put_reader(catalog, reader[0]) != reader[1]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(as_reader(with_a_contact, reader, Database.CATALOG))
    with pytest.raises(ReaderRefused, match="it may do more than read"):
        put_reader(catalog, with_a_contact.server.user)
    with pytest.raises(ReaderRefused, match="no name for a role"):
        put_reader(catalog, "drop role x")


def test_reading_and_writing_do_not_wait_for_each_other(
    with_a_contact: Stores, reader: tuple[str, str], tmp_path: Path
) -> None:
    """Commits go on inside one long reading transaction, which sees the same all the while, and copies are whole."""
    written = Event()

    def write() -> None:
        for _ in range(20):
            with with_a_contact.lake.writer() as writer:
                # Two rows at a time: who sees an odd number has seen half a commit.
                writer.cursor.execute(CONTACT + " from range(2)")
        written.set()

    with with_a_contact.lake_read_only.reader() as cursor:
        before = cursor.execute("select count(*) from core.contacts").fetchone()
        writing = Thread(target=write)
        writing.start()
        seen = []
        while not written.is_set():
            [told] = in_duckdb(with_a_contact, reader, "select count(*) from lake.core.contacts")
            seen.append(int(told.strip("[](),")))
            export_lake(with_a_contact.lake_read_only, tmp_path / f"{len(seen)}.duckdb", layers=["core"])
        writing.join()
        assert cursor.execute("select count(*) from core.contacts").fetchone() == before == (1,)
    assert all(count % 2 == 1 for count in seen), seen
    assert in_duckdb(with_a_contact, reader, "select count(*) from lake.core.contacts") == ["[(41,)]"]

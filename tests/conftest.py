"""A real Postgres for the tests: one server for each test process, three fresh databases for each test.

What costs time is made once and copied: the ledger's schema and the lake's empty tables are templates of databases.

And how many examples property tests draw: 100, or 1,000 with `--hypothesis-profile=thorough`; some draw a multiple.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from copies import copy_databases
from hypothesis import HealthCheck, settings
from psycopg import sql
from sending import Ledger, SandboxProcess

from comms_pipeline.ledger import launcher
from comms_pipeline.ledger.migrate import migrate
from comms_pipeline.ledger.server import Database, Server, connect_to
from comms_pipeline.settings import Settings, load_settings
from comms_pipeline.stores import Stores

_SLOW_STARTS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile("quick", max_examples=100, deadline=None, suppress_health_check=_SLOW_STARTS)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)
# Hypothesis has chosen one of its own by now; a profile asked for by name still takes its place.
if settings.get_current_profile_name() in ("default", "ci"):
    settings.load_profile("quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count no coverage of what is drawn at random: it is another's each time, and takes half as long again."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("no_cover")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server, without any of our databases. Gone at the end, with its data."""
    home = tmp_path_factory.mktemp("postgres")
    try:
        server = launcher.ensure_started(home)
        # Tests stop servers, never the machine; to drop a database would wait for the disk again and again.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            _execute(server, "alter system set {} = off", setting)
        _execute(server, "select pg_reload_conf()")
        yield server
    finally:
        launcher.remove(home)


@pytest.fixture(scope="session")
def _migrated(postgres: Server) -> str:
    """The name of a database with the ledger's schema, for copies."""
    template = replace(postgres, database="migrated")
    _execute(postgres, "create database {}", template.database)
    migrate(template)
    return template.database


@pytest.fixture
def database(postgres: Server, _migrated: str) -> Iterator[Server]:
    """The server with three fresh databases of this test's own: a migrated ledger and two empty ones."""
    server = replace(postgres, database=f"test_{secrets.token_hex(6)}")
    templates = {Database.LEDGER: _migrated}
    for which in Database:
        name = server.database_name(which)
        _execute(postgres, "create database {} template {}", name, templates.get(which, "template0"))
    try:
        yield server
    finally:
        for which in Database:
            _execute(postgres, "drop database {} with (force)", server.database_name(which))


@pytest.fixture(scope="session")
def lay_tables(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Settings], None]:
    """Gives an installation the lake's empty tables: a copy of others, which is quicker than to make them."""
    server = replace(postgres, database="tabled")
    _execute(postgres, "create database {}", server.database_name(Database.CATALOG))
    opened = Stores(_settings(server, tmp_path_factory.mktemp("tabled")))
    opened.lake.create_tables()
    opened.lake.close()
    return lambda settings: copy_databases(opened.settings, settings, Database.CATALOG)


@pytest.fixture
def stores(database: Server, lay_tables: Callable[[Settings], None], tmp_path: Path) -> Iterator[Stores]:
    """An installation on that server: a home of its own, keys, and the lake's empty tables."""
    settings = _settings(database, tmp_path / "home")
    lay_tables(settings)
    opened = Stores(settings)
    yield opened
    opened.lake.close()


@pytest.fixture(scope="module")
def shared_stores(
    postgres: Server,
    _migrated: str,
    lay_tables: Callable[[Settings], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stores]:
    """An installation for the tests of a file that keep to an organisation of their own (`audiences.Club`)."""
    server = replace(postgres, database=f"shared_{secrets.token_hex(6)}")
    _execute(postgres, "create database {} template {}", server.database, _migrated)
    settings = _settings(server, tmp_path_factory.mktemp("shared"))
    lay_tables(settings)
    opened = Stores(settings)
    yield opened
    opened.lake.close()


def _settings(server: Server, home: Path) -> Settings:
    return load_settings(
        home,
        database_url=server.url(),
        secret_key="a secret for tests only",
        public_url="https://mail.lakeside.example",
        sandbox=True,
        sendgrid_api_key="SG.sandbox",
        twilio_account_sid="AC" + "0" * 32,
        twilio_auth_token="sandbox",
        twilio_from="+15005550006",
        twilio_whatsapp_from="+15005550006",
    )


def _execute(server: Server, statement: str, *names: str) -> None:
    with closing(connect_to(server, "postgres", autocommit=True)) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture(scope="session")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess(tmp_path_factory.mktemp("sandbox"))
    yield process
    process.stop()


@pytest.fixture
def sandbox(_sandbox: SandboxProcess) -> Iterator[SandboxProcess]:
    """The sandbox all tests share, without faults. Its record holds what any test has sent."""
    yield _sandbox
    _sandbox.mend()


@pytest.fixture(scope="session")
def _shared_ledger(postgres: Server, _migrated: str) -> Ledger:
    server = replace(postgres, database=f"ledger_{secrets.token_hex(6)}")
    _execute(postgres, "create database {} template {}", server.database, _migrated)
    return Ledger(server=server)


@pytest.fixture
def ledger(_shared_ledger: Ledger) -> Ledger:
    """A ledger that holds nothing but an organisation and the campaign `spring`: one database, emptied each time."""
    _shared_ledger.reset()
    return _shared_ledger

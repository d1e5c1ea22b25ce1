"""A real Postgres for the tests: one server for each test process, three fresh databases for each test.

And how many examples property tests draw: 100, or 1,000 with `--hypothesis-profile=thorough`; some draw a multiple.
"""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from sending import Ledger, SandboxProcess

from comms_pipeline.ledger import launcher
from comms_pipeline.ledger.migrate import migrate
from comms_pipeline.ledger.server import Database, Server, connect_to
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

_SLOW_STARTS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile("quick", max_examples=100, deadline=None, suppress_health_check=_SLOW_STARTS)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)
# Hypothesis has chosen one of its own by now; a profile asked for by name still takes its place.
if settings.get_current_profile_name() in ("default", "ci"):
    settings.load_profile("quick")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server, without any of our databases. Gone at the end, with its data."""
    home = tmp_path_factory.mktemp("postgres")
    try:
        yield launcher.ensure_started(home)
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


@pytest.fixture
def stores(database: Server, tmp_path: Path) -> Iterator[Stores]:
    """An installation on that server: a home of its own, keys, and the lake's empty tables."""
    with _installed(database, tmp_path / "home") as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_stores(
    postgres: Server, _migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stores]:
    """An installation for tests that keep to an organisation of their own (`audiences.Club`)."""
    server = replace(postgres, database=f"shared_{secrets.token_hex(6)}")
    for which in (Database.LEDGER, Database.CATALOG):
        template = _migrated if which is Database.LEDGER else "template0"
        _execute(postgres, "create database {} template {}", server.database_name(which), template)
    with _installed(server, tmp_path_factory.mktemp("shared")) as opened:
        yield opened


@contextmanager
def _installed(server: Server, home: Path) -> Iterator[Stores]:
    settings = load_settings(
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
    opened = Stores(settings)
    opened.lake.create_tables()
    try:
        yield opened
    finally:
        opened.lake.close()


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

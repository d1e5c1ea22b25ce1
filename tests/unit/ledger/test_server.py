"""Addresses of Postgres, read from a URL and written for libpq. The integration tests connect to them."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.ledger.server import Database, Server

PLAIN = Server(host="127.0.0.1", port=5433, user="comms", password="secret")
AWKWARD = Server(
    host="::1",
    port=5432,
    user="o'neil@x",
    password=r"p' \ä/:@?#",
    database="my db",
    options=(("application_name", "a b"), ("sslmode", "require")),
)


def test_each_database_has_its_own_name() -> None:
    assert [PLAIN.database_name(which) for which in Database] == ["comms", "comms_dagster", "comms_lake"]


def test_conninfo_is_libpqs_keyword_string() -> None:
    assert PLAIN.conninfo(Database.CATALOG) == (
        "host=127.0.0.1 port=5433 user=comms password=secret dbname=comms_lake"
    )


def test_url_names_the_same_database() -> None:
    assert PLAIN.url(Database.DAGSTER) == "postgresql://comms:secret@127.0.0.1:5433/comms_dagster"


def test_conninfo_quotes_awkward_characters() -> None:
    assert conninfo_to_dict(AWKWARD.conninfo()) == {
        "host": "::1",
        "port": "5432",
        "user": "o'neil@x",
        "password": r"p' \ä/:@?#",
        "dbname": "my db",
        "application_name": "a b",
        "sslmode": "require",
    }


@pytest.mark.parametrize(
    "server",
    [
        PLAIN,
        AWKWARD,
        Server(host="/var/run/postgresql", port=5432, user="comms", password=""),
        Server(host="db.example.org", port=5432, user="", password=""),
    ],
    ids=["plain", "awkward", "socket", "no login"],
)
def test_url_is_read_back_as_the_same_server(server: Server) -> None:
    assert Server.from_url(server.url()) == server


def test_from_url_keeps_query_options_and_fills_in_the_port() -> None:
    server = Server.from_url(
        "postgres://comms:s%2Fcret@db.example.org/prod?sslmode=verify-full&connect_timeout=3"
    )
    assert server == Server(
        host="db.example.org",
        port=5432,
        user="comms",
        password="s/cret",
        database="prod",
        options=(("connect_timeout", "3"), ("sslmode", "verify-full")),
    )
    assert server.conninfo(Database.CATALOG) == (
        "host=db.example.org port=5432 user=comms password=s/cret dbname=prod_lake "
        "connect_timeout=3 sslmode=verify-full"
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://comms:hush hush@localhost/comms",
        "postgresql://comms:hush@localhost:port/comms",
        "postgresql://comms:hush@one:1,two:2/comms",
        "postgresql://comms:hush@one,two/comms",
        "postgresql://comms:hush@localhost",
        "postgresql:///comms",
        "postgresql://comms:hush@localhost/comms?nonsense=1",
        "mysql://comms:hush@localhost/comms",
        "",
    ],
)
def test_unusable_url_is_refused_in_one_line_without_the_password(url: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        Server.from_url(url)
    assert str(caught.value) == (
        "COMMS_DATABASE_URL: not the address of one Postgres database. "
        "Write postgresql://user:password@host:5432/comms, special characters percent-encoded"
    )
    assert caught.value.__suppress_context__


def test_password_is_not_shown() -> None:
    assert "secret" not in repr(PLAIN)
    assert "secret" not in PLAIN.address

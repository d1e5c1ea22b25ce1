"""What people read when Postgres does not let us in, on a real server."""

from contextlib import closing
from dataclasses import replace

import pytest

from comms_pipeline.domain.errors import DatabaseUnavailable
from comms_pipeline.ledger import launcher
from comms_pipeline.ledger.server import DatabaseMissing, Server, connect


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"password": "guessed"}, "user 'comms' or the password is wrong"),
        ({"user": "mallory"}, "user 'mallory' or the password is wrong"),
        ({"password": ""}, "a password is required"),
        ({"database": "absent"}, "database 'absent' does not exist"),
        ({"port": 1}, "nothing listens there"),
        ({"host": "no-such-host.invalid"}, "the host name is unknown"),
        ({"options": (("sslmode", "require"),)}, "server does not support SSL, but SSL was required"),
        ({"options": (("connect_timeout", "soon"),)}, "bad value for connect_timeout: 'soon'"),
    ],
    ids=["password", "user", "no password", "database", "port", "host", "ssl", "option"],
)
def test_connection_errors_are_told_apart(postgres: Server, change: dict[str, object], problem: str) -> None:
    server = replace(postgres, **change)  # type: ignore[arg-type]
    with pytest.raises(DatabaseUnavailable) as caught:
        connect(server)
    assert (caught.value.culprit, caught.value.problem) == (f"Postgres at {server.address}", problem)
    assert isinstance(caught.value, DatabaseMissing) == ("database" in change)
    assert "\n" not in str(caught.value)
    assert postgres.password not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_user_who_may_not_create_databases_is_told_so(database: Server) -> None:
    guest = f"{database.database}_guest"
    with closing(connect(database, autocommit=True)) as connection:
        connection.execute(f"create role {guest} login password 'guest'".encode())
        server = replace(database, user=guest, password="guest", database=f"{database.database}_other")
        with pytest.raises(
            DatabaseUnavailable, match="cannot be created: permission denied to create database"
        ):
            launcher.ensure_databases(server)
        connection.execute(f"drop role {guest}".encode())

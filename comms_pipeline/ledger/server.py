"""Which Postgres we talk to and how to connect to it. Never starts one: that is `launcher`'s work.

A `Server` is an address with three databases on it, whether it is the embedded server or one of
yours named by `COMMS_DATABASE_URL`. Importing this opens nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from comms_pipeline.domain.errors import DatabaseUnavailable, InvalidSettings

VARIABLE = "COMMS_DATABASE_URL"
CONNECT_TIMEOUT_SECONDS = 10


class DatabaseMissing(DatabaseUnavailable):
    """The server lets us in but has no database of that name; `launcher.ensure_databases` makes it."""


class Database(Enum):
    """The three databases on a server; the value is the suffix to the ledger's name."""

    LEDGER = ""
    DAGSTER = "_dagster"
    CATALOG = "_lake"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A Postgres server and the name of the ledger's database on it.

    `host` may be a name, an IPv4 or IPv6 address, or the folder of a Unix socket. An empty `user` or
    `password` leaves the matter to libpq (peer login, a password file). `options` are further libpq
    connection parameters such as `sslmode`. The password shows neither in `repr` nor in errors.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str = "comms"
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_url(cls, url: str) -> "Server":
        """The server of a `postgresql://user:password@host:port/database?sslmode=…` address.

        Raises `InvalidSettings` when libpq cannot read it, or it names no host or database, or several hosts.
        """
        try:
            parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
            host = parts.pop("host")
            if "," in host:
                raise ValueError(host)
            return cls(
                host=host,
                port=int(parts.pop("port", "5432")),
                user=parts.pop("user", ""),
                password=parts.pop("password", ""),
                database=parts.pop("dbname"),
                options=tuple(sorted(parts.items())),
            )
        except (psycopg.ProgrammingError, KeyError, ValueError):
            # libpq quotes the piece it stumbled over, which may be the password: its words stay here.
            raise InvalidSettings(
                VARIABLE,
                "not the address of one Postgres database",
                "Write postgresql://user:password@host:5432/comms, special characters percent-encoded",
            ) from None

    @property
    def address(self) -> str:
        """`host:port`, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def database_name(self, which: Database = Database.LEDGER) -> str:
        """The name of one of the three databases, e.g. `comms_lake`."""
        return self.database + which.value

    def conninfo(self, which: Database = Database.LEDGER) -> str:
        """libpq's `key=value` connection string, quoted; it holds the password."""
        return self._conninfo(self.database_name(which))

    def url(self, which: Database = Database.LEDGER) -> str:
        """The same as a `postgresql://` address; it holds the password."""
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        login = quote(self.user, safe="") + secret
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        query = f"?{urlencode(self.options, quote_via=quote)}" if self.options else ""
        database = quote(self.database_name(which), safe="")
        return f"postgresql://{login}{'@' if login else ''}{host}:{self.port}/{database}{query}"

    def _conninfo(self, database: str) -> str:
        parameters = {
            "host": self.host,
            "port": str(self.port),
            "user": self.user,
            "password": self.password,
            "dbname": database,
        } | dict(self.options)
        return make_conninfo("", **{key: value for key, value in parameters.items() if value})


def connect(
    server: Server, which: Database = Database.LEDGER, autocommit: bool = False
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection to one of the server's databases.

    Raises `DatabaseUnavailable`, which tells apart an unknown host, a closed port, a refused login and a
    missing database (`DatabaseMissing`), and says what to do.
    """
    return connect_to(server, server.database_name(which), autocommit=autocommit)


def connect_to(
    server: Server, database: str, *, autocommit: bool = False
) -> psycopg.Connection[tuple[Any, ...]]:
    """`connect`, to any database of the server by name, such as the maintenance database `postgres`."""
    patience = (
        {} if "connect_timeout" in dict(server.options) else {"connect_timeout": CONNECT_TIMEOUT_SECONDS}
    )
    try:
        return psycopg.connect(make_conninfo(server._conninfo(database), **patience), autocommit=autocommit)
    except psycopg.Error as error:
        raise _unavailable(server, database, str(error)) from None


_MISSING = ("database {database!r} does not exist", "Run `comms init`, or create it")

# What libpq says, what it means, what to do. libpq gives a failed connection no SQLSTATE, so words must do.
_REASONS: Mapping[str, tuple[str, str]] = {
    "resolve host": ("the host name is unknown", f"Correct the host in {VARIABLE}"),
    "translate host name": ("the host name is unknown", f"Correct the host in {VARIABLE}"),
    "Connection refused": ("nothing listens there", f"Start Postgres, or correct the port in {VARIABLE}"),
    "No such file or directory": ("nothing listens there", f"Start Postgres, or correct {VARIABLE}"),
    "timeout expired": ("no answer", f"Check host, port and firewall, or correct {VARIABLE}"),
    "no password supplied": ("a password is required", f"Add the password to {VARIABLE}"),
    "password authentication failed": (
        "user {user!r} or the password is wrong",
        f"Correct them in {VARIABLE}",
    ),
    "is starting up": ("the server is starting or recovering", "Try again in a few seconds"),
    "is shutting down": ("the server is shutting down", "Start it again"),
    "too many clients": ("all connections are taken", "Raise max_connections, or stop a worker"),
    'role "': ("user {user!r} does not exist or may not log in", f"Correct the user in {VARIABLE}"),
    "does not exist": _MISSING,
}


def _unavailable(server: Server, database: str, message: str) -> DatabaseUnavailable:
    said = (message.splitlines() or ["no connection"])[0].rpartition("failed: ")[2].rstrip(".")
    unforeseen = ("{message}", f"Correct {VARIABLE}, or ask who runs that server")
    reason = next((reason for words, reason in _REASONS.items() if words in message), unforeseen)
    kind = DatabaseMissing if reason is _MISSING else DatabaseUnavailable
    problem, fix = reason
    problem = problem.format(user=server.user, database=database, message=said)
    return kind(f"Postgres at {server.address}", problem, fix)

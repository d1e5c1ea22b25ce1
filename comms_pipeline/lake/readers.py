"""Roles for analysts: Postgres users that may read the lake's catalog and nothing else. Opens no lake."""

import re
import secrets
from contextlib import closing

import psycopg
from psycopg import sql

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.lake.catalog import catalog_unavailable
from comms_pipeline.sqlfiles import named_queries

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_PASSWORD_BYTES = 24


class ReaderRefused(CommsError):
    """A reading role cannot be made."""


def put_reader(catalog: str, name: str) -> str:
    """Make the role `name` if it is missing, let it read the catalog, give it a new password and return that.

    `catalog` is the libpq keyword string of a user who may create roles. Raises `ReaderRefused`,
    `DatabaseUnavailable`.
    """
    if not _NAME.fullmatch(name):
        raise ReaderRefused(
            f"role {name[:60]}", "that is no name for a role", "Use a-z, 0-9 and _, a letter first"
        )
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    role = sql.Identifier(name)
    statements = named_queries("lake/readers.sql")
    try:
        with closing(psycopg.connect(catalog)) as connection, connection.transaction():
            asked = sql.SQL(statements["role"]).format(name=sql.Literal(name))
            found = connection.execute(asked).fetchone()
            if found and found[0]:
                raise ReaderRefused(f"role {name}", "it may do more than read", "Choose another name")
            if not found:
                connection.execute(sql.SQL(statements["create"]).format(role=role))
            connection.execute(
                sql.SQL(statements["password"]).format(role=role, password=sql.Literal(password))
            )
            database = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL(statements["grant"]).format(role=role, database=database))
    except psycopg.errors.InsufficientPrivilege:
        raise ReaderRefused(
            f"role {name}",
            "the user of COMMS_DATABASE_URL may not create roles",
            "Have the server's owner run what docs/guides/querying.md shows",
        ) from None
    except psycopg.OperationalError:
        raise catalog_unavailable() from None
    return password

"""National do-not-call registries, as imported: keys of numbers, never a number.

The keys are those of text messages (`address_keys(numbers, Channel.SMS, …)`), whatever channel is asked for.
Every function works inside the caller's transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/do_not_call.sql"


@dataclass(frozen=True, kw_only=True)
class NumberList:
    """A registry as of its last import. 47 CFR 64.1200(c)(2)(i)(D) wants none older than 31 days."""

    list_id: str
    numbers: int
    imported_at: datetime


def replace_list(
    connection: psycopg.Connection[Any], list_id: str, keys: Iterable[bytes], actor: str = "comms"
) -> int:
    """Put these keys (16 bytes each) in the place of what the list held; returns how many there are now. Audited."""
    queries = named_queries(_SQL)
    connection.execute(queries["open_incoming"])
    with connection.cursor() as cursor, cursor.copy(queries["copy_incoming"]) as copy:
        copy.set_types(["bytea"])
        for key in keys:
            copy.write_row((key,))
    parameters = {"list_id": list_id, "actor": actor}
    row = connection.execute(queries["put_list"], parameters).fetchone()
    connection.execute(queries["remove_gone"], {"list_id": list_id})
    connection.execute(queries["add_new"], {"list_id": list_id})
    connection.execute(queries["close_incoming"])
    numbers: int = row[0] if row else 0
    return numbers


def listed(connection: psycopg.Connection[Any], keys: Sequence[bytes]) -> set[bytes]:
    """Which of `keys` (16 bytes each) are on any list."""
    rows = connection.execute(named_queries(_SQL)["listed"], {"address_keys": b"".join(keys)}).fetchall()
    return {bytes(row[0]) for row in rows}


def lists(connection: psycopg.Connection[Any]) -> list[NumberList]:
    """Every list."""
    with connection.cursor(row_factory=class_row(NumberList)) as cursor:
        return cursor.execute(named_queries(_SQL)["lists"]).fetchall()

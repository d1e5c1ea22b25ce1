"""What people should look at, as the ledger knows it. Judges nothing: bounds and words are `dispatch.alerts`'."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg
from psycopg.rows import class_row

from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/alerts.sql"


class Trouble(StrEnum):
    """Why a lane does not send."""

    DOWN = "down"
    """Its provider does not answer, or only with faults."""
    MISCONFIGURED = "misconfigured"
    """Its provider refuses our credentials or addresses."""


@dataclass(frozen=True, kw_only=True)
class Concern:
    """One thing to look at. `subject` is a send or a lane; `detail` an error or lanes, without personal data."""

    subject: str
    messages: int
    since: datetime
    detail: str


def note_trouble(connection: psycopg.Connection, lane: str, kind: Trouble, problem: str) -> None:
    """Say that a lane does not send; `since` stays that of the first time."""
    _run(connection, "note_trouble", lane=lane, kind=kind, problem=problem)


def clear_trouble(connection: psycopg.Connection, lane: str) -> None:
    """Say that a lane sends."""
    _run(connection, "clear_trouble", lane=lane)


def lanes_in_trouble(connection: psycopg.Connection, kind: Trouble) -> list[Concern]:
    """By lane: those of which somebody said so within a day."""
    return _concerns(connection, "lanes_in_trouble", kind=kind)


def in_doubt(connection: psycopg.Connection, bound_seconds: float) -> list[Concern]:
    """By send: messages that have been unknown for longer than the bound."""
    return _concerns(connection, "in_doubt", bound_seconds=bound_seconds)


def dead_letters(connection: psycopg.Connection) -> list[Concern]:
    """By send: dead letters that can still be retried."""
    return _concerns(connection, "dead_letters")


def overdue(connection: psycopg.Connection, bound_seconds: float, *, urgent_priority: int) -> list[Concern]:
    """By send: less urgent messages that are due and on which nobody has worked for that long."""
    return _concerns(connection, "overdue", bound_seconds=bound_seconds, urgent_priority=urgent_priority)


def urgent_overdue(
    connection: psycopg.Connection, bound_seconds: float, *, urgent_priority: int
) -> list[Concern]:
    """By lane: messages at least as urgent that have been due for longer than the bound."""
    return _concerns(
        connection, "urgent_overdue", bound_seconds=bound_seconds, urgent_priority=urgent_priority
    )


def _run(connection: psycopg.Connection, name: str, **parameters: object) -> psycopg.Cursor[tuple[Any, ...]]:
    return connection.execute(named_queries(_SQL)[name], parameters)


def _concerns(connection: psycopg.Connection, name: str, **parameters: object) -> list[Concern]:
    with connection.cursor(row_factory=class_row(Concern)) as cursor:
        return cursor.execute(named_queries(_SQL)[name], parameters).fetchall()

"""The audit trail: who changed what about whom, append-only. Never an address or a name, only keys and ids.

Functions that change something write their own row in the statement that changes it, with a subject in the form of
`subject_of`. Whatever has no such statement uses `note`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from comms_pipeline.domain.message import Channel
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/audit.sql"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One change. `details` hold `before` and `after` where there was something to change."""

    at: datetime
    actor: str
    action: str
    subject: str
    details: dict[str, Any]


def subject_of(organisation_id: str, subject: bytes, channel: Channel | None = None) -> str:
    """How somebody stands in the trail: `organisation/channel/hex`, or `organisation/hex` of no one channel."""
    parts = (organisation_id, channel.value, subject.hex()) if channel else (organisation_id, subject.hex())
    return "/".join(parts)


def note(
    connection: psycopg.Connection[Any],
    *,
    actor: str,
    action: str,
    subject: str,
    details: Mapping[str, object],
) -> None:
    """Add a row. `details` must be JSON-ready and without personal data."""
    connection.execute(
        named_queries(_SQL)["note"],
        {"actor": actor, "action": action, "subject": subject, "details": Jsonb(dict(details))},
    )


def of_subject(
    connection: psycopg.Connection[Any], organisation_id: str, subjects: Sequence[bytes]
) -> list[Entry]:
    """Everything that was changed about somebody, oldest first, by the organisation or for every one.

    `subjects` are all that somebody goes by: contact id and address keys.
    """
    found = [
        subject_of(organisation, subject, channel)
        for organisation in (organisation_id, "*")
        for channel in (None, *Channel)
        for subject in subjects
    ]
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        return cursor.execute(named_queries(_SQL)["of_subject"], {"subjects": found}).fetchall()

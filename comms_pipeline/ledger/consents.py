"""Consents: who agreed to what, when, where and to which wording (GDPR Art 7(1)). Append-only; judges nothing.

Every function is one round trip inside the caller's transaction; every change is audited by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from comms_pipeline.domain.consent import ConsentState
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.message import EVERY_TOPIC, Channel
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/consents.sql"


class TextChanged(CommsError):
    """A text version that people have agreed to was given another wording."""


@dataclass(frozen=True, kw_only=True)
class Consent:
    """One statement of somebody: the one with the latest `at` holds; of the same time, the one recorded last.

    `subject` is a contact id or an address key (16 bytes). `purpose` is a topic or `EVERY_TOPIC`. `kind` is free:
    `express`, `written`, `double-opt-in`, `soft-opt-in`, `implied-purchase`, `implied-inquiry`, `implied`.
    `at` (UTC) is when they said so, `source` where.
    """

    organisation_id: str
    subject: bytes
    channel: Channel
    purpose: str = EVERY_TOPIC
    kind: str
    state: ConsentState
    at: datetime
    text_version: str | None = None
    source: str
    ip_address: str | None = None


def record(connection: psycopg.Connection[Any], rows: Sequence[Consent], actor: str) -> int:
    """Add rows; returns how many. One that is there already, alike in everything, is not added again."""
    if not rows:
        return 0
    return connection.execute(
        named_queries(_SQL)["record"],
        {
            "organisation_ids": [row.organisation_id for row in rows],
            "subjects": [row.subject for row in rows],
            "channels": [row.channel.value for row in rows],
            "purposes": [row.purpose for row in rows],
            "kinds": [row.kind for row in rows],
            "states": [row.state.value for row in rows],
            "ats": [row.at for row in rows],
            "text_versions": [row.text_version for row in rows],
            "sources": [row.source for row in rows],
            "ip_addresses": [row.ip_address for row in rows],
            "actor": actor,
        },
    ).rowcount


def are_few(connection: psycopg.Connection[Any], organisation_id: str, at_most: int) -> bool:
    """Whether an organisation's consents are few enough to ask for all of them at once."""
    row = connection.execute(
        named_queries(_SQL)["are_few"], {"organisation_id": organisation_id, "at_most": at_most}
    ).fetchone()
    return bool(row and row[0])


def latest(
    connection: psycopg.Connection[Any],
    *,
    organisation_id: str,
    channel: Channel,
    purpose: str,
    subjects: Sequence[bytes] | None,
) -> dict[bytes, Consent]:
    """What each subject has said last of a purpose, else of every one; who never said anything is left out."""
    rows = connection.execute(
        named_queries(_SQL)["latest"],
        {
            "organisation_id": organisation_id,
            "channel": channel.value,
            "purpose": purpose,
            "subjects": None if subjects is None else b"".join(subjects),
        },
    )
    found = (_consent(organisation_id, row) for row in rows)
    return {consent.subject: consent for consent in found}


def history(
    connection: psycopg.Connection[Any], organisation_id: str, subjects: Sequence[bytes]
) -> list[Consent]:
    """Everything somebody who goes by `subjects` ever said, in the order it was recorded."""
    rows = connection.execute(
        named_queries(_SQL)["history"],
        {"organisation_id": organisation_id, "subjects": b"".join(subjects)},
    )
    return [_consent(organisation_id, row) for row in rows]


def put_text(
    connection: psycopg.Connection[Any],
    organisation_id: str,
    text_version: str,
    wording: str,
    actor: str = "comms",
) -> bool:
    """Keep the wording behind a text version, exactly as shown; `False` when it is there already.

    Raises `TextChanged` for another wording: what people agreed to never changes.
    """
    row = connection.execute(
        named_queries(_SQL)["put_text"],
        {
            "organisation_id": organisation_id,
            "text_version": text_version,
            "wording": wording,
            "actor": actor,
        },
    ).fetchone()
    if row is None or row[0] != wording:
        raise TextChanged(
            f"consent text '{text_version}'",
            "it has another wording already",
            "Give the new wording a version of its own",
        )
    is_new: bool = row[1]
    return is_new


def _consent(organisation_id: str, row: tuple[Any, ...]) -> Consent:
    subject, channel, purpose, kind, state, at, text_version, source, ip_address = row
    return Consent(
        organisation_id=organisation_id,
        subject=bytes(subject),
        channel=Channel(channel),
        purpose=purpose,
        kind=kind,
        state=ConsentState(state),
        at=at,
        text_version=text_version,
        source=source,
        ip_address=ip_address,
    )

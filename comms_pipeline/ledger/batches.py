"""Batches: enqueue, claim, mark, record. Every function is one round trip inside the caller's transaction.

The states of a batch and the legal steps between them are rows of the table `transition`, enforced by triggers;
docs/dispatch.md shows them. What is not in the `where` clause of a step is refused by the trigger.

Nothing here talks to a provider or looks into a payload.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from comms_pipeline.domain.message import GENERAL_TOPIC, PRIORITY, Channel, MessageClass
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/batches.sql"

LEAST_PRIORITY = max(PRIORITY.values())


@dataclass(frozen=True, kw_only=True)
class NewBatch:
    """A batch to enqueue. `payload` is Arrow IPC, zstd; all its messages share `content_id` and `lane`."""

    lane: str
    channel: Channel
    content_id: str
    priority: int
    message_count: int
    payload: bytes
    due_at: datetime
    message_class: MessageClass = MessageClass.MARKETING
    topic: str = GENERAL_TOPIC
    hours: str | None = None
    """When its recipients may be reached: `domain.hours.Hours` as text; None is at any time."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A batch in one worker's hands. The fence tells this claim from any later one of the same batch."""

    batch_id: int
    fence: int
    send_id: str
    organisation_id: str
    channel: str
    lane: str
    content_id: str
    message_count: int
    payload: bytes
    attempt: int
    message_class: str = MessageClass.MARKETING
    topic: str = GENERAL_TOPIC
    hours: str | None = None


@dataclass(frozen=True, kw_only=True)
class Doubt(Claim):
    """A batch whose outcome the provider must tell."""

    sending_at: datetime


@dataclass(frozen=True, kw_only=True)
class Child:
    """Messages of a batch that were surely not sent: due again, in another lane if one is named, or dead letters."""

    payload: bytes
    message_count: int
    delay_seconds: float
    attempt: int
    lane: str | None = None
    is_dead: bool = False


def _run(connection: psycopg.Connection, name: str, **parameters: object) -> psycopg.Cursor[tuple[Any, ...]]:
    return connection.execute(named_queries(_SQL)[name], parameters)


def claim_generation(
    connection: psycopg.Connection, *, send_id: str, generation: int, message_count: int
) -> bool:
    """Open a generation of a plan for enqueueing in the caller's transaction; `False` if it was enqueued before.

    A second caller waits here for the first to commit or roll back.
    """
    claimed = _run(
        connection, "claim_enqueue", send_id=send_id, generation=generation, messages=message_count
    )
    return claimed.fetchone() is not None


def enqueued(connection: psycopg.Connection, send_id: str) -> dict[int, int]:
    """Messages of each generation of a send's plan that was ever enqueued."""
    return dict(_run(connection, "enqueued", send_id=send_id).fetchall())


def enqueue(
    connection: psycopg.Connection,
    *,
    send_id: str,
    organisation_id: str,
    generation: int,
    contents: dict[str, dict[str, Any]],
    batches: Iterable[NewBatch],
) -> None:
    """Add batches, and the contents they name, in the transaction that claimed their generation."""
    with connection.cursor() as cursor:
        cursor.executemany(
            named_queries(_SQL)["put_content"],
            [{"content_id": key, "body": Jsonb(body)} for key, body in contents.items()],
        )
        with cursor.copy(named_queries(_SQL)["copy_batches"]) as copy:
            for batch in batches:
                copy.write_row(
                    (
                        send_id,
                        organisation_id,
                        generation,
                        batch.lane,
                        batch.channel,
                        batch.content_id,
                        batch.priority,
                        batch.message_count,
                        batch.payload,
                        batch.due_at,
                        batch.message_class,
                        batch.topic,
                        batch.hours,
                    )
                )


def claim_due(
    connection: psycopg.Connection,
    *,
    lane: str,
    worker: str,
    limit: int,
    lease_seconds: float,
    send_id: str | None = None,
    least_priority: int = LEAST_PRIORITY,
) -> list[Claim]:
    """Take up to `limit` due batches of a lane (of one send only, if named). Other workers skip them.

    Only what is at least as urgent as `least_priority`; each organisation in its turn.
    """
    with connection.cursor(row_factory=class_row(Claim)) as cursor:
        cursor.execute(
            named_queries(_SQL)["claim_due"],
            {
                "lane": lane,
                "worker": worker,
                "limit": limit,
                "lease_seconds": lease_seconds,
                "send_id": send_id,
                "least_priority": least_priority,
            },
        )
        return cursor.fetchall()


def contents(connection: psycopg.Connection, content_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the messages of these contents share, by content id."""
    return dict(_run(connection, "contents", content_ids=list(content_ids)).fetchall())


def mark_sending(
    connection: psycopg.Connection, claims: Sequence[Claim], *, lease_seconds: float
) -> set[int]:
    """Mark claims durably as sending; returns the batch ids that may be sent. Commit before a byte leaves."""
    rows = _run(
        connection,
        "mark_sending",
        batch_ids=[claim.batch_id for claim in claims],
        fences=[claim.fence for claim in claims],
        lease_seconds=lease_seconds,
    )
    return {row[0] for row in rows}


def release_claims(connection: psycopg.Connection, claims: Sequence[Claim]) -> None:
    """Give back claims of which no byte left."""
    _run(
        connection,
        "release_claims",
        batch_ids=[claim.batch_id for claim in claims],
        fences=[claim.fence for claim in claims],
    )


def postpone(connection: psycopg.Connection, claims: Sequence[tuple[Claim, datetime]]) -> None:
    """Give back claims that may not be sent before a time."""
    if claims:
        _run(
            connection,
            "postpone",
            batch_ids=[claim.batch_id for claim, _ in claims],
            fences=[claim.fence for claim, _ in claims],
            due_at=[due_at for _, due_at in claims],
        )


def record(
    connection: psycopg.Connection,
    claim: Claim,
    *,
    results: bytes,
    error: str | None,
    in_doubt: tuple[bytes, int] | None = None,
    children: Sequence[Child] = (),
) -> bool:
    """Record what became of a batch; `False` (and nothing written) if its fence has moved on.

    `results` is Arrow IPC. `in_doubt` is the payload and number of messages nobody can vouch for:
    the batch then stays unknown with just those. `children` are queued for later.
    """
    if in_doubt is None:
        settled = _run(connection, "settle", batch_id=claim.batch_id, fence=claim.fence, error=error)
    else:
        payload, count = in_doubt
        settled = _run(
            connection,
            "mark_unknown",
            batch_id=claim.batch_id,
            fence=claim.fence,
            payload=payload,
            message_count=count,
            error=error,
        )
    if not settled.fetchone():
        return False
    _run(connection, "record_outcome", batch_id=claim.batch_id, send_id=claim.send_id, results=results)
    for child in children:
        _run(
            connection,
            "add_child",
            batch_id=claim.batch_id,
            payload=child.payload,
            message_count=child.message_count,
            delay_seconds=child.delay_seconds,
            attempt=child.attempt,
            lane=child.lane,
            status="dead" if child.is_dead else "planned",
            error=error,
        )
    return True


def record_outcome(connection: psycopg.Connection, *, batch_id: int, send_id: str, results: bytes) -> None:
    """Append to the outcome feed without touching the batch."""
    _run(connection, "record_outcome", batch_id=batch_id, send_id=send_id, results=results)


def expire_claims(connection: psycopg.Connection) -> list[int]:
    """Give back what dead workers had claimed but not marked; returns batch ids."""
    return [row[0] for row in _run(connection, "expire_claims")]


def expire_sending(connection: psycopg.Connection) -> list[tuple[int, str, bytes]]:
    """Turn what dead workers were sending into unknown; returns (batch id, send id, payload) of each."""
    return [(row[0], row[1], row[2]) for row in _run(connection, "expire_sending")]


def take_unknown(
    connection: psycopg.Connection, *, older_than_seconds: float, send_id: str | None = None
) -> list[Doubt]:
    """Take the batches in doubt that began at least `older_than_seconds` ago; each gets a new fence."""
    with connection.cursor(row_factory=class_row(Doubt)) as cursor:
        cursor.execute(
            named_queries(_SQL)["take_unknown"],
            {"older_than_seconds": older_than_seconds, "send_id": send_id},
        )
        return cursor.fetchall()


def lanes_of_send(connection: psycopg.Connection, send_id: str) -> dict[str, int]:
    """Messages waiting per lane of a send."""
    return dict(_run(connection, "lanes_of_send", send_id=send_id).fetchall())


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a send's messages stand, counted in the ledger. `due_in_seconds`: until the next planned batch."""

    waiting: int
    in_flight: int
    in_doubt: int
    due_in_seconds: float | None


def progress(connection: psycopg.Connection, send_id: str, lane: str | None = None) -> Progress:
    """Where the messages of a send (or of one lane of it) stand."""
    counts: dict[str, int] = {}
    due_in_seconds = None
    for status, _, messages, due in _run(connection, "progress", send_id=send_id, lane=lane):
        counts[status] = messages
        due_in_seconds = due if status == "planned" else due_in_seconds
    return Progress(
        waiting=counts.get("planned", 0),
        in_flight=counts.get("claimed", 0) + counts.get("sending", 0),
        in_doubt=counts.get("unknown", 0),
        due_in_seconds=due_in_seconds,
    )


def next_due(connection: psycopg.Connection, lane: str, least_priority: int) -> float | None:
    """Seconds until something of the lane is due (negative: it is), None when nothing waits."""
    row = _run(connection, "next_due", lane=lane, least_priority=least_priority).fetchone()
    return row[0] if row else None

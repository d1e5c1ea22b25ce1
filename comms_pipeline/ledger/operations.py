"""What people do to sends and batches: pause, cancel, stop, retry, clean up. Each change leaves an audit row.

One round trip or a few inside the caller's transaction. Looks into no payload: outcomes of what is cancelled or
revived are `dispatch.operations`' work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from comms_pipeline.ledger.batches import Claim
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/operations.sql"


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A batch whose every allowed attempt failed in passing. No addresses."""

    batch_id: int
    send_id: str
    lane: str
    message_count: int
    attempt: int
    last_error: str | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A kill switch that is on."""

    scope: str
    reason: str
    actor: str
    stopped_at: datetime


@dataclass(frozen=True, kw_only=True)
class QueueRow:
    """What there is of one lane in one state. Settled counts for the last hour; `average_seconds` per batch."""

    lane: str
    status: str
    batches: int
    messages: int
    oldest_seconds: float
    average_seconds: float | None


class Waiting(NamedTuple):
    """A batch and what it holds, for whoever writes its outcome."""

    batch_id: int
    send_id: str
    payload: bytes


def _run(connection: psycopg.Connection, name: str, **parameters: object) -> psycopg.Cursor[tuple[Any, ...]]:
    return connection.execute(named_queries(_SQL)[name], parameters)


def audit(connection: psycopg.Connection, actor: str, action: str, subject: str, **details: object) -> None:
    """Say in the audit trail who did what."""
    _run(connection, "audit", actor=actor, action=action, subject=subject, details=Jsonb(details))


def pause_send(connection: psycopg.Connection, send_id: str, *, actor: str, reason: str) -> bool:
    """No more claims until it is resumed; `False` when it is not scheduled or sending."""
    return _moved(connection, "pause_send", send_id, actor, reason)


def resume_send(connection: psycopg.Connection, send_id: str, *, actor: str) -> bool:
    """Open a paused or failed send again; `False` for any other."""
    return _moved(connection, "resume_send", send_id, actor, "")


def cancel_send(connection: psycopg.Connection, send_id: str, *, actor: str, reason: str) -> bool:
    """Give up what was not sent yet; `False` when it is sent or cancelled. Its batches are cancelled by and by."""
    return _moved(connection, "cancel_send", send_id, actor, reason)


def fail_send(connection: psycopg.Connection, send_id: str, *, actor: str, reason: str) -> bool:
    """Say that it cannot go on as it is; `False` when it is not scheduled or sending."""
    return _moved(connection, "fail_send", send_id, actor, reason)


def _moved(connection: psycopg.Connection, name: str, send_id: str, actor: str, reason: str) -> bool:
    moved = _run(connection, name, send_id=send_id, reason=reason).fetchone() is not None
    if moved:
        audit(connection, actor, name, send_id, reason=reason)
    return moved


def cancelled_batches(connection: psycopg.Connection, limit: int) -> list[Waiting]:
    """Batches that wait in cancelled sends, locked."""
    return [Waiting(*row) for row in _run(connection, "cancelled_batches", limit=limit)]


def cancel_batches(connection: psycopg.Connection, batch_ids: Sequence[int]) -> None:
    """Give up batches that `cancelled_batches` gave, and their personal data with them."""
    _run(connection, "cancel_batches", batch_ids=list(batch_ids))


def put_stop(connection: psycopg.Connection, scope: str, *, actor: str, reason: str) -> bool:
    """Turn a kill switch on; `False` when it is on already."""
    is_new = _run(connection, "put_stop", scope=scope, reason=reason, actor=actor).fetchone() is not None
    if is_new:
        audit(connection, actor, "stop", scope, reason=reason)
    return is_new


def lift_stop(connection: psycopg.Connection, scope: str, *, actor: str) -> bool:
    """Turn a kill switch off; `False` when it is off already."""
    was_on = _run(connection, "lift_stop", scope=scope).fetchone() is not None
    if was_on:
        audit(connection, actor, "start", scope)
    return was_on


def stops(connection: psycopg.Connection) -> list[Stop]:
    """The kill switches that are on."""
    with connection.cursor(row_factory=class_row(Stop)) as cursor:
        return cursor.execute(named_queries(_SQL)["stops"]).fetchall()


def dead_letters(connection: psycopg.Connection, send_id: str | None = None) -> list[DeadLetter]:
    """Dead letters that can still be retried, of one send only if named."""
    with connection.cursor(row_factory=class_row(DeadLetter)) as cursor:
        return cursor.execute(named_queries(_SQL)["dead_letters"], {"send_id": send_id}).fetchall()


def retry_dead(
    connection: psycopg.Connection,
    *,
    actor: str,
    send_id: str | None = None,
    batch_ids: Sequence[int] | None = None,
) -> list[Waiting]:
    """Queue dead letters again, with all attempts before them, and open their sends; returns them."""
    ids = None if batch_ids is None else list(batch_ids)
    rows = _run(connection, "retry_dead", send_id=send_id, batch_ids=ids).fetchall()
    for batch_id, of_send, messages, _ in rows:
        audit(connection, actor, "retry_dead", f"{of_send}/{batch_id}", messages=messages)
    return [Waiting(batch_id, of_send, payload) for batch_id, of_send, _, payload in rows]


def lock_resends(connection: psycopg.Connection, send_id: str) -> int:
    """How many times a send was sent again; whoever asks next waits for the end of this transaction."""
    _run(connection, "lock_send", send_id=send_id)
    row = _run(connection, "count_resends", send_id=send_id).fetchone()
    return row[0] if row else 0


def put_resend(
    connection: psycopg.Connection, send_id: str, *, of_send: str, contact_ids: Sequence[str], actor: str
) -> None:
    """Say that a new send is for these contacts of an earlier one only."""
    _run(connection, "put_resend", send_id=send_id, of_send=of_send, contact_ids=list(contact_ids))
    audit(connection, actor, "resend", send_id, of_send=of_send, contacts=len(contact_ids))


def resent_to(connection: psycopg.Connection, send_id: str) -> list[str] | None:
    """The contacts a send was ordered for; None for a send to its campaign's audience."""
    row = _run(connection, "resend", send_id=send_id).fetchone()
    return row[0] if row else None


def request_coming_sends(connection: psycopg.Connection, ahead_seconds: float) -> list[tuple[str, datetime]]:
    """Like `sends.request_due_sends` for sends whose time comes within `ahead_seconds`."""
    return [(row[0], row[1]) for row in _run(connection, "request_coming_sends", ahead_seconds=ahead_seconds)]


def split_batch(
    connection: psycopg.Connection, claim: Claim, *, kept: tuple[bytes, int], rest: tuple[bytes, int]
) -> None:
    """Divide a claimed batch: `kept` and `rest` are payload and number of messages. The rest is due as it was."""
    _run(
        connection,
        "split_batch",
        batch_id=claim.batch_id,
        fence=claim.fence,
        kept=kept[0],
        kept_count=kept[1],
        rest=rest[0],
        rest_count=rest[1],
    )


def reroute(
    connection: psycopg.Connection, *, from_lane: str, to_lane: str, send_id: str | None = None
) -> int:
    """Move what is due in one lane to another of its channel; returns the number of batches."""
    moved = _run(connection, "reroute", from_lane=from_lane, to_lane=to_lane, send_id=send_id)
    return len(moved.fetchall())


def queue(connection: psycopg.Connection) -> list[QueueRow]:
    """What there is, per lane and state."""
    with connection.cursor(row_factory=class_row(QueueRow)) as cursor:
        return cursor.execute(named_queries(_SQL)["queue"]).fetchall()


def purge(connection: psycopg.Connection, *, keep_days: int, keep_dead_days: int) -> dict[str, int]:
    """Delete what is long settled, and what dead letters hold; returns numbers by what was deleted.

    Outcomes that the lake does not hold yet keep their batch.
    """
    dropped = _run(connection, "drop_dead", keep_days=keep_dead_days).fetchall()
    deleted = _run(connection, "purge_batches", keep_days=keep_days).fetchall()
    contents = _run(connection, "purge_contents").fetchall()
    return {"dead_letters": len(dropped), "batches": len(deleted), "contents": len(contents)}

"""What people order, carried through to every message: cancelling, and trying dead letters again.

The orders themselves are `ledger.operations`; here their outcomes are written: every message stays accounted for.
"""

from collections.abc import Sequence

import psycopg

from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.ledger import batches, operations
from comms_pipeline.providers.base import same_result

_BATCHES_PER_COMMIT = 100


def cancel(connection: psycopg.Connection, send_id: str, *, actor: str, reason: str) -> int | None:
    """Give up what was not sent yet; returns the number of messages, or None when there was nothing to cancel.

    What is under way ends as it ends; what comes back of it is cancelled by the next `sweep_cancelled`.
    """
    with connection.transaction():
        if not operations.cancel_send(connection, send_id, actor=actor, reason=reason):
            return None
    return sweep_cancelled(connection)


def sweep_cancelled(connection: psycopg.Connection) -> int:
    """Cancel what waits in cancelled sends, in portions; returns the number of messages."""
    cancelled = 0
    while True:
        with connection.transaction():
            waiting = operations.cancelled_batches(connection, _BATCHES_PER_COMMIT)
            for batch in waiting:
                cancelled += _record(connection, batch, OutcomeStatus.CANCELLED)
            operations.cancel_batches(connection, [batch.batch_id for batch in waiting])
        if len(waiting) < _BATCHES_PER_COMMIT:
            return cancelled


def retry_dead(
    connection: psycopg.Connection,
    *,
    actor: str,
    send_id: str | None = None,
    batch_ids: Sequence[int] | None = None,
) -> int:
    """Queue dead letters again; returns the number of messages. They count as deferred until they are sent."""
    with connection.transaction():
        revived = operations.retry_dead(connection, actor=actor, send_id=send_id, batch_ids=batch_ids)
        return sum(_record(connection, batch, OutcomeStatus.DEFERRED) for batch in revived)


def _record(connection: psycopg.Connection, batch: operations.Waiting, status: OutcomeStatus) -> int:
    results = same_result(unpack(batch.payload), status)
    batches.record_outcome(connection, batch_id=batch.batch_id, send_id=batch.send_id, results=pack(results))
    return results.height

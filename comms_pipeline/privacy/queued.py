"""One person in the queue: messages that have not been settled. Takes them out so that the books still balance."""

from collections.abc import Collection, Iterator
from typing import Any

import polars as pl
import psycopg

from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.ledger import batches, erasure, operations
from comms_pipeline.providers.base import same_result


def queued_messages(
    connection: psycopg.Connection[Any], send_ids: Collection[str], message_ids: Collection[str]
) -> Iterator[tuple[int, str, pl.DataFrame]]:
    """Batches that hold any of these messages: batch id, state, and the rows of just these messages."""
    for batch_id, _ in erasure.queued_batches(connection, send_ids):
        batch = erasure.payload_of(connection, batch_id)
        if batch is not None:
            rows = unpack(batch.payload).filter(_is_one_of(message_ids))
            if rows.height:
                yield batch_id, batch.status, rows


def take_out(
    connection: psycopg.Connection[Any], send_ids: Collection[str], message_ids: Collection[str]
) -> tuple[int, list[int]]:
    """Cancel these messages wherever they wait: how many, and the batches that are under way and were left alone.

    One transaction per batch: the batch shrinks, or is cancelled when nothing is left of it, and the outcome is
    recorded.
    """
    taken, under_way = 0, []
    found = [batch_id for batch_id, _, _ in queued_messages(connection, send_ids, message_ids)]
    for batch_id in found:
        with connection.transaction():
            batch = erasure.lock_payload(connection, batch_id)
            if batch is not None:
                taken += _take_out_of(connection, batch, message_ids)
            elif erasure.payload_of(connection, batch_id) is not None:
                under_way.append(batch_id)
    return taken, under_way


def _take_out_of(
    connection: psycopg.Connection[Any], batch: erasure.QueuedBatch, message_ids: Collection[str]
) -> int:
    payload = unpack(batch.payload)
    theirs = payload.filter(_is_one_of(message_ids))
    others = payload.filter(~_is_one_of(message_ids))
    if not theirs.height:
        return 0
    results = pack(same_result(theirs, OutcomeStatus.CANCELLED))
    batches.record_outcome(connection, batch_id=batch.batch_id, send_id=batch.send_id, results=results)
    if others.height:
        erasure.shrink_batch(connection, batch.batch_id, payload=pack(others), message_count=others.height)
    else:
        operations.cancel_batches(connection, [batch.batch_id])
    return theirs.height


def _is_one_of(message_ids: Collection[str]) -> pl.Expr:
    return pl.col("message_id").is_in(list(message_ids))

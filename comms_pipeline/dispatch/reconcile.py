"""Settles what is in doubt: asks the provider what it took. Only a conclusive answer releases a message."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg

from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.domain.content import Content
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.ledger import batches
from comms_pipeline.ledger.batches import Child, Doubt
from comms_pipeline.providers.base import RESULTS, Envelope, Found, same_result
from comms_pipeline.providers.registry import Providers

# Clocks differ and providers stamp when they take, not when we start.
_WINDOW_MARGIN = timedelta(minutes=5)


@dataclass(kw_only=True)
class ReconcileReport:
    """Messages by what the provider said of them."""

    accepted: int = 0
    released: int = 0
    still_unknown: int = 0


async def reconcile(
    connect: Callable[[], psycopg.Connection],
    providers: Providers,
    *,
    older_than_seconds: float,
    now: datetime,
    send_id: str | None = None,
) -> ReconcileReport:
    """Resolve batches in doubt that began at least `older_than_seconds` ago, of one send only if named.

    That age is what a provider needs until its own record is complete: asking earlier could take a message
    for unsent that is not listed yet, and it would be sent twice.
    """
    report = ReconcileReport()
    with connect() as connection:
        with connection.transaction():
            doubts = batches.take_unknown(connection, older_than_seconds=older_than_seconds, send_id=send_id)
            bodies = batches.contents(connection, [doubt.content_id for doubt in doubts])
        for doubt in doubts:
            payload = unpack(doubt.payload)
            envelope = Envelope(
                batch_id=doubt.batch_id,
                send_id=doubt.send_id,
                organisation_id=doubt.organisation_id,
                content=Content.from_dict(bodies[doubt.content_id]),
                recipients=payload,
            )
            async with providers.for_lane(doubt.lane) as provider:
                found = await provider.find(
                    envelope,
                    doubt.sending_at.astimezone(UTC) - _WINDOW_MARGIN,
                    now.astimezone(UTC) + _WINDOW_MARGIN,
                )
            if found is None:
                report.still_unknown += payload.height
            else:
                _settle(connection, doubt, payload, found, report)
    return report


def _settle(
    connection: psycopg.Connection, doubt: Doubt, payload: pl.DataFrame, found: Found, report: ReconcileReport
) -> None:
    is_accepted = payload["message_id"].is_in(pl.Series(list(found.accepted), dtype=pl.String).implode())
    accepted, released = payload.filter(is_accepted), payload.filter(~is_accepted)
    results = pl.concat(
        [
            same_result(accepted, OutcomeStatus.ACCEPTED).with_columns(
                provider_message_id=pl.col("message_id").replace_strict(
                    found.accepted, return_dtype=pl.String
                )
                if found.accepted
                else pl.lit(None, pl.String)
            ),
            same_result(released, OutcomeStatus.DEFERRED),
        ]
    ).match_to_schema(RESULTS)
    children = [
        Child(payload=pack(released), message_count=released.height, delay_seconds=0.0, attempt=doubt.attempt)
    ]
    with connection.transaction():
        is_ours = batches.record(
            connection,
            doubt,
            results=pack(results),
            error=None,
            children=children if released.height else [],
        )
    if is_ours:
        report.accepted += accepted.height
        report.released += released.height

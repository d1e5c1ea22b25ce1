"""Settles what is in doubt: asks the provider what it took. Only a conclusive answer releases a message."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg

from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.dispatch.policy import RETRY_DELAYS_SECONDS
from comms_pipeline.domain.content import Content
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.ledger import batches
from comms_pipeline.ledger.batches import Child, Doubt
from comms_pipeline.providers.base import RESULTS, Envelope, Found, same_result
from comms_pipeline.providers.registry import Providers

# Clocks differ and providers stamp when they take, not when we start.
_WINDOW_MARGIN = timedelta(minutes=5)

Heard = Callable[[Sequence[str]], dict[str, str]]
"""Those of some messages of which providers told any event, with the provider's id, "" where it told none."""


def nothing_heard(_message_ids: Sequence[str]) -> dict[str, str]:
    """Where no events are at hand."""
    return {}


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
    heard: Heard = nothing_heard,
) -> ReconcileReport:
    """Resolve batches in doubt that began at least `older_than_seconds` ago, of one send only if named.

    That age is what a provider needs until its own record is complete: asking earlier could take a message
    for unsent that is not listed yet, and it would be sent twice. Messages of which an event was `heard` were
    accepted, whatever the provider's record can tell.
    """
    report = ReconcileReport()
    with connect() as connection:
        with connection.transaction():
            doubts = batches.take_unknown(connection, older_than_seconds=older_than_seconds, send_id=send_id)
            bodies = batches.contents(connection, [doubt.content_id for doubt in doubts])
        for doubt in doubts:
            payload = unpack(doubt.payload)
            accepted = heard(payload["message_id"].to_list())
            if len(accepted) == payload.height:
                _settle(connection, doubt, payload, Found(accepted=accepted), report)
                continue
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
            if found is not None:
                accepted = {**accepted, **found.accepted}
                _settle(connection, doubt, payload, Found(accepted=accepted), report)
            elif accepted:
                _settle_heard(connection, doubt, payload, accepted, report)
            else:
                report.still_unknown += payload.height
    return report


def _settle_heard(
    connection: psycopg.Connection,
    doubt: Doubt,
    payload: pl.DataFrame,
    accepted: dict[str, str],
    report: ReconcileReport,
) -> None:
    """Take those as accepted of whom we heard; nobody can vouch for the others, who stay in doubt."""
    is_heard = payload["message_id"].is_in(pl.Series(list(accepted)).implode())
    in_doubt = payload.filter(~is_heard)
    with connection.transaction():
        is_ours = batches.record(
            connection,
            doubt,
            results=pack(_accepted(payload.filter(is_heard), accepted)),
            error=None,
            in_doubt=(pack(in_doubt), in_doubt.height),
        )
    if is_ours:
        report.accepted += len(accepted)
        report.still_unknown += in_doubt.height


def _accepted(messages: pl.DataFrame, provider_ids: dict[str, str]) -> pl.DataFrame:
    """Results of accepted messages; an empty provider id is none."""
    ids = pl.col("message_id").replace_strict(provider_ids, return_dtype=pl.String) if provider_ids else None
    return (
        same_result(messages, OutcomeStatus.ACCEPTED)
        .with_columns(provider_message_id=pl.lit(None, pl.String) if ids is None else ids.replace("", None))
        .match_to_schema(RESULTS)
    )


def _settle(
    connection: psycopg.Connection, doubt: Doubt, payload: pl.DataFrame, found: Found, report: ReconcileReport
) -> None:
    is_accepted = payload["message_id"].is_in(pl.Series(list(found.accepted), dtype=pl.String).implode())
    accepted, released = payload.filter(is_accepted), payload.filter(~is_accepted)
    # Only silence counts as an attempt, not a worker that died.
    is_exhausted = doubt.attempt > len(RETRY_DELAYS_SECONDS)
    results = pl.concat(
        [
            _accepted(accepted, found.accepted),
            same_result(released, OutcomeStatus.REFUSED, reason=RejectReason.EXHAUSTED)
            if is_exhausted
            else same_result(released, OutcomeStatus.DEFERRED),
        ]
    ).match_to_schema(RESULTS)
    child = Child(
        payload=pack(released),
        message_count=released.height,
        delay_seconds=0.0 if doubt.attempt < 2 or is_exhausted else RETRY_DELAYS_SECONDS[doubt.attempt - 2],
        attempt=doubt.attempt,
        is_dead=is_exhausted,
    )
    with connection.transaction():
        is_ours = batches.record(
            connection, doubt, results=pack(results), error=None, children=[child] if released.height else []
        )
    if is_ours:
        report.accepted += accepted.height
        report.released += released.height

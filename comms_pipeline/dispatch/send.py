"""Runs one send's lanes to the end of what is due: the engine, then reconciliation. Knows no Dagster."""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg

from comms_pipeline.dispatch import warm_up
from comms_pipeline.dispatch.engine import Lane, LaneReport, Scope
from comms_pipeline.dispatch.leases import Leases, expire
from comms_pipeline.dispatch.reconcile import Heard, ReconcileReport, nothing_heard, reconcile
from comms_pipeline.ledger import batches, operations, sends
from comms_pipeline.ledger.batches import Progress
from comms_pipeline.providers.registry import Providers

LINGER_SECONDS = 120.0
"""How long a run waits for messages that are due again soon, rather than leaving them to the next run."""


def worker_name() -> str:
    """Tells this process from others in claims; for people who read the ledger."""
    return f"{socket.gethostname()}:{os.getpid()}"


def lane_of(
    providers: Providers,
    lane: str,
    *,
    connect: Callable[[], psycopg.Connection],
    scope: Scope,
    leases: Leases = Leases(),
    on_progress: Callable[[LaneReport], None] = lambda _: None,
) -> Lane:
    """One run of a lane in this process, with the provider, the rate and the stand-in that `providers` has for it."""
    return Lane(
        lane=lane,
        provider=providers.for_lane(lane),
        connect=connect,
        worker=worker_name(),
        scope=scope,
        rate=providers.rate(lane),
        stand_in=providers.stand_in(lane),
        leases=leases,
        on_progress=on_progress,
    )


def run_lane(
    connect: Callable[[], psycopg.Connection],
    providers: Providers,
    *,
    lane: str,
    send_id: str,
    linger_seconds: float = LINGER_SECONDS,
    leases: Leases = Leases(),
    warming_up: Mapping[str, date] | None = None,
    on_progress: Callable[[LaneReport], None] = lambda _: None,
) -> LaneReport:
    """Send what is due of one send in one lane, and in the lanes that stand in for it when its provider is down.

    `warming_up` is the plan that the lanes' warm-up quotas are to follow; None leaves them as they are. The report
    is of the last of them. Raises `ProviderMisconfigured` when a lane cannot work.
    """
    if warming_up is not None:
        with connect() as connection:
            warm_up.refresh(connection, warming_up)
    while True:
        runner = lane_of(
            providers,
            lane,
            connect=connect,
            scope=Scope(send_id=send_id, linger_seconds=linger_seconds),
            leases=leases,
            on_progress=on_progress,
        )
        report = run_loop(runner.run())
        if report.handed_over_to is None:
            break
        with connect() as connection:
            operations.reroute(connection, from_lane=lane, to_lane=report.handed_over_to, send_id=send_id)
        lane = report.handed_over_to
    if report.stopped_by is not None:
        raise report.stopped_by
    return report


def run_loop(work: Coroutine[Any, Any, LaneReport]) -> LaneReport:
    """Run to the end on the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:  # not made for every platform
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """How a send stands after its lanes ran."""

    reconciled: ReconcileReport
    progress: Progress
    is_complete: bool


def settle(
    connect: Callable[[], psycopg.Connection],
    providers: Providers,
    *,
    send_id: str,
    now: datetime,
    reconcile_after_seconds: float,
    is_closing: bool = True,
    heard: Heard = nothing_heard,
) -> Settlement:
    """Take over what dead workers left, ask providers about what is in doubt, and close the send if all is done.

    Without `is_closing` the send stays open, for whoever balances its books.
    """
    with connect() as connection:
        expire(connection)
    report = asyncio.run(
        reconcile(
            connect,
            providers,
            older_than_seconds=reconcile_after_seconds,
            now=now,
            send_id=send_id,
            heard=heard,
        )
    )
    with connect() as connection, connection.transaction():
        is_complete = is_closing and sends.complete_send(connection, send_id)
        return Settlement(
            reconciled=report, progress=batches.progress(connection, send_id), is_complete=is_complete
        )

"""`comms worker`: every lane's engine in one long-lived process, for messages that cannot wait for a Dagster run.

Woken by the ledger the moment a batch is enqueued. Survives a lost database and a refused key; ends gracefully.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime

import psycopg

from comms_pipeline.dispatch import warm_up
from comms_pipeline.dispatch.engine import Lane, LaneReport, Scope
from comms_pipeline.dispatch.leases import Leases
from comms_pipeline.dispatch.reconcile import reconcile
from comms_pipeline.dispatch.send import lane_of
from comms_pipeline.domain.errors import CommsError, DatabaseUnavailable
from comms_pipeline.ledger import operations
from comms_pipeline.providers.registry import Providers

_log = logging.getLogger(__name__)

_CHANNEL = "batch_due"
_RECONNECT_SECONDS = 2.0
_MISCONFIGURED_SECONDS = 60.0
"""How long a lane whose key was refused rests before it is tried again."""
_RECONCILE_EVERY_SECONDS = 30.0


class Worker:
    """Runs lanes until `stop`. `least_priority` 1 leaves bulk sends to their Dagster runs.

    `providers` makes a set of its own for each user: reconciliation opens and closes providers while lanes send.
    `warming_up` is the plan that the lanes' warm-up quotas are to follow.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], psycopg.Connection],
        conninfo: str,
        providers: Callable[[], Providers],
        lanes: list[str],
        least_priority: int,
        leases: Leases = Leases(),
        warming_up: Mapping[str, date] | None = None,
        reconcile_after_seconds: float = 300.0,
    ) -> None:
        self._connect = connect
        self._conninfo = conninfo
        self._providers = providers()
        self._asked = providers()
        self._lanes = lanes
        self._scope = Scope(least_priority=least_priority, is_endless=True)
        self._leases = leases
        self._warming_up = warming_up
        self._reconcile_after_seconds = reconcile_after_seconds
        self._running: dict[str, Lane] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Claim nothing more; `run` returns once what is in flight is recorded."""
        self._stopping.set()
        for lane in self._running.values():
            lane.stop()

    async def run(self) -> None:
        """Serve all lanes until stopped."""
        async with asyncio.TaskGroup() as tasks:
            helpers = [tasks.create_task(self._listen()), tasks.create_task(self._tend())]
            for lane in self._lanes:
                tasks.create_task(self._serve(lane))
            await self._stopping.wait()
            for helper in helpers:
                helper.cancel()

    async def _serve(self, name: str) -> None:
        """One lane, again and again: it ends when its provider is down, its key is refused, the database lost."""
        while not self._stopping.is_set():
            lane = lane_of(
                self._providers, name, connect=self._connect, scope=self._scope, leases=self._leases
            )
            self._running[name] = lane
            try:
                await asyncio.to_thread(self._warm_up)
                await self._heed(name, await lane.run())
            except (psycopg.OperationalError, DatabaseUnavailable) as error:
                # Lost while connected, or not there when we connect.
                _log.warning("%s: the database is lost (%s)", name, type(error).__name__)
                await self._rest(_RECONNECT_SECONDS)

    async def _heed(self, name: str, report: LaneReport) -> None:
        """Do what the end of a lane asks for."""
        if report.stopped_by is not None:
            _log.error("%s stopped: %s", name, report.stopped_by)
            await self._rest(_MISCONFIGURED_SECONDS)
        elif report.handed_over_to is not None:
            _log.warning("%s is down: %s stands in", name, report.handed_over_to)
            await asyncio.to_thread(self._hand_over, name, report.handed_over_to)
            await self._rest(_MISCONFIGURED_SECONDS)

    def _warm_up(self) -> None:
        if self._warming_up is not None:
            with self._connect() as connection:
                warm_up.refresh(connection, self._warming_up)

    def _hand_over(self, from_lane: str, to_lane: str) -> None:
        with self._connect() as connection:
            operations.reroute(connection, from_lane=from_lane, to_lane=to_lane)

    async def _listen(self) -> None:
        """Wake a lane when the ledger says that something of it was enqueued."""
        while True:
            try:
                async with self._listening() as connection:
                    async for notice in connection.notifies():
                        lane = self._running.get(notice.payload)
                        if lane is not None:
                            lane.wake()
            except psycopg.OperationalError:
                # Lanes look by themselves every few seconds, too.
                await asyncio.sleep(_RECONNECT_SECONDS)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[psycopg.AsyncConnection]:
        connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        async with connection:
            await connection.execute(f"listen {_CHANNEL}")
            yield connection

    async def _tend(self) -> None:
        """Now and then, ask providers about what is in doubt, and see whether a new day has begun for warm-ups."""
        while True:
            await asyncio.sleep(_RECONCILE_EVERY_SECONDS)
            try:
                await asyncio.to_thread(self._warm_up)
                await reconcile(
                    self._connect,
                    self._asked,
                    older_than_seconds=self._reconcile_after_seconds,
                    now=datetime.now(UTC),
                )
            except (psycopg.OperationalError, CommsError) as error:
                _log.warning("reconciliation or warm-up failed (%s)", type(error).__name__)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

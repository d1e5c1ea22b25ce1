"""Keeps hits on pixels and links: in the ledger's landing, many by one commit, or in a spool while the ledger is down.

A hit is durable when `add` returns, and `add` never fails: a person waits for the answer. A hit may be landed twice,
when nobody knows whether a commit arrived; the loader knows it by its message and time.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from comms_pipeline.ledger.landing import land_together
from comms_pipeline.ledger.server import Server
from comms_pipeline.providers import own_events
from comms_pipeline.web.group_commit import GroupCommit
from comms_pipeline.web.hit_spool import HitSpool, SpooledHit

LONGEST_WAIT_SECONDS = 1.0
"""How long the ledger may take for a group before its hits are spooled. Somebody is waiting."""
_MEND_EVERY_SECONDS = 2.0
# Nobody is waiting, and there may be much.
_DRAIN_SECONDS = 30.0
_HITS_PER_STATEMENT = 1_000
_log = logging.getLogger(__name__)


class Hits:
    """The landing of one web process. Open it (`async with`) in the event loop that serves.

    `folder` holds the spool. Once the ledger failed to take a group in time, all go to the spool without asking it
    again, until it answers.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self._ledger = _Ledger(server)
        self._mending_ledger = _Ledger(server)
        self._spool = HitSpool(folder=folder)
        self._group = GroupCommit(self._keep, most=_HITS_PER_STATEMENT)
        self._spooling = asyncio.Lock()
        self._is_down = False
        self._mending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._mending = asyncio.create_task(self._mend())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mending is not None:
            self._mending.cancel()
            with suppress(asyncio.CancelledError):
                await self._mending
        await self._group.close()
        async with self._spooling:
            self._spool.turn_over()
        await self._ledger.close()
        await self._mending_ledger.close()

    async def add(self, kind: str, body: bytes) -> None:
        """Returns once the hit, to be landed as `kind`, is on the disk of the ledger or of the spool."""
        await self._group.add(SpooledHit(kind=kind, body=body))

    async def _keep(self, hits: Sequence[SpooledHit]) -> None:
        if not self._is_down:
            try:
                await self._ledger.land(hits, LONGEST_WAIT_SECONDS)
            except (psycopg.Error, OSError) as error:
                self._is_down = True
                _log.error("the ledger takes no hits, they are spooled: %s", type(error).__qualname__)
            else:
                return
        try:
            async with self._spooling:
                await asyncio.to_thread(self._spool.append, hits)
        except OSError as error:
            _log.error("%d hits are lost, the spool takes none: %s", len(hits), error.strerror)

    async def _mend(self) -> None:
        """Land what is spooled, of this process and of those that died, as soon as the ledger takes it."""
        while True:
            try:
                if self._is_down or not self._spool.is_empty:
                    await self._drain()
            except (psycopg.Error, OSError) as error:
                _log.warning("spooled hits wait on: %s", type(error).__qualname__)
            await asyncio.sleep(_MEND_EVERY_SECONDS)

    async def _drain(self) -> None:
        await self._mending_ledger.ping(LONGEST_WAIT_SECONDS)
        self._is_down = False
        async with self._spooling:
            self._spool.turn_over()
        landed = 0
        with closing(self._spool.waiting()) as files:
            for hits in files:
                for start in range(0, len(hits), _HITS_PER_STATEMENT):
                    await self._mending_ledger.land(hits[start : start + _HITS_PER_STATEMENT], _DRAIN_SECONDS)
                landed += len(hits)
        if landed:
            _log.warning("landed %d spooled hits", landed)


class _Ledger:
    """One connection, made when it is needed and again after a failure. One call at a time.

    What takes too long is left behind with its connection: to cancel it politely would need the server's answer.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._left_behind: set[asyncio.Task[None]] = set()

    async def land(self, hits: Sequence[SpooledHit], seconds: float) -> None:
        """Returns once they are committed. Raises `psycopg.Error` or `TimeoutError`."""
        await self._within(seconds, hits)

    async def ping(self, seconds: float) -> None:
        """Raises as `land` does unless the ledger answers."""
        await self._within(seconds, ())

    async def close(self) -> None:
        for task in self._left_behind:
            task.cancel()
        await self._forget()

    async def _within(self, seconds: float, hits: Sequence[SpooledHit]) -> None:
        task = asyncio.create_task(self._run(hits))
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            self._connection = None
            self._left_behind.add(task)
            task.add_done_callback(self._leave)
            raise TimeoutError
        try:
            task.result()
        except psycopg.Error:
            await self._forget()
            raise

    async def _run(self, hits: Sequence[SpooledHit]) -> None:
        connection = self._connection
        if connection is None or connection.closed:
            connection = await psycopg.AsyncConnection.connect(self._server.conninfo(), autocommit=True)
            self._connection = connection
        try:
            if hits:
                await land_together(connection, own_events.PROVIDER, hits)
            else:
                await connection.execute("select 1 from landing limit 1")
        finally:
            if connection is not self._connection:
                await connection.close()

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._left_behind.discard(task)
        if not task.cancelled():
            task.exception()  # Its hits are spooled: whatever came of it changes nothing.

    async def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

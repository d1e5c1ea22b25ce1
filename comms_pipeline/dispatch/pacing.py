"""Keeps a lane within its provider's rate, together with every other process that sends through it.

The bucket is in Postgres; a pacer takes tokens in small lots and hands them out one request at a time. Without a rate
there is nothing to wait for.
"""

import asyncio
import threading
from collections.abc import Callable

import psycopg

from comms_pipeline.domain.rate import Rate
from comms_pipeline.ledger import limits

_LOT_SECONDS = 0.25
"""A lot is what the rate gives in this time: few round trips, and little is lost when a process dies."""

_AT_ONCE = 0.001
"""Too late for this lease, but as soon as anybody takes it up again."""


class Pacer:
    """Hands out requests of one lane. Use it within one event loop; `close` gives back what is left."""

    def __init__(self, lane: str, rate: Rate | None, connect: Callable[[], psycopg.Connection]) -> None:
        self._lane = lane
        self._rate = rate
        self._connect = connect
        self._connection: psycopg.Connection | None = None
        self._tokens = 0
        self._turn = asyncio.Lock()
        self._opening = threading.Lock()

    async def wait(self, until: float) -> float:
        """Wait for one request's turn: 0 when it may go, else the seconds it would have to wait beyond `until`.

        `until` is in the loop's own time.
        """
        if asyncio.get_running_loop().time() >= until:
            return _AT_ONCE
        if self._rate is None:
            return 0.0
        async with self._turn:
            while self._tokens < 1:
                lot = max(1, int(self._rate.per_second * _LOT_SECONDS))
                grant = await asyncio.to_thread(self._take, self._rate, lot)
                self._tokens = grant.granted
                if not grant.granted:
                    if asyncio.get_running_loop().time() + grant.wait_seconds >= until:
                        return max(grant.wait_seconds, _AT_ONCE)
                    await asyncio.sleep(grant.wait_seconds)
            self._tokens -= 1
            return 0.0

    async def slow_down(self, seconds: float) -> None:
        """The provider said "too many"."""
        if self._rate is not None:
            self._tokens = 0
            await asyncio.to_thread(limits.slow_down, self._open(), self._lane, seconds)

    async def speed_up(self) -> None:
        """A batch went well."""
        if self._rate is not None:
            await asyncio.to_thread(limits.speed_up, self._open(), self._lane)

    def close(self) -> None:
        """Give back what nobody used."""
        if self._connection is not None:
            with self._connection:
                if self._rate is not None and self._tokens and not self._connection.broken:
                    limits.give_back(self._connection, self._lane, self._rate, self._tokens)
            self._connection = None

    def _take(self, rate: Rate, wanted: int) -> limits.Grant:
        return limits.take_tokens(self._open(), self._lane, rate, wanted)

    def _open(self) -> psycopg.Connection:
        # Batches that end at the same moment report from threads of their own.
        with self._opening:
            if self._connection is None:
                self._connection = self._connect()
                if self._rate is not None:
                    limits.open_bucket(self._connection, self._lane, self._rate)
            return self._connection

"""Stores verified webhooks: those that come at the same time in one transaction, with one wait for the disk.

Each caller goes on only when what it brought is durable, or knows that it is not.
"""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout
from starlette.concurrency import run_in_threadpool

from comms_pipeline.ledger.webhooks import Webhook, take_in
from comms_pipeline.web.group_commit import GroupCommit

_CONNECTION_TIMEOUT_SECONDS = 5.0
_MOST_WEBHOOKS = 256
_MOST_BYTES = 8 * 1024 * 1024
"""Of one transaction."""


@dataclass(kw_only=True)
class _Arrival:
    webhook: Webhook
    is_new: bool = False
    error: Exception | None = None


class Intake:
    """The way of webhooks into the ledger, over one connection of its own. Use within one running event loop."""

    def __init__(self, conninfo: str) -> None:
        # A pool for its mending. It does not look whether the connection still works: each group that fails is tried
        # again one by one, on another.
        self._pool = ConnectionPool(
            conninfo,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=1,
            timeout=_CONNECTION_TIMEOUT_SECONDS,
            open=False,
            name="webhooks",
        )
        self._group = GroupCommit(self._commit, most=_MOST_WEBHOOKS)
        # Of its own, so that pages that wait for the database keep no webhook waiting.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="webhooks")

    async def take_in(self, webhook: Webhook) -> bool:
        """Whether the webhook is new; what is to be stored of it is durable then.

        Raises `psycopg.Error` when nothing of it was stored, or nobody knows.
        """
        arrival = _Arrival(webhook=webhook)
        await self._group.add(arrival)
        if arrival.error is not None:
            raise arrival.error
        return arrival.is_new

    def open(self) -> None:
        """Connect, without waiting for the database."""
        self._pool.open(wait=False)

    async def close(self) -> None:
        """Wait for what is being stored."""
        await self._group.close()
        self._thread.shutdown()
        await run_in_threadpool(self._pool.close)

    async def _commit(self, arrivals: Sequence[_Arrival]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store_all, arrivals)

    def _store_all(self, arrivals: Sequence[_Arrival]) -> None:
        for part in _parts(arrivals):
            self._store_part(part)

    def _store_part(self, arrivals: Sequence[_Arrival]) -> None:
        try:
            self._store(arrivals)
        except PoolTimeout as error:
            _fail(arrivals, error)
        except psycopg.Error:
            # One of them cannot be stored, or the connection was broken: let none suffer for another.
            for place, arrival in enumerate(arrivals):
                try:
                    self._store([arrival])
                except PoolTimeout as error:
                    # Nor would any other get a connection, each after as long a wait.
                    _fail(arrivals[place:], error)
                    return
                except psycopg.Error as error:
                    arrival.error = error

    def _store(self, arrivals: Sequence[_Arrival]) -> None:
        with self._pool.connection() as connection:
            is_new = take_in(connection, [arrival.webhook for arrival in arrivals])
        for arrival, new in zip(arrivals, is_new, strict=True):
            arrival.is_new = new


def _parts(arrivals: Sequence[_Arrival]) -> Iterator[Sequence[_Arrival]]:
    """In transactions of a bearable size."""
    first = size = 0
    for place, arrival in enumerate(arrivals):
        if size > _MOST_BYTES:
            yield arrivals[first:place]
            first, size = place, 0
        size += len(arrival.webhook.body)
    yield arrivals[first:]


def _fail(arrivals: Sequence[_Arrival], error: Exception) -> None:
    for arrival in arrivals:
        arrival.error = error

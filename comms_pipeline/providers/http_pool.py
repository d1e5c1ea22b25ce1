"""Connections to one origin: opened, kept while idle, dropped. Knows neither requests nor answers."""

import asyncio
import socket
import ssl
from collections import deque
from dataclasses import dataclass

import aiohappyeyeballs

from comms_pipeline.providers.http_connection import Connection

CONNECT_TIMEOUT_SECONDS = 10.0
"""Longest wait for one connection: name, address and TLS handshake."""
IDLE_SECONDS = 15.0
"""How long a connection may rest; servers usually drop them later than that."""
# Whatever rested longer may have been closed without our event loop having heard of it yet.
_FRESH_SECONDS = 0.1
# RFC 8305: the next address of a name gets its chance while an earlier one is silent.
_NEXT_ADDRESS_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Whom a connection is to. With `tls` it is encrypted, and the certificate must be good for `host`."""

    host: str
    port: int
    tls: ssl.SSLContext | None


class Pool:
    """At most `connections` of them. A caller holds one of `slots` while it uses one."""

    def __init__(self, origin: Origin, connections: int) -> None:
        self.slots = asyncio.Semaphore(connections)
        self._origin = origin
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        # The one given back last is on the right and goes first, so that surplus ones grow old on the left.
        self._idle: deque[Connection] = deque()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    async def take(self, timeout_seconds: float) -> Connection:
        """An idle connection or, within the time, a new one. Raises `OSError`, as time-outs and TLS errors are."""
        if self._idle and self._loop.time() - self._idle[-1].idle_since > _FRESH_SECONDS:
            # In one turn the loop reads what has come in, the end of a connection too; in the next it tells.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        oldest = self._loop.time() - IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable and connection.idle_since > oldest:
                return connection
            connection.drop("it rested too long")
        async with asyncio.timeout(min(timeout_seconds, CONNECT_TIMEOUT_SECONDS)):
            return await self._connect()

    def give_back(self, connection: Connection) -> None:
        """Keep it for the next caller, if it can be used again."""
        if connection.is_usable:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
            if self._sweep is None:
                self._sweep = self._loop.call_later(IDLE_SECONDS, self._drop_rested)

    async def close(self) -> None:
        """Drop all connections, also those in use, and wait until they are closed. None is opened any more."""
        self._closed = self._loop.create_future()
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.drop("the session was closed")
        if self._open:
            await self._closed

    async def _connect(self) -> Connection:
        origin = self._origin
        self._refuse_if_closed()
        try:
            addresses = await self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise OSError(0, "no such host name can be") from None
        plain = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, interleave=1, loop=self._loop
        )
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._forget),
            sock=plain,
            ssl=origin.tls,
            server_hostname=origin.host if origin.tls else None,
        )
        if not connection.is_usable:
            connection.drop("it was closed before its first request")
            raise ConnectionResetError
        self._open.add(connection)
        try:
            self._refuse_if_closed()
        except OSError:
            connection.drop("the session was closed")
            raise
        return connection

    def _refuse_if_closed(self) -> None:
        if self._closed is not None:
            raise OSError(0, "the session is closed")

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._closed is not None and not self._open and not self._closed.done():
            self._closed.set_result(None)

    def _drop_rested(self) -> None:
        oldest = self._loop.time() - IDLE_SECONDS
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().drop("it rested too long")
        self._sweep = (
            self._loop.call_at(self._idle[0].idle_since + IDLE_SECONDS, self._drop_rested)
            if self._idle
            else None
        )

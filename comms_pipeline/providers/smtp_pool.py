"""The open sessions of one SMTP account, and the messages that wait for one of them. No MIME, no replies."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.providers.smtp_connection import Connection, Offers
from comms_pipeline.providers.smtp_jobs import Job, Order
from comms_pipeline.providers.smtp_opening import NotOpened
from comms_pipeline.providers.smtp_replies import Outcome

_MAX_BARREN = 3
"""Sessions in a row that ended without an answer to any message, after which no further is opened."""
_GOODBYE_SECONDS = 2.0
_CHANGED = Outcome(status=OutcomeStatus.DEFERRED, error="the SMTP server no longer offers the same")


class Pool:
    """Sessions opened as they are needed, up to `size`, and kept until the server ends them.

    A message to which a used session answered nothing goes to another session, once: servers end sessions by age,
    by number of messages, for a restart. Nothing else is tried twice.
    """

    def __init__(self, open_connection: "Callable[[Pool], Awaitable[Connection]]", *, size: int) -> None:
        self._open_connection = open_connection
        self._size = size
        self._queue: deque[Job] = deque()
        self._live: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._offers: Offers | None = None
        self._failure: NotOpened | None = None
        self._barren = 0

    async def offers(self) -> Offers:
        """What the server can do; asks it if no session is open. Raises `NotOpened`."""
        if not self._live:
            self._grow(1)
            await asyncio.wait(self._opening, return_when=asyncio.FIRST_COMPLETED)
        if self._live and self._offers is not None:
            return self._offers
        raise self._failure or NotOpened("the connection broke")

    def submit(self, order: Order, offers: Offers) -> None:
        """Queue messages that were written for a server with these offers."""
        if self._offers != offers:
            self._give_up(_CHANGED, order.jobs)
            return
        self._queue.extend(order.jobs)
        self._barren = 0
        self._feed()

    def forget(self, order: Order) -> None:
        """Nobody waits for this order any more, `done` is cancelled: what has not been handed over stays here."""
        for connection in [each for each in self._live if each.works_on(order)]:
            connection.abort()

    async def close(self) -> None:
        """End all sessions."""
        self._queue.clear()
        for task in self._opening:
            task.cancel()
        ending = list(self._live)
        for connection in ending:
            connection.quit()
        closed = [asyncio.ensure_future(connection.closed.wait()) for connection in ending]
        if closed:
            _, late = await asyncio.wait(closed, timeout=_GOODBYE_SECONDS)
            for waiting in late:
                waiting.cancel()
        for connection in ending:
            connection.abort()
        # One round of the loop at least: transports let go of their sockets in it.
        await asyncio.gather(asyncio.sleep(0), *self._opening, return_exceptions=True)

    def take(self) -> Job | None:
        """The next message for a session (`smtp_connection.Owner`)."""
        while self._queue:
            job = self._queue.popleft()
            if not job.order.done.done():
                return job
        return None

    def settle(self, job: Job, told: Outcome) -> None:
        """What became of a message (`smtp_connection.Owner`)."""
        job.order.settle(job.row, told)
        if told.stop is not None:
            self._give_up_all(told)

    def lost(self, connection: Connection, unanswered: list[Job], told: Outcome) -> None:
        """A session has ended (`smtp_connection.Owner`)."""
        self._live.discard(connection)
        self._barren = 0 if connection.served else self._barren + 1
        for job in unanswered:
            if connection.served and not job.is_second_try:
                job.is_second_try = True
                self._queue.appendleft(job)
            else:
                self.settle(job, told)
        if self._barren < _MAX_BARREN:
            self._feed()
        elif not self._live:
            self._give_up_all(told)

    def _feed(self) -> None:
        """Put idle sessions to work, and open as many more as there is work for."""
        for connection in list(self._live):
            if not self._queue:
                return
            if connection.is_idle:
                connection.start()
        self._grow(len(self._queue))

    def _grow(self, wanted: int) -> None:
        room = self._size - len(self._live) - len(self._opening)
        for _ in range(min(wanted - len(self._opening), room)):
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    async def _open(self) -> None:
        self._failure = None
        try:
            connection = await self._open_connection(self)
        except NotOpened as failure:
            self._failure = failure
            return
        if self._queue and self._offers not in {None, connection.offers}:
            # What waits was written for a server that can do other things.
            self._failure = NotOpened(_CHANGED.error or "")
            connection.abort()
            return
        self._offers = connection.offers
        self._live.add(connection)
        connection.start()

    def _opened(self, task: "asyncio.Task[None]") -> None:
        self._opening.discard(task)
        if self._live or self._opening or task.cancelled():
            return
        failure = self._failure or NotOpened("the connection broke")
        self._give_up_all(
            Outcome(status=OutcomeStatus.DEFERRED, code=failure.code, error=failure.error, stop=failure.stop)
        )

    def _give_up_all(self, told: Outcome) -> None:
        waiting, self._queue = self._queue, deque()
        self._give_up(told, waiting)

    def _give_up(self, told: Outcome, waiting: Iterable[Job]) -> None:
        """None of these can go: they are deferred, for the reason that stopped another one."""
        for job in waiting:
            job.order.settle(job.row, told._replace(status=OutcomeStatus.DEFERRED))

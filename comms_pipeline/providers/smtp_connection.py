"""One SMTP session: commands out, replies matched to them in order, messages one behind the other.

With PIPELINING (RFC 2920) a message's data and the next one's commands leave in one write, so that a message costs
one round trip. Which messages, and what becomes of them, is the owner's business; how a session begins is
`smtp_opening`'s. Nothing here tries anything twice.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol, cast

from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.providers.smtp_jobs import Job, Order
from comms_pipeline.providers.smtp_replies import CLOSING, Outcome, Reply, Stage, accepted, outcome

_MAX_REPLY_BYTES = 64 * 1024
# Data beyond what sockets take in one go is written without its dot first: then a session that breaks half-way
# surely ended before the dot.
_AT_ONCE_BYTES = 64 * 1024
_DOT = b".\r\n"


@dataclass(frozen=True, kw_only=True)
class Offers:
    """What the server said it can do, in its answer to EHLO."""

    has_pipelining: bool = False
    has_8bit: bool = False
    has_utf8: bool = False
    has_starttls: bool = False
    has_size: bool = False
    max_bytes: int | None = None
    logins: frozenset[str] = frozenset()


class Owner(Protocol):
    """Who hands messages to a session and is told what became of them, each exactly once."""

    def take(self) -> Job | None:
        """The next message, if there is one."""
        ...

    def settle(self, job: Job, told: Outcome) -> None:
        """What became of a message."""
        ...

    def lost(self, connection: "Connection", unanswered: list[Job], told: Outcome) -> None:
        """The session is over. The server answered nothing to `unanswered`, which it surely has not taken."""
        ...


class Connection(asyncio.Protocol):
    """A session. `ask` serves its opening; after `start` it takes messages from its owner by itself."""

    def __init__(self, owner: Owner, *, timeout_seconds: float) -> None:
        self.offers = Offers()
        self.served = 0
        """Messages the server has answered for."""
        self.closed = asyncio.Event()
        self._owner = owner
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._asked: asyncio.Future[Reply] | None = None
        self._awaited: deque[tuple[Stage, Job | None]] = deque()
        self._waiting: deque[tuple[bytes, Stage, Job]] = deque()
        """Without PIPELINING: commands of the current message that are not written yet."""
        self._partial = b""
        self._lines: list[bytes] = []
        self._held = b""
        self._is_paused = False
        self._needs_reset = False
        self._is_open = False
        self._is_working = False
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do and could."""
        return self._is_working and self._is_open and not self._awaited

    @property
    def transport(self) -> asyncio.Transport:
        """What it writes to."""
        return self._transport

    def use(self, transport: asyncio.Transport) -> None:
        """Write to this from now on: after STARTTLS."""
        self._transport = transport
        # Then `pause_writing` tells exactly that the socket has not taken everything.
        transport.set_write_buffer_limits(0)

    @property
    def has_unread(self) -> bool:
        """Whether the server said more than it was asked for."""
        return bool(self._partial or self._lines)

    def works_on(self, order: Order) -> bool:
        """Whether a message of this order is under way."""
        return any(job is not None and job.order is order for _, job in self._awaited)

    def expect(self) -> "asyncio.Future[Reply]":
        """The next reply, while the session is being opened. Raises `ConnectionError` if it ends instead."""
        self._asked = self._loop.create_future()
        if self.closed.is_set():
            self._asked.set_exception(ConnectionError("closed"))
        return self._asked

    def ask(self, command: bytes) -> "asyncio.Future[Reply]":
        """Write one command; its reply."""
        reply = self.expect()
        self._transport.write(command + b"\r\n")
        return reply

    def start(self) -> None:
        """From now on take messages, as long as there are any; again whenever there may be new ones."""
        self._is_working = True
        if not self.is_idle:
            return
        self._heard_at = self._loop.time()
        commands = self._next()
        if commands:
            self._transport.write(commands)
            self._watch()

    def quit(self) -> None:
        """End an idle session in good manners, any other at once."""
        if self.is_idle:
            self._transport.write(b"QUIT\r\n")
            self._transport.close()
        else:
            self.abort()

    def abort(self) -> None:
        """End the session now."""
        self._over("the session was given up")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.use(cast(asyncio.Transport, transport))
        self._is_open = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._over("the connection broke")

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._heard_at = self._loop.time()
        self._release()

    def data_received(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._lines.append(line)
            if line[3:4] != b"-":
                self._replied(self._lines)
                self._lines = []
            if not self._is_open:
                return
        if len(self._partial) + sum(map(len, self._lines)) > _MAX_REPLY_BYTES:
            self._over("the SMTP server's reply has no end")
        self._heard_at = self._loop.time()

    def _replied(self, lines: list[bytes]) -> None:
        if self._asked is not None:
            asked, self._asked = self._asked, None
            if not asked.done():
                asked.set_result(Reply.parse(lines))
            return
        if not self._awaited:
            self._over("the SMTP server spoke out of turn")
            return
        stage, job = self._awaited.popleft()
        line = lines[-1]
        is_ok = line.startswith(b"25")
        if job is not None and stage is Stage.MESSAGE and is_ok:
            self.served += 1
            self._owner.settle(job, accepted(line, job.message_id))
        elif job is not None and stage is Stage.DATA and line.startswith(b"354"):
            self._hand_over(job)
        elif not is_ok or stage is Stage.DATA:
            self._refused(stage, job, Reply.parse(lines))
        elif job is not None and stage is Stage.RECIPIENT:
            job.has_recipient = True
        if self._is_open and not self._awaited:
            self._go_on()

    def _refused(self, stage: Stage, job: Job | None, reply: Reply) -> None:
        """Any reply but the wanted one."""
        if job is None:
            # An empty message may be refused; a RSET that is not obeyed leaves the session unusable.
            if stage is Stage.RESET or reply.code == CLOSING:
                self._over(f"the SMTP server answered {reply.code} to {stage}")
            return
        told = outcome(stage, reply)
        if reply.code == CLOSING or reply.code < 400:
            # What it answered before anything else it may say of the connection, not of this message.
            if stage is Stage.SENDER and reply.code == CLOSING:
                self._awaited.appendleft((stage, job))
            else:
                self._awaited = deque(entry for entry in self._awaited if entry[1] is not job)
                self._owner.settle(job, job.refusal or told)
            self._over(told.error or "", code=told.code)
            return
        if stage is Stage.MESSAGE:
            self.served += 1
            self._owner.settle(job, told)
            return
        job.refusal = job.refusal or told
        if stage is Stage.DATA or not self.offers.has_pipelining:
            self._waiting.clear()
            self._needs_reset = True
            self.served += 1
            self._owner.settle(job, job.refusal)

    def _go_on(self) -> None:
        """Write what is next, now that nothing is awaited."""
        if self._waiting:
            command, stage, job = self._waiting.popleft()
            self._awaited.append((stage, job))
            self._transport.write(command)
            return
        commands = self._next()
        if commands:
            self._transport.write(commands)

    def _next(self) -> bytes:
        """The next message's commands, to be written at once; its replies are awaited from here on."""
        job = self._owner.take()
        if job is None:
            return b""
        prefix = b""
        if self._needs_reset:
            self._needs_reset = False
            self._awaited.append((Stage.RESET, None))
            prefix = b"RSET\r\n"
        stages = (Stage.SENDER, Stage.RECIPIENT, Stage.DATA)
        if self.offers.has_pipelining:
            self._awaited.extend((stage, job) for stage in stages)
            return prefix + job.commands
        commands = job.commands.splitlines(keepends=True)
        self._waiting.extend(zip(commands, stages, (job,) * 3, strict=True))
        if not prefix:
            command, stage, job = self._waiting.popleft()
            self._awaited.append((stage, job))
            return command
        return prefix

    def _hand_over(self, job: Job) -> None:
        """Write a message's data, and in the same breath the next one's commands."""
        if job.refusal is not None:
            self.served += 1
            self._owner.settle(job, job.refusal)
            if job.has_recipient:
                # It goes on with a sender it has refused: somebody would get an empty message.
                self._over("the SMTP server took up a message it had refused")
                return
            # The server wants data although nobody is to get it (RFC 2920 3.1).
            self._awaited.append((Stage.NOTHING, None))
            self._transport.write(_DOT)
            return
        self._awaited.append((Stage.MESSAGE, job))
        if len(job.data) <= _AT_ONCE_BYTES:
            following = self._next() if self.offers.has_pipelining else b""
            self._transport.write(job.data + following)
            return
        self._held = _DOT
        self._transport.write(job.data[: -len(_DOT)])
        if not self._is_paused:
            self._release()

    def _release(self) -> None:
        if self._held and self._is_open:
            held, self._held = self._held, b""
            self._transport.write(held)

    def _watch(self) -> None:
        """Look again when the server's time is up; end the session if it has been silent all the while."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if not self._is_open or not self._awaited:
            return
        left = self._heard_at + self._timeout_seconds - self._loop.time()
        if left <= 0:
            self._over("timed out waiting for the SMTP server")
        else:
            self._timer = self._loop.call_later(left, self._watch)

    def _over(self, error: str, *, code: str | None = None) -> None:
        """End the session, and tell of every message under way what that means for it. Once."""
        if not self._is_open:
            return
        self._is_open = False
        self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(ConnectionError(error))
        not_sent = Outcome(status=OutcomeStatus.DEFERRED, code=code, error=error)
        in_doubt = Outcome(status=OutcomeStatus.UNKNOWN, code=code, error=error)
        unanswered: list[Job] = []
        waiting: dict[Job, Stage] = {}
        for stage, job in [*self._awaited, *((stage, job) for _, stage, job in self._waiting)]:
            if job is not None:
                waiting.setdefault(job, stage)
        self._awaited.clear()
        self._waiting.clear()
        for job, stage in waiting.items():
            if stage is Stage.SENDER:
                unanswered.append(job)
            elif stage is Stage.MESSAGE and not self._held:
                self._owner.settle(job, in_doubt)
            else:
                self._owner.settle(job, job.refusal or not_sent)
        self.closed.set()
        if self._is_working:
            self._owner.lost(self, unanswered, not_sent)

"""One HTTP/1.1 connection: writes a request, reads its answer, one at a time. Knows no pool and no URL.

Framing is httptools' work (llhttp, strict). What this adds is knowing when an answer may be believed and when the
connection may be used again: after a complete answer that keeps the connection open, with the whole request
written and not a byte too many. In every other case the connection is dropped.
"""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from comms_pipeline.providers.http_replies import Answer, Headers, NoAnswer

LARGEST_HEAD_BYTES = 256 * 1024
"""Most of an answer, interim ones and framing counted, before its header fields are complete."""
LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""Most of an answer altogether."""


class Connection(asyncio.Protocol):
    """An open connection, plain or TLS. `on_lost` is called once, when it is closed for good."""

    def __init__(self, on_lost: Callable[["Connection"], None]) -> None:
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer | NoAnswer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._is_spent = False
        self._start()
        self.idle_since = 0.0
        """When it was last given back, by the loop's clock; the pool's to write."""

    def _start(self) -> None:
        self._received = 0
        self._room = LARGEST_HEAD_BYTES
        self._status = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []

    @property
    def is_usable(self) -> bool:
        """Whether a request may be written: open, and nothing of an earlier request left in either direction."""
        return not self._is_spent and self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, deadline: float) -> Answer | NoAnswer:
        """Write a request and wait for its answer until `deadline`, by the loop's clock.

        For usable connections only. Afterwards `is_usable` tells whether it can take another request. When the
        waiting task is cancelled the connection is dropped, and with it the answer.
        """
        assert self._transport is not None, "not connected"
        self._start()
        waiting: asyncio.Future[Answer | NoAnswer] = self._loop.create_future()
        self._waiting = waiting
        timer = self._loop.call_at(deadline, self.drop, "timed out waiting for the answer")
        try:
            self._transport.write(request)
            return await waiting
        finally:
            timer.cancel()
            if self._waiting is not None:
                self.drop("cancelled")

    def drop(self, error: str) -> None:
        """Close at once. A request without a complete answer gets `NoAnswer(error)`."""
        self._is_spent = True
        self._settle(NoAnswer(error=error))
        if self._transport is not None:
            self._transport.abort()

    def _settle(self, reply: Answer | NoAnswer) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember what to write to."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; drop the connection over anything that is no answer of ours."""
        if self._waiting is None:
            self.drop("an answer nobody asked for")
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.drop("the answer is not HTTP/1.1")
        if self._received > self._room:
            self.drop("the answer is too large")
        elif self._is_spent:
            self.drop("the connection ends with this answer")

    def eof_received(self) -> None:
        """An answer of no stated length ends with the connection (RFC 9112, 6.3); any other is cut off."""
        headers = Headers(self._fields)
        has_length = "content-length" in headers or "transfer-encoding" in headers
        if self._waiting is not None and self._room == LARGEST_ANSWER_BYTES and not has_length:
            self._finish()
        self._is_spent = True

    def connection_lost(self, error: Exception | None) -> None:
        """Whatever still waits gets no answer."""
        self._is_spent = True
        name = type(error).__name__ if error else "closed before the answer was complete"
        self._settle(NoAnswer(error=f"connection broke: {name}"))
        self._transport = None
        self._on_lost(self)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Raises, which stops the parser, when it is a second answer: nobody waits for that."""
        if self._waiting is None:
            raise httptools.HttpParserError("an answer nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or one of a chunked body's trailer."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Now the body may take its room, unless this is an interim answer (1xx), which has none."""
        self._status = self._parser.get_status_code()
        if self._status >= 200:
            self._room = LARGEST_ANSWER_BYTES

    def on_body(self, body: bytes) -> None:
        """A piece of the body, its framing removed."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is complete, or an interim one is, which only announces it."""
        if self._status < 200:
            self._fields = []
            return
        # A server that answers before it has read everything leaves the rest of the request in our way.
        assert self._transport is not None
        is_written = self._transport.get_write_buffer_size() == 0
        self._is_spent = self._is_spent or not (self._parser.should_keep_alive() and is_written)
        self._finish()

    def _finish(self) -> None:
        self._settle(Answer(status=self._status, headers=Headers(self._fields), body=b"".join(self._body)))

"""An SMTP server that takes everything and counts it. For `benchmarks/smtp.py`; it keeps no message.

Offers PIPELINING and 8BITMIME. Prints its port, and when its standard input ends, how many messages it took and
the bytes of their data. Run: python benchmarks/_smtp_sink.py
"""

import asyncio
import sys

import uvloop

_END = b"\r\n.\r\n"
_GREETING = b"220 sink.example ESMTP\r\n"
_OFFERS = b"250-sink.example\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
_ANSWERS = {
    b"EHLO": _OFFERS,
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}


class Sink(asyncio.Protocol):
    """One session. Counts are of the whole process."""

    messages = 0
    data_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._left = b""
        self._is_data = False
        transport.write(_GREETING)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        left = self._left + data
        answers = []
        while left:
            if self._is_data:
                end = left.find(_END)
                if end < 0:
                    break
                Sink.messages += 1
                Sink.data_bytes += end
                left = left[end + len(_END) :]
                self._is_data = False
                answers.append(b"250 2.0.0 Ok: queued as %X\r\n" % Sink.messages)
            else:
                line, found, rest = left.partition(b"\r\n")
                if not found:
                    break
                left = rest
                command = line[:4].upper()
                self._is_data = command == b"DATA"
                answers.append(_ANSWERS.get(command, b"500 5.5.2 What?\r\n"))
        self._left = left
        if answers:
            self._transport.write(b"".join(answers))  # type: ignore[attr-defined]


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()
    print(Sink.messages, Sink.data_bytes, flush=True)


if __name__ == "__main__":
    uvloop.run(main())

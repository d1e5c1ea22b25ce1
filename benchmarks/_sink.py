"""A provider that takes everything and only counts: SendGrid's and Twilio's send calls, answered as they do.

Benchmarks run it in a process of its own (`Sink`), so that its processor time is not the sender's. It checks nothing:
for behaviour there is `comms_pipeline.sandbox`. `python benchmarks/_sink.py` prints its port and serves until its
standard input ends.
"""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast
from urllib.request import urlopen

import httptools
import uvloop

_MAIL = b"/v3/mail/send"
_ACCEPTED_MAIL = (
    b"HTTP/1.1 202 Accepted\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 01:00:00 GMT\r\nContent-Length: 0\r\n"
    b"Connection: keep-alive\r\nX-Message-Id: %022d\r\nX-RateLimit-Remaining: 100000\r\n\r\n"
)
_CREATED_TEXT = (
    b'{"account_sid": "AC00000000000000000000000000000000", "api_version": "2010-04-01", "body": "", "date_created": '
    b'"Mon, 23 Nov 2026 01:00:00 +0000", "date_sent": null, "date_updated": "Mon, 23 Nov 2026 01:00:00 +0000", '
    b'"direction": "outbound-api", "error_code": null, "error_message": null, "from": "+15005550006", '
    b'"messaging_service_sid": null, "num_media": "0", "num_segments": "1", "price": null, "price_unit": "USD", '
    b'"sid": "SM%032x", "status": "queued", "subresource_uris": {}, "to": "+15005550001", "uri": "/2010-04-01/"}'
)
_ANSWER = (
    b"HTTP/1.1 %b\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 01:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\nTwilio-Request-Id: RQ0\r\n\r\n%b"
)


@dataclass
class Counts:
    """What came in since the sink began."""

    requests: int = 0
    messages: int = 0


class _Connection(asyncio.Protocol):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._body = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._transport.write(self._answer())

    def _answer(self) -> bytes:
        counts = self._counts
        if self._url == b"/counts":
            told = json.dumps(vars(counts)).encode()
            return _ANSWER % (b"200 OK", len(told), told)
        counts.requests += 1
        if self._url == _MAIL:
            counts.messages += b"".join(self._body).count(b'"to":[')
            return _ACCEPTED_MAIL % counts.requests
        counts.messages += 1
        created = _CREATED_TEXT % counts.messages
        return _ANSWER % (b"201 Created", len(created), created)


class Sink:
    """The sink in a process of its own: `with Sink() as sink`, and send to `sink.url`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def counts(self) -> Counts:
        """What has come in so far."""
        with urlopen(f"{self.url}/counts") as answer:
            return Counts(**json.load(answer))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    counts = Counts()
    server = await loop.create_server(lambda: _Connection(counts), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started us closes our standard input, at the latest by dying.
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve())

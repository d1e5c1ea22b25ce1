"""HTTP servers that do as tests tell them, on real sockets, and requests to them. No tests."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from comms_pipeline.providers import http
from comms_pipeline.providers.http import Answer, Reply, Session

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Message-Id: m1\r\n\r\nhi"
HEADERS = {"Authorization": "Basic abc"}


@dataclass
class Server:
    """What clients sent, by connection, and how many connections were open at once at most."""

    url: str = ""
    connections: list["Peer"] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    @property
    def seen(self) -> bytes:
        return b"".join(peer.seen for peer in self.connections)


@dataclass
class Peer:
    """One connection, from the server's side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: bytes = b""
    is_closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self) -> bytes:
        """The next request: its body. Raises `IncompleteReadError` when the client has gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.seen += head
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        body = await self.reader.readexactly(length)
        self.seen += body
        return body

    def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)

    def reset(self) -> None:
        """Close so that the client gets a reset."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def serving(behave: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server whose every connection does `behave`, and is closed when that returns."""
    server = Server()
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        server.connections.append(peer)
        server.open += 1
        server.most_open = max(server.open, server.most_open)
        task = asyncio.current_task()
        assert task
        running.add(task)
        try:
            await behave(peer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            peer.is_closed.set()
        finally:
            server.open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            running.discard(task)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    server.url = f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def session(connections: int = 4, timeout_seconds: float = 10.0) -> AsyncIterator[Session]:
    opened = http.open_session(connections=connections, timeout_seconds=timeout_seconds, headers=HEADERS)
    try:
        yield opened
    finally:
        await opened.close()


def saying(*pieces: bytes) -> Behaviour:
    """Answer every request with these bytes, and keep the connection."""

    async def behave(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.say(*pieces)

    return behave


def once(*pieces: bytes) -> Behaviour:
    """Answer one request with these bytes, and close."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        peer.say(*pieces)

    return behave


async def silent(peer: Peer) -> None:
    while True:
        await peer.request()


def exchange(
    behave: Behaviour, requests: int = 1, timeout_seconds: float = 10.0
) -> tuple[list[Reply], Server]:
    """The replies to some requests, one after the other, and what the server saw."""

    async def run() -> tuple[list[Reply], Server]:
        async with serving(behave) as server, session(timeout_seconds=timeout_seconds) as client:
            replies = []
            for number in range(requests):
                replies.append(await http.post(client, f"{server.url}/send", data=b"body %d" % number))
                # Let the end of a connection, or what comes too late, arrive.
                await asyncio.sleep(0.02)
            return replies, server

    return asyncio.run(run())


def told(reply: Reply) -> tuple[int, bytes] | type:
    return (reply.status, reply.body) if isinstance(reply, Answer) else type(reply)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A self-made certificate, and what a server needs to show it."""

    path: Path
    context: ssl.SSLContext


def certificate(folder: Path, address: str) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sink")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / "certificate.pem", folder / "key.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return Certificate(path=path, context=context)

"""The durable record: every message the sandbox accepted, on disk before the sender hears of it.

Requests that wait at the same moment are committed together by one writer thread (group commit), so
acceptance is both durable (SQLite, WAL, synchronous=FULL) and fast. Knows nothing of HTTP or recipients.
"""

import asyncio
import re
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

import orjson
from filelock import FileLock, Timeout

from comms_pipeline.domain.errors import CommsError

KEYS_PER_REQUEST = 1024
"""`message_key = request_id * KEYS_PER_REQUEST + position`; a request holds at most 1,000 recipients."""
REMEMBERED_REQUESTS = 4096
FAR_FUTURE = 1e12

_Row = tuple[Any, ...]
_Statement = tuple[str, Sequence[_Row]]
_T = TypeVar("_T")


@cache
def queries() -> dict[str, str]:
    """The statements of `record.sql` by name."""
    text = Path(__file__).with_name("record.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\s*$", text, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


class Provider(StrEnum):
    """Whose API accepted a message."""

    SENDGRID = "sendgrid"
    TWILIO = "twilio"
    RESEND = "resend"
    MAILGUN = "mailgun"


class StoredMessage(NamedTuple):
    """One recipient's message as recorded."""

    key: int
    recipient: int
    message_id: str
    organisation: str
    send: str
    address: str
    starts_at: float
    payload: bytes

    @property
    def request_id(self) -> int:
        return self.key // KEYS_PER_REQUEST

    @property
    def position(self) -> int:
        return self.key % KEYS_PER_REQUEST


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRequest:
    """What the messages of one API request have in common. `accepted_at` is epoch seconds."""

    request_id: int
    provider: Provider
    provider_id: str
    accepted_at: float
    categories: tuple[str, ...] = ()
    digest: bytes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """Which messages to find, newest first. `categories` match when one of them is a request's."""

    provider: Provider
    limit: int
    before: int = 2**62
    address: str | None = None
    since: float = 0.0
    until: float = FAR_FUTURE
    categories: tuple[str, ...] | None = None


class RecordInUseError(CommsError):
    """Another sandbox writes to the same folder."""


class Record:
    """The record in one folder. Open and close it in the event loop's thread."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "record.sqlite"
        self._lock = FileLock(folder / "record.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RecordInUseError(
                str(folder), "another sandbox is using this folder", "Stop it first"
            ) from None
        self._reader = self._connect()
        self._reader.executescript(queries()["schema"])
        self._last_request_id: int = self._reader.execute(queries()["last_request"]).fetchone()[0]
        self._writes: SimpleQueue[_Write | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write_groups, name="sandbox-record")
        self._writer.start()
        self._scans = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sandbox-scan")
        # Requests and their content never change once written.
        self.skeleton = lru_cache(maxsize=64)(self._read_skeleton)
        self._requests: OrderedDict[int, StoredRequest] = OrderedDict()

    def close(self) -> None:
        """Finish what waits, then let go of the files."""
        self._writes.put(None)
        self._writer.join()
        self._scans.shutdown()
        self._reader.close()
        self._lock.release()

    def new_request_id(self) -> int:
        self._last_request_id += 1
        return self._last_request_id

    async def accept(
        self, request: StoredRequest, messages: Sequence[StoredMessage], skeleton: bytes | None = None
    ) -> None:
        """Record an accepted request; returns once it is on disk. Raises sqlite3.Error when it cannot be."""
        contents = {} if request.digest is None or skeleton is None else {request.digest: skeleton}
        await self.accept_all([(request, messages)], contents)

    async def accept_all(
        self,
        accepted: Sequence[tuple[StoredRequest, Sequence[StoredMessage]]],
        contents: Mapping[bytes, bytes],
    ) -> None:
        """Record all of these or none, with contents by digest; otherwise like `accept`."""
        heads = [
            (
                request.request_id,
                request.provider,
                request.provider_id,
                request.accepted_at,
                max(message.starts_at for message in messages),
                orjson.dumps(request.categories).decode(),
                request.digest,
            )
            for request, messages in accepted
        ]
        rows = [(*m, _crc(m.message_id), _crc(m.address)) for _, messages in accepted for m in messages]
        await self._write(
            [("add_content", list(contents.items())), ("add_request", heads), ("add_message", rows)]
        )
        for request, _ in accepted:
            self._remember(request)

    async def erase(self, keys: Sequence[int]) -> None:
        """Forget messages: whoever asks for them afterwards finds none, and their recipients act no more."""
        await self._write([("erase_message", [(key,) for key in keys])])

    async def add_stopped(self, address: str, stopped_at: float) -> None:
        await self._write([("add_stopped", [(address, stopped_at)])])

    async def save_progress(self, posted_until: float, posted: int) -> None:
        await self._write([("save_progress", [(posted_until, posted)])])

    def progress(self) -> tuple[float, int]:
        """(everything due before this time is posted, events posted); zeros before the first event."""
        row = self._reader.execute(queries()["progress"]).fetchone()
        return (row[0], row[1]) if row else (0.0, 0)

    def stopped(self) -> set[str]:
        return {row[0] for row in self._reader.execute(queries()["stopped"])}

    def requests_since(self, starts_at: float) -> list[int]:
        return [row[0] for row in self._reader.execute(queries()["requests_since"], (starts_at,))]

    def request(self, request_id: int) -> StoredRequest:
        known = self._requests.get(request_id)
        if known is None:
            known = _request(self._reader.execute(queries()["request"], (request_id,)).fetchone())
            self._remember(known)
        return known

    def messages_of_request(self, request_id: int) -> list[StoredMessage]:
        first = request_id * KEYS_PER_REQUEST
        return self._messages("messages_of_request", (first, first + KEYS_PER_REQUEST - 1))

    def message(self, key: int) -> StoredMessage | None:
        return next(iter(self._messages("messages_of_request", (key, key))), None)

    def messages_of_id(self, message_id: str) -> list[StoredMessage]:
        """Every acceptance of one of our ids, the latest first."""
        return self._messages("messages_of_id", (_crc(message_id), message_id))

    def latest_messages(self, limit: int) -> list[StoredMessage]:
        return self._messages("latest_messages", (limit,))

    def request_by_provider_id(self, provider_id: str) -> StoredRequest | None:
        row = self._reader.execute(queries()["request_by_provider_id"], (provider_id,)).fetchone()
        return _request(row) if row else None

    async def search(self, wanted: Search) -> list[StoredMessage]:
        parameters: dict[str, object] = {name: getattr(wanted, name) for name in wanted.__slots__}
        if wanted.categories is not None:
            parameters["categories"] = orjson.dumps(wanted.categories).decode()
        name = "search_window"
        if wanted.address is not None:
            name = "search_address"
            parameters["address_crc"] = _crc(wanted.address)
        return await self._scan(
            lambda c: [StoredMessage(*row) for row in c.execute(queries()[name], parameters)]
        )

    async def listing(self, *, provider: str | None, send: str | None, after: int, limit: int) -> list[_Row]:
        """Oldest first: (key, provider, provider id, our id, organisation, send, accepted at, count)."""
        parameters = {"provider": provider, "send": send, "after": after, "limit": limit}
        return await self._scan(lambda c: c.execute(queries()["listing"], parameters).fetchall())

    async def totals(self) -> list[tuple[str, int, int, int]]:
        """Per provider: (provider, accepted, distinct ids of ours, accepted without such an id)."""
        return await self._scan(lambda c: c.execute(queries()["totals"]).fetchall())

    def _messages(self, name: str, parameters: _Row) -> list[StoredMessage]:
        return [StoredMessage(*row) for row in self._reader.execute(queries()[name], parameters)]

    def content(self, digest: bytes) -> dict[str, Any] | None:
        """What was kept under this digest, if anything."""
        row = self._reader.execute(queries()["content"], (digest,)).fetchone()
        return orjson.loads(row[0]) if row else None

    def _read_skeleton(self, digest: bytes) -> dict[str, Any]:
        body = self.content(digest)
        assert body is not None, "requests are written with their content"
        return body

    def _remember(self, request: StoredRequest) -> None:
        self._requests[request.request_id] = request
        if len(self._requests) > REMEMBERED_REQUESTS:
            self._requests.popitem(last=False)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma cache_size = -65536")
        # Random index pages are written again and again: copy them to the database rarely.
        connection.execute("pragma wal_autocheckpoint = 16384")
        return connection

    async def _scan(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run a query that may take long, away from the event loop, on a connection of its own."""

        def run() -> _T:
            connection = self._connect()
            try:
                return query(connection)
            finally:
                connection.close()

        return await asyncio.get_running_loop().run_in_executor(self._scans, run)

    async def _write(self, statements: list[_Statement]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writes.put(_Write(statements, done))
        # A sender that hangs up must not undo what is being committed.
        await asyncio.shield(done)

    def _write_groups(self) -> None:
        connection = self._connect()
        is_open = True
        while is_open:
            group = [self._writes.get()]
            while not self._writes.empty():
                group.append(self._writes.get())
            is_open = None not in group
            writes = [write for write in group if write is not None]
            try:
                _commit(connection, writes)
                outcomes: list[sqlite3.Error | None] = [None] * len(writes)
            except sqlite3.Error:
                outcomes = [_try_commit(connection, write) for write in writes]
            for write, error in zip(writes, outcomes, strict=True):
                write.settle(error)
        connection.close()


class _Write(NamedTuple):
    statements: list[_Statement]
    done: asyncio.Future[None]

    def settle(self, error: sqlite3.Error | None) -> None:
        loop = self.done.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, self.done, error)


def _settle(done: asyncio.Future[None], error: sqlite3.Error | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _commit(connection: sqlite3.Connection, writes: Sequence[_Write]) -> None:
    connection.execute("begin immediate")
    try:
        for write in writes:
            for name, rows in write.statements:
                connection.executemany(queries()[name], rows)
        connection.execute("commit")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _try_commit(connection: sqlite3.Connection, write: _Write) -> sqlite3.Error | None:
    try:
        _commit(connection, [write])
    except sqlite3.Error as error:
        return error
    return None


def _crc(text: str) -> int:
    return crc32(text.lower().encode())


def _request(row: _Row) -> StoredRequest:
    request_id, provider, provider_id, accepted_at, categories, digest = row
    return StoredRequest(
        request_id=request_id,
        provider=Provider(provider),
        provider_id=provider_id,
        accepted_at=accepted_at,
        categories=tuple(orjson.loads(categories)),
        digest=digest,
    )

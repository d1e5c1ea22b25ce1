"""How soon `comms worker` hands an urgent message to the provider while another process sends to very many.

200 text messages a second are enqueued one by one, each in a transaction of its own; the worker is a process of its
own, set up as `comms worker` does. Meanwhile an e-mail send goes out at full speed through a third process. A figure
is the time from the commit that enqueued a message until the sink has read its request. Promised: half of them within
0.5 s, 99 of 100 within 2 s. Every message must come in once. Run: python benchmarks/worker_latency.py [seconds]
"""

import asyncio
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import polars as pl
import psycopg
from _report import report
from _sink import Counts, Sink, _Connection
from bulk_lane import fill_ledger, run_engine
from dispatch_memory import PREPARED, fresh, repeat
from single_messages import ACCOUNT, open_ledger

from comms_pipeline.dispatch.payload import pack
from comms_pipeline.dispatch.worker import Worker
from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.content import Content
from comms_pipeline.domain.message import Channel, message_ids
from comms_pipeline.domain.rate import Rate
from comms_pipeline.ledger import batches, launcher, sends
from comms_pipeline.ledger.batches import NewBatch
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.providers.registry import Providers
from comms_pipeline.settings import Settings

SECONDS = 15
PER_SECOND = 200
WARM_UP = 20
BULK_RECIPIENTS = 5_000_000
PROMISED_MEDIAN, PROMISED_P99 = 0.5, 2.0
LANE, SEND_ID = "sms:twilio", "alerts"
PATIENCE_SECONDS = 60
CONTENT = Content(campaign_id="benchmark", parts={"text": ("Your code is ", 0, ".")}, sender="")
_NUMBER = re.compile(rb"Your\+code\+is\+(\d+)\.")


class TimedSink:
    """Twilio's stand-in in a thread of this process: when each number came in, by the monotonic clock."""

    def __init__(self) -> None:
        self.arrivals: dict[int, list[float]] = {}
        self._loop = asyncio.new_event_loop()
        server = self._loop.run_until_complete(self._loop.create_server(self._connection, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def _connection(self) -> "_TimedConnection":
        return _TimedConnection(self.arrivals)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _TimedConnection(_Connection):
    def __init__(self, arrivals: dict[int, list[float]]) -> None:
        super().__init__(Counts())
        self._arrivals = arrivals

    def on_message_complete(self) -> None:
        now = time.monotonic()
        found = _NUMBER.search(b"".join(self._body))
        assert found
        self._arrivals.setdefault(int(found[1]), []).append(now)
        super().on_message_complete()


def work(server: Server, url: str) -> None:
    """`comms worker`, for the one lane."""
    settings = Settings(
        sandbox=False,
        twilio_account_sid=ACCOUNT,
        twilio_auth_token="secret",
        twilio_from="+15550100000",
        twilio_base_url=url,
        public_url="https://mail.lakeside.example",
        # Kept in Postgres, as every lane's is, but more than is sent.
        rates={LANE: Rate(per_second=5 * PER_SECOND, burst=5 * PER_SECOND)},
    )
    worker = Worker(
        connect=lambda: connect(server, autocommit=True),
        conninfo=server.conninfo(),
        providers=lambda: Providers(settings),
        lanes=[LANE],
        least_priority=1,
    )

    async def serve() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()

    asyncio.run(serve())


def send_bulk(server: Server, url: str) -> None:
    """The large send, until killed."""
    run_engine(server, url, "bulk", BULK_RECIPIENTS)


@contextmanager
def process(target: Callable[..., None], *arguments: object) -> Iterator[None]:
    """A process that runs during the block, and must still do so at its end."""
    running = get_context("spawn").Process(target=target, args=arguments)
    running.start()
    try:
        yield
        assert running.is_alive(), f"{target.__name__} ended early"
    finally:
        running.terminate()
        running.join()


def texts(count: int) -> list[NewBatch]:
    """Batches of one message; their numbers are their text."""
    numbers = [str(number) for number in range(count)]
    addresses = pl.Series([f"+1555{number:07}" for number in range(count)])
    payload = pl.DataFrame(
        {
            "message_id": message_ids(SEND_ID, numbers, Channel.SMS),
            "address": addresses,
            "address_key": address_keys(addresses, Channel.SMS, b"benchmark"),
            "s0": numbers,
        }
    )
    return [
        NewBatch(
            lane=LANE,
            channel=Channel.SMS,
            content_id=CONTENT.content_id,
            priority=1,
            message_count=1,
            payload=pack(part),
            due_at=datetime.now(UTC),
        )
        for part in payload.iter_slices(1)
    ]


def enqueue_one(connection: psycopg.Connection, batch: NewBatch, generation: int) -> float:
    """When it was committed, by the monotonic clock."""
    with connection.transaction():
        batches.claim_generation(connection, send_id=SEND_ID, generation=generation, message_count=1)
        batches.enqueue(
            connection,
            send_id=SEND_ID,
            organisation_id="acme",
            generation=generation,
            contents={CONTENT.content_id: CONTENT.to_dict()},
            batches=[batch],
        )
    return time.monotonic()


def enqueue_steadily(connection: psycopg.Connection, waiting: list[NewBatch], first: int) -> dict[int, float]:
    """Enqueue at the promised rate, catching up after a delay; when each number was committed."""
    began = time.monotonic()
    committed = {}
    for turn, batch in enumerate(waiting):
        time.sleep(max(0.0, began + turn / PER_SECOND - time.monotonic()))
        committed[first + turn] = enqueue_one(connection, batch, first + turn)
    return committed


def wait_for(arrivals: dict[int, list[float]], count: int) -> None:
    """Until so many numbers came in."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(arrivals) < count:
        assert time.monotonic() < deadline, f"{len(arrivals)} of {count} came in"
        time.sleep(0.05)


def delays(server: Server, bulk_url: str, sink: TimedSink, count: int) -> list[float]:
    """Seconds from commit to receipt of each message."""
    waiting = texts(WARM_UP + count)
    with connect(server, autocommit=True) as connection:
        with connection.transaction():
            sends.create_send(
                connection, send_id=SEND_ID, campaign_id="benchmark", version=1, due_at=datetime.now(UTC)
            )
            assert sends.start_send(connection, SEND_ID)
        with process(work, server, sink.url), process(send_bulk, server, bulk_url):
            enqueue_steadily(connection, waiting[:WARM_UP], 0)
            wait_for(sink.arrivals, WARM_UP)
            committed = enqueue_steadily(connection, waiting[WARM_UP:], WARM_UP)
            wait_for(sink.arrivals, WARM_UP + count)
    assert all(len(times) == 1 for times in sink.arrivals.values()), "a message came in twice"
    return [sink.arrivals[number][0] - at for number, at in committed.items()]


def main(seconds: int) -> int:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder, Sink() as bulk_sink:
        sink = TimedSink()
        server = open_ledger(Path(folder))
        try:
            fresh(fill_ledger, server, "some", PREPARED)
            repeat(server, "some", "bulk", BULK_RECIPIENTS // PREPARED)
            began = time.monotonic()
            found = delays(server, bulk_sink.url, sink, seconds * PER_SECOND)
            bulk_rate = bulk_sink.counts().messages / (time.monotonic() - began)
        finally:
            launcher.remove(Path(folder))
            sink.close()
    # In milliseconds: a second has too few digits.
    p99 = statistics.quantiles(found, n=100)[98]
    for name, value, promised in (
        ("median", statistics.median(found), PROMISED_MEDIAN),
        ("p99", p99, PROMISED_P99),
    ):
        report(f"worker_latency_{name}", value * 1000, "ms", promised * 1000, is_more_better=False)
    assert bulk_rate > 0
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))

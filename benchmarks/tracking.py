"""What a hit on a pixel costs: our own time for each, and how many a second one web process keeps durably.

A real uvicorn in a process of its own, a real Postgres that syncs every commit, clients over keep-alive connections.
Own time is from the request's arrival at the app to its answer, the commit included. First at a pace (which is how
people open mail), then as fast as so many connections go. The baseline, measured in the same run, commits every hit by
itself on a thread. Afterwards every acknowledged hit must be in the landing. Promised: 5 ms for 95 %, 2,000 hits/s.
Run: python benchmarks/tracking.py [seconds of each measurement]
"""

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from _report import report

from comms_pipeline.cli.installation import initialise
from comms_pipeline.domain.links import PATHS
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose
from comms_pipeline.ledger import launcher
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

SECONDS = 8.0
PACE_PER_SECOND, CONNECTIONS = 500, 64
PROMISED_MILLISECONDS, PROMISED_RATE = 5.0, 2_000.0
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"


def serve(home: Path, how: str, port: int, times: Path) -> None:
    """Serve pixels until the process is ended; then write its processor time for each request, in microseconds, and
    the own time of each, in milliseconds.
    """
    import uvicorn
    from fastapi import FastAPI
    from psycopg_pool import ConnectionPool
    from starlette.concurrency import run_in_threadpool
    from starlette.types import Receive, Scope, Send

    from comms_pipeline.ledger.landing import land
    from comms_pipeline.providers import own_events
    from comms_pipeline.web.hits import Hits
    from comms_pipeline.web.tracking import Keep, Tracking

    stores = Stores(load_settings(home))
    taken: list[float] = []
    hits = Hits(stores.server, home / "spool")
    pool = ConnectionPool(stores.server.conninfo(), min_size=1, max_size=8, open=False)

    async def commit_each(kind: str, body: bytes) -> None:
        def commit() -> None:
            with pool.connection() as connection:
                land(connection, own_events.PROVIDER, kind, "", body)

        await run_in_threadpool(commit)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pool.open()
        started = time.process_time()
        async with hits:
            yield
        pool.close()
        each = (time.process_time() - started) / max(len(taken), 1) * 1_000_000
        times.write_text("\n".join(map(str, [each, *taken])), encoding="ascii")

    keep: Keep = commit_each if how == "each" else hits.add
    app = FastAPI(lifespan=lifespan)
    settings = stores.settings
    app.include_router(Tracking(stores.token_keys, keep, settings.public_url, settings.secret_key).router())

    async def timed(scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        await app(scope, receive, send)
        if scope["type"] == "http":
            taken.append((time.perf_counter() - started) * 1000)

    uvicorn.run(timed, host="127.0.0.1", port=port, access_log=False, log_level="warning")


async def visit(port: int, requests: Sequence[bytes], until: float, pause: float, after: float) -> int:
    """One connection's hits, each after the answer to the one before; returns how many were acknowledged.

    It begins `after` so many seconds: people do not come in step.
    """
    await asyncio.sleep(after)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    acknowledged = 0
    while (now := time.perf_counter()) < until:
        writer.write(requests[acknowledged % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(43)
        acknowledged += head.startswith(b"HTTP/1.1 200")
        if pause:
            await asyncio.sleep(max(0.0, now + pause - time.perf_counter()))
    writer.close()
    return acknowledged


async def visits(port: int, requests: Sequence[bytes], seconds: float, per_second: int | None) -> int:
    """Hits by all connections, at this pace or as fast as they go; returns how many were acknowledged."""
    pause = CONNECTIONS / per_second if per_second else 0.0
    until = time.perf_counter() + seconds
    share = len(requests) // CONNECTIONS
    parts = [requests[number * share : (number + 1) * share] for number in range(CONNECTIONS)]
    starts = [pause * number / CONNECTIONS for number in range(CONNECTIONS)]
    found = (visit(port, part, until, pause, after) for part, after in zip(parts, starts, strict=True))
    return sum(await asyncio.gather(*found))


def wait_for(port: int) -> None:
    """Returns once somebody listens."""
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the web app did not start")


def pixels(stores: Stores) -> list[bytes]:
    """Requests for the pixels of some messages."""
    paths = [
        PATHS[Purpose.OPEN]
        + stores.token_keys.sign(
            Purpose.OPEN, organisation_id="club", channel=Channel.EMAIL, message_id=f"{number:032x}"
        )
        for number in range(CONNECTIONS * 50)
    ]
    return [f"GET {path} HTTP/1.1\r\nhost: x\r\nuser-agent: {AGENT}\r\n\r\n".encode() for path in paths]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Own times in milliseconds, ascending; acknowledged hits a second; processor time for each in microseconds."""

    times: Sequence[float]
    rate: float
    processor: float


def measure(stores: Stores, how: str, seconds: float, per_second: int | None) -> Measured:
    """Serve one way, visit at a pace or as fast as it goes, and look whether all that was acknowledged is there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    home = stores.settings.home
    times = home / f"times-{how}-{per_second}"
    with stores.ledger() as ledger:
        before = landed(ledger)
        process = subprocess.Popen([sys.executable, __file__, "serve", home, how, str(port), times])
        try:
            wait_for(port)
            asyncio.run(visits(port, pixels(stores), 1.0, per_second))
            warm_up = landed(ledger) - before
            started = time.perf_counter()
            acknowledged = asyncio.run(visits(port, pixels(stores), seconds, per_second))
            rate = acknowledged / (time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait()
        if (found := landed(ledger) - before - warm_up) != acknowledged:
            raise SystemExit(f"{acknowledged} hits were acknowledged and {found} landed")
    processor, *taken = [float(line) for line in times.read_text(encoding="ascii").split()]
    return Measured(times=sorted(taken[-acknowledged:]), rate=rate, processor=processor)


def landed(ledger: psycopg.Connection) -> int:
    """How many webhooks and hits the ledger has."""
    row = ledger.execute("select count(*) from landing").fetchone()
    return int(row[0]) if row else 0


def at(times: Sequence[float], share: float) -> float:
    """The time that this share of all stayed below."""
    return times[min(int(len(times) * share), len(times) - 1)]


def main() -> None:
    """Measure both ways, one after the other."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with tempfile.TemporaryDirectory() as folder:
        stores = initialise(load_settings(Path(folder)))
        try:
            for name, pace in (("paced", PACE_PER_SECOND), ("flat-out", None)):
                each = measure(stores, "each", seconds, pace)
                grouped = measure(stores, "grouped", seconds, pace)
                for percent in (50, 95):
                    own, before = at(grouped.times, percent / 100), at(each.times, percent / 100)
                    report(f"tracking/{name}-own-time-p{percent}", own, "ms", before, is_more_better=False)
                if pace:
                    own = at(grouped.times, 0.95)
                    report("tracking/p95-of-promise", own, "ms", PROMISED_MILLISECONDS, is_more_better=False)
                    continue
                report("tracking/hits-per-second", grouped.rate, "hits/s", each.rate)
                report("tracking/hits-per-second-of-promise", grouped.rate, "hits/s", PROMISED_RATE)
                report(
                    "tracking/processor", grouped.processor, "us/hit", each.processor, is_more_better=False
                )
        finally:
            launcher.stop(stores.settings.home)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
    else:
        main()

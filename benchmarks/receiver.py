"""How many webhooks one core takes in, each committed durably before its answer, and how many events that makes.

The web app, as `comms serve web` runs it, and its Postgres share one core; clients have another. Signed SendGrid
posts: of one event each, and of 500; one event in fifty calls for a suppression. What is answered must have landed,
event for event. Baseline, in the same run and on the same core: what people write first, a plain FastAPI handler that
inserts a row per event and commits, and verifies nothing. Rates are by the clock and by the processor's seconds of app
and Postgres, which is what a core of their own would do. Run: python benchmarks/receiver.py [seconds]
"""

import asyncio
import base64
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import aiohttp
import orjson
import psutil
from _report import report
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from comms_pipeline.ledger import launcher
from comms_pipeline.ledger.migrate import migrate
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.sandbox.config import generate_webhook_key

SECONDS = 10.0
CONNECTIONS = 32
EVENTS_PER_POST = 500
PREPARED_EVENTS, PREPARED_POSTS = 4_000, 24
SERVER_CORE, CLIENT_CORE = 0, 1
PATIENCE_SECONDS = 60

OURS = """
import sys
from pathlib import Path
import uvicorn
from comms_pipeline.ledger.server import Server
from comms_pipeline.settings import Settings
from comms_pipeline.web.app import create_app
home, url, port, key = sys.argv[1:]
settings = Settings(_env_file=None, home=Path(home), secret_key="benchmark", sendgrid_webhook_key=key,
                    webhook_rate="1000000/1000000")
app = create_app(settings, Server.from_url(url))
uvicorn.run(app, host="127.0.0.1", port=int(port), access_log=False, log_level="warning")
"""
THEIRS = """
import json, sys
from fastapi import FastAPI, Request, Response
from psycopg_pool import AsyncConnectionPool
import uvicorn
_, url, port, _ = sys.argv[1:]
pool = AsyncConnectionPool(url, min_size=8, max_size=8, open=False)
async def lifespan(app):
    await pool.open()
    yield
    await pool.close()
from contextlib import asynccontextmanager
app = FastAPI(lifespan=asynccontextmanager(lifespan))
@app.get("/health")
async def health():
    return {}
@app.post("/webhooks/sendgrid", status_code=204)
async def sendgrid(request: Request):
    async with pool.connection() as connection:
        for event in await request.json():
            await connection.execute(
                "insert into naive_event (kind, email, event) values (%s, %s, %s)",
                (event["event"], event["email"], json.dumps(event)))
    return Response(status_code=204)
uvicorn.run(app, host="127.0.0.1", port=int(port), access_log=False, log_level="warning")
"""
NAIVE_TABLE = """
create table naive_event (
    id bigint generated always as identity primary key, at timestamptz default now(), kind text, email text, event jsonb
)
"""
Post = tuple[bytes, dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was answered with 204 within the seconds; `latencies` in seconds, sorted."""

    posts: int
    seconds: float
    processor_seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        return self.posts / self.seconds

    @property
    def per_core(self) -> float:
        return self.posts / self.processor_seconds


def event(chance: random.Random, number: int) -> dict[str, object]:
    """An event as SendGrid tells it."""
    kind = "bounce" if number % 50 == 0 else chance.choice(["processed", "delivered", "open", "click"])
    told: dict[str, object] = {
        "email": f"person.{number}@mail{number % 997}.example.com",
        "timestamp": 1_790_000_000 + number // 200,
        "smtp-id": f"<{number:016x}@geopod-ismtpd-1>",
        "event": kind,
        "category": ["batch:12", "offer"],
        "sg_event_id": f"{chance.getrandbits(128):032x}",
        "sg_message_id": f"14c5d75ce93.dfd.64b469.filter0001.{number}.5515E0B88.0",
        "comms_message": f"{chance.getrandbits(128):032x}",
        "comms_org": "club",
    }
    if kind in ("open", "click"):
        told |= {"useragent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)", "ip": "203.0.113.9"}
    if kind == "bounce":
        told |= {"reason": "550 5.1.1 user unknown", "status": "5.1.1", "type": "bounce"}
    return told


def prepared(private_key: str, count: int, events_per_post: int) -> list[Post]:
    """Signed posts, made before the clock runs."""
    key = load_pem_private_key(private_key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    chance, timestamp = random.Random(1), str(int(time.time()))
    posts = []
    for post in range(count):
        numbers = range(post * events_per_post, (post + 1) * events_per_post)
        body = orjson.dumps([event(chance, number) for number in numbers]) + b"\r\n"
        signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        headers = {
            "Content-Type": "application/json",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }
        posts.append((body, headers))
    return posts


def spent(processes: list[psutil.Process]) -> float:
    """Processor seconds of these and of all they started."""
    family = [*processes, *(child for process in processes for child in process.children(recursive=True))]
    return sum(sum(process.cpu_times()[:2]) for process in family)


async def flood(
    url: str, posts: list[Post], seconds: float, connections: int, processes: list[psutil.Process]
) -> Measured:
    """Post for some seconds, each connection one after the other. Raises for any answer but 204."""
    latencies: list[float] = []
    turn = iter(range(10**9))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began, began_spent = time.perf_counter(), spent(processes)

        async def post_steadily() -> None:
            while (now := time.perf_counter()) - began < seconds:
                body, headers = posts[next(turn) % len(posts)]
                async with session.post(url, data=body, headers=headers) as answer:
                    if answer.status != 204:
                        raise RuntimeError(f"answered {answer.status}: {await answer.text()}")
                latencies.append(time.perf_counter() - now)

        await asyncio.gather(*(post_steadily() for _ in range(connections)))
        took, processor_seconds = time.perf_counter() - began, spent(processes) - began_spent
    return Measured(
        posts=len(latencies),
        seconds=took,
        processor_seconds=processor_seconds,
        latencies=sorted(latencies),
    )


@contextmanager
def serving(
    code: str, home: Path, server: Server, port: int, public_key: str
) -> Iterator[tuple[str, psutil.Process]]:
    """The receiver's address and process, which has one core."""
    arguments = [sys.executable, "-c", code, str(home), server.url(), str(port), public_key]
    process = subprocess.Popen(arguments, preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}))
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/health").close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/webhooks/sendgrid", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def pinned_postgres(server: Server) -> psutil.Process:
    """Postgres' first process; it, and whatever it starts from now on, are on the receiver's core."""
    with connect(server, autocommit=True) as connection:
        backend = connection.execute("select pg_backend_pid()").fetchone()
    assert backend
    postmaster = psutil.Process(
        int(Path(f"/proc/{backend[0]}/status").read_text().split("PPid:")[1].split()[0])
    )
    for process in (postmaster, *postmaster.children()):
        process.cpu_affinity([SERVER_CORE])
    return postmaster


def landed(server: Server) -> int:
    """Events in the landing."""
    query = (
        "select coalesce(sum(jsonb_array_length(convert_from(body, 'utf8')::jsonb)), 0)::bigint from landing"
    )
    with connect(server, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
        assert row
        settings = [connection.execute(f"show {name}").fetchone() for name in ("synchronous_commit", "fsync")]
        assert settings == [("on",), ("on",)], settings
        connection.execute("truncate landing")
    return int(row[0])


def main(seconds: float) -> int:
    """Prints the figures; 1 if anything that was answered is not in the landing."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    private_key, public_key = generate_webhook_key()
    single = prepared(private_key, PREPARED_EVENTS, 1)
    bulk = prepared(private_key, PREPARED_POSTS, EVENTS_PER_POST)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        server = launcher.ensure_started(home)
        try:
            launcher.ensure_databases(server)
            migrate(server)
            with connect(server) as connection:
                connection.execute(NAIVE_TABLE.encode())
            postgres = pinned_postgres(server)
            found: dict[str, tuple[Measured, Measured]] = {}
            for name, code, port in (("naive", THEIRS, 18761), ("ours", OURS, 18762)):
                with serving(code, home, server, port, public_key) as (url, process):
                    family = [process, postgres]
                    asyncio.run(flood(url, single, min(1.0, seconds), CONNECTIONS, family))
                    landed(server)
                    one = asyncio.run(flood(url, single, seconds, CONNECTIONS, family))
                    kept_of_one = landed(server)
                    many = asyncio.run(flood(url, bulk, seconds, 4, family))
                    kept_of_many = landed(server)
                found[name] = one, many
                if name == "ours" and (kept_of_one, kept_of_many) != (
                    one.posts,
                    many.posts * EVENTS_PER_POST,
                ):
                    print(
                        f"error: {one.posts} and {many.posts} posts answered, "
                        f"{kept_of_one} and {kept_of_many} events landed",
                        file=sys.stderr,
                    )
                    return 1
        finally:
            launcher.remove(home)
    (one, many), (naive_one, naive_many) = found["ours"], found["naive"]
    report("receiver_requests", one.per_second, "requests/s", naive_one.per_second)
    report("receiver_requests_per_core", one.per_core, "requests/s", naive_one.per_core)
    for name, rate in (("receiver_events", "per_second"), ("receiver_events_per_core", "per_core")):
        ours, naive = (EVENTS_PER_POST * getattr(each, rate) for each in (many, naive_many))
        report(name, ours, "events/s", naive)
    for name, share in (("median", 0.5), ("p99", 0.99)):
        ours, naive = (1000 * each.latencies[int(share * len(each.latencies))] for each in (one, naive_one))
        report(f"receiver_answer_{name}", ours, "ms", naive, is_more_better=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))

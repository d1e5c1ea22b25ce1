"""Tells what the sandbox's recipients did through the worst of networks, and compares what the lake makes of it.

Each event is told one to forty times, shuffled with others, under changed ids, in posts of any size, to a web app that
is killed at random, as is the loader behind it. What happened is known: tables must hold that, row by row, and nothing
else. `make hostile` runs it (`HOSTILE_EVENTS`, `HOSTILE_SEED`, `HOSTILE_KILLS`); a short part of it is in
tests/acceptance/test_hostile_network.py. No tests.
"""

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from random import Random
from urllib.request import urlopen

import aiohttp
import polars as pl
from command_line import CommandLine
from hostile_truth import HAPPENED, START, Recipients, statuses
from sending import free_port

from comms_pipeline.cli.console import out
from comms_pipeline.cli.installation import SANDBOX_KEY_FILE
from comms_pipeline.ledger import launcher
from comms_pipeline.loader.following import catch_up
from comms_pipeline.sandbox.webhooks import EventSigner
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

EVENTS, KILLS = 1_000_000, 40
_EVENTS_PER_WAVE = 50_000
_POSTERS = 4
_LATE_SHARE = 0.1
"""Of the tellings of a wave: they come with the next one."""


class Victim(StrEnum):
    """What is killed with SIGKILL."""

    WEB = "web"
    LOADER = "loader"


@dataclass(frozen=True, kw_only=True)
class Account:
    """What was told, what became of it, and in which tables that is not what happened."""

    events: int
    messages: int
    tellings: int
    posts: int
    landed: int
    kills: Counter[Victim]
    seconds: float
    faults: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        killed = ", ".join(f"{victim} {count}" for victim, count in sorted(self.kills.items())) or "nobody"
        return (
            f"{self.events:,} events of {self.messages:,} messages, told {self.tellings:,} times "
            f"in {self.posts:,} posts, of which {self.landed:,} landed; killed: {killed}; {self.seconds:.0f} s"
            + "".join(f"; {fault}" for fault in self.faults)
        )


class Installation:
    """A home whose web app and loader may be killed at any time."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.web_url = f"http://127.0.0.1:{port}"
        variables = {"COMMS_WEB_PORT": str(port), "COMMS_WEBHOOK_RATE": "100000/100000"}
        self._comms = CommandLine(home=folder / "home", variables=variables)
        self._comms.ok("init")
        self._processes: dict[Victim, subprocess.Popen[bytes]] = {}

    @cached_property
    def stores(self) -> Stores:
        return Stores(load_settings(self._comms.home))

    @cached_property
    def signer(self) -> EventSigner:
        return EventSigner((self._comms.home / SANDBOX_KEY_FILE).read_text(encoding="ascii"))

    def start(self, victim: Victim) -> None:
        self._processes[victim] = self._comms.start("serve", victim)

    def kill(self, victim: Victim) -> None:
        process = self._processes[victim]
        assert process.poll() is None, f"{victim} ended by itself, with {process.returncode}"
        process.kill()
        process.wait()

    def is_serving(self) -> bool:
        try:
            with urlopen(f"{self.web_url}/health", timeout=5):
                return True
        except OSError:
            return False

    def remove(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self.stores.lake.close()
        launcher.remove(self._comms.home)


class Network:
    """Posts tellings until every one of them is taken, and kills who takes them in the meantime."""

    def __init__(self, home: Installation, randomness: Random) -> None:
        self._home = home
        self._random = randomness
        self.kills: Counter[Victim] = Counter()
        self.tellings = self.posts = 0

    async def deliver(self, told: list[bytes], kills: int) -> None:
        """Post them in any order, in posts of one to a thousand."""
        self._random.shuffle(told)
        bodies: list[bytes] = []
        while told:
            size = round(10 ** self._random.uniform(0, 3))
            part, told = told[-size:], told[:-size]
            self.tellings += len(part)
            bodies.append(b"[" + self._random.choice([b",", b",\r\n"]).join(part) + b"]\r\n")
        self.posts += len(bodies)
        strikes = Counter(self._random.randrange(len(bodies)) for _ in range(kills))
        coming = iter(enumerate(bodies))
        async with aiohttp.ClientSession() as session:

            async def post() -> None:
                for number, body in coming:
                    await self._post(session, body)
                    for _ in range(strikes[number]):
                        await self._strike()

            await asyncio.gather(*(post() for _ in range(_POSTERS)))

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> None:
        """As SendGrid does: again and again until it is taken."""
        while True:
            headers = self._home.signer.headers(body, int(time.time()))
            try:
                async with session.post(
                    f"{self._home.web_url}/webhooks/sendgrid", data=body, headers=headers
                ) as answer:
                    if answer.status == 204:
                        return
                    assert answer.status in (429, 500, 503), f"{answer.status}: {await answer.text()}"
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(0.1)

    async def _strike(self) -> None:
        victim = self._random.choice(list(Victim))
        # Somewhere in the middle of whatever it is at.
        await asyncio.sleep(self._random.uniform(0, 0.5))
        self._home.kill(victim)
        self.kills[victim] += 1
        self._home.start(victim)


def tell(home: Installation, *, seed: int, events: int, kills: int) -> Account:
    """Let recipients act, tell of it through the worst of networks, and compare."""
    began = time.monotonic()
    randomness = Random(seed)
    recipients, network = Recipients(randomness), Network(home, randomness)
    for victim in Victim:
        home.start(victim)
    _wait(home.is_serving)
    waves = max(1, events // _EVENTS_PER_WAVE)
    late: list[bytes] = []
    messages = 0
    for wave in range(waves):
        told, planned = recipients.act(events // waves)
        messages += planned.height
        _plan(home.stores, planned)
        told += late
        randomness.shuffle(told)
        kept = int(len(told) * _LATE_SHARE) if wave < waves - 1 else 0
        late, told = told[:kept], told[kept:]
        asyncio.run(network.deliver(told, kills * (wave + 1) // waves - kills * wave // waves))
    home.kill(Victim.LOADER)
    catch_up(home.stores)
    happened = pl.concat(recipients.happened)
    landed = _landed(home.stores)
    return Account(
        events=happened.height,
        messages=messages,
        tellings=network.tellings,
        posts=network.posts,
        landed=landed[0],
        kills=network.kills,
        seconds=time.monotonic() - began,
        faults=list(_faults(home.stores, happened, landed, network.tellings)),
    )


def _plan(stores: Stores, messages: pl.DataFrame) -> None:
    constant = {"send_id": "open-day", "channel": "email", "lane": "email:sendgrid", "variant": ""}
    rows = messages.with_columns(
        contact_id=pl.col("message_id"),
        generation=1,
        score=0.0,
        due_at=pl.lit(START),
        planned_at=pl.lit(START),
        **{name: pl.lit(value) for name, value in constant.items()},
    )
    with stores.lake.writer() as writer:
        writer.append("campaign.messages", rows)


def _landed(stores: Stores) -> tuple[int, int]:
    """Posts that landed, and the tellings in them."""
    with stores.ledger() as ledger:
        query = "select count(*), sum(json_array_length(convert_from(body, 'utf8')::json)) from landing"
        row = ledger.execute(query).fetchone()
    return (row[0], int(row[1])) if row else (0, 0)


def _faults(stores: Stores, happened: pl.DataFrame, landed: tuple[int, int], tellings: int) -> Iterator[str]:
    """What differs from what happened, table by table."""
    posts, told = landed
    if told < tellings:
        yield f"only {told:,} tellings landed"
    with stores.lake.reader() as cursor:
        raw = cursor.execute(
            "select count(*), count(distinct (landing_id, position)), count(distinct landing_id), "
            "(select count(*) from raw.event_rejects) from raw.provider_events"
        ).fetchone()
        events = cursor.execute(
            "select message_id, case when kind = 'blocked' then 'blocked' when kind = 'bounced' then 'bounce' "
            "when kind = 'opened' then 'open' when kind = 'clicked' then 'click' when kind = 'queued' then 'processed' "
            "when kind = 'rejected' then 'dropped' when kind = 'unsubscribed' then 'unsubscribe' "
            "when kind = 'complained' then 'spamreport' else kind end as word, "
            "epoch(occurred_at)::bigint as occurred_at, url, code from core.events where match = 'message_id'"
        ).pl()
        others = cursor.execute("select count(*) from core.events where match <> 'message_id'").fetchone()
        standing = cursor.execute(f"select {', '.join(_status_columns())} from core.message_status").pl()
    if raw != (told, told, posts, 0):
        yield f"raw.provider_events: {raw} instead of {(told, told, posts, 0)}"
    if others != (0,):
        yield f"core.events: {others} without a message"
    columns = list(HAPPENED)
    if not events.select(columns).sort(columns).equals(happened.select(columns).sort(columns)):
        yield f"core.events: {events.height:,} instead of {happened.height:,}, or others"
    expected = statuses(happened)
    if not standing.sort("message_id").equals(expected.sort("message_id")):
        yield f"core.message_status: {standing.height:,} instead of {expected.height:,}, or others"


def _status_columns() -> list[str]:
    times = [
        *("deferred_at", "delivered_at", "bounced_at", "failed_at", "first_opened_at", "first_clicked_at"),
        *("complained_at", "unsubscribed_at", "last_event_at"),
    ]
    seconds = [f"epoch({name})::bigint as {name}" for name in times]
    return ["message_id", "status", "status_rank::integer as status_rank", *seconds, "opens", "clicks"]


def _wait(is_so, seconds: float = 300) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    home = Installation(folder)
    try:
        yield home
    finally:
        home.remove()


def main() -> int:
    """Exit code 1 when a table holds anything but what happened."""
    seed = int(os.environ.get("HOSTILE_SEED") or secrets.randbelow(1_000_000))
    events, kills = (
        int(os.environ.get(f"HOSTILE_{name}") or value)
        for name, value in (("EVENTS", EVENTS), ("KILLS", KILLS))
    )
    out.print(f"HOSTILE_SEED={seed}: {events:,} events, {kills} kills")
    with tempfile.TemporaryDirectory(prefix="comms-hostile-") as folder, installed(Path(folder)) as home:
        account = tell(home, seed=seed, events=events, kills=kills)
    out.print(account.line)
    if account.faults:
        out.print(f"[red]failed[/red]; again with HOSTILE_SEED={seed} HOSTILE_EVENTS={events} make hostile")
    return int(bool(account.faults))


if __name__ == "__main__":
    sys.exit(main())

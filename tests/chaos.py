"""Kills everything a send needs, again and again, at seeded random points, and counts what became of every message.

`make chaos` runs it (`CHAOS_SEED`, `CHAOS_KILLS`); tests/acceptance/test_chaos.py runs a short part. The sandbox's own
durable record is the truth. No tests.
"""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any
from urllib.request import Request, urlopen

import chaos_sender
import orjson
import polars as pl
from command_line import CommandLine
from rich.markup import escape
from sending import EMAIL_LANE, ORGANISATION, Ledger, free_port, recipients

from comms_pipeline.cli.console import out, table
from comms_pipeline.dispatch import operations as dispatch
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import launcher, launcher_processes, sends
from comms_pipeline.ledger.launcher_site import Site
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

MESSAGES, BATCH_SIZE = 20_000, 100
SLOW = [{"provider": "sendgrid", "kind": "slow", "seconds": 0.3}]
MOST_KILLS_PER_SEND = 20
PATIENCE_SECONDS = 300
_GRACE_SECONDS = 2.0
"""The sandbox may still be busy with what a killed sender asked of it."""


class Kind(StrEnum):
    """Who sends."""

    LANE = "lane"
    """The engine, run after run (`run_lane`, `settle`)."""
    WORKER = "worker"
    """`comms worker --all`."""
    RUN = "run"
    """A Dagster run of `send_campaign`, planning included."""


class Victim(StrEnum):
    """What is killed with SIGKILL."""

    SENDER = "sender"
    POSTGRES = "postgres"
    SANDBOX = "sandbox"


_KINDS = (Kind.LANE, Kind.WORKER, Kind.RUN, Kind.LANE, Kind.WORKER)
_ATTACKS = (
    *[(Victim.SENDER,)] * 4,
    *[(Victim.POSTGRES,)] * 3,
    *[(Victim.SANDBOX,)] * 2,
    (Victim.SENDER, Victim.SANDBOX),
    (Victim.POSTGRES, Victim.SANDBOX),
)
_CAMPAIGN = {
    "organisation.yaml": "{id: gallery, name: The Gallery, postal_address: 1 Main Street}",
    "open-day.yaml": f"""
id: open-day
organisation: gallery
audience: {{everyone: true}}
channels: [email]
sender: {{from_email: office@gallery.example, from_name: The Gallery}}
templates: {{email: {{subject: "Open day, {{{{ name }}}}", html: open-day.html}}}}
batch_size: {BATCH_SIZE}
""",
    "open-day.html": "<p>Dear {{ name }}, come!</p> {{ unsubscribe_url }} {{ postal_address }}",
}


@dataclass(frozen=True, kw_only=True)
class Account:
    """What became of one send, and what it went through."""

    send_id: str
    kind: Kind
    messages: int
    lost: int
    repeated: int
    kills: Counter[Victim]
    seconds: float
    faults: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        killed = ", ".join(f"{victim} {count}" for victim, count in sorted(self.kills.items())) or "nobody"
        return (
            f"{self.send_id} ({self.kind}): {self.messages:,} messages, killed: {killed}; "
            f"{self.lost} lost, {self.repeated} repeated, {self.seconds:.0f} s"
            + "".join(f"; {fault}" for fault in self.faults)
        )


class Installation:
    """A home with an embedded Postgres and a sandbox that may be killed at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._sandbox: subprocess.Popen[bytes] | None = None
        self.comms = CommandLine(
            home=folder / "home",
            variables={"COMMS_SANDBOX_PORT": str(self._port), "COMMS_SANDBOX_DELAY_SECONDS": "3600"},
        )
        self.comms.ok("init")

    @cached_property
    def stores(self) -> Stores:
        return Stores(load_settings(self.comms.home, sandbox_port=self._port))

    @property
    def ledger(self) -> Ledger:
        return Ledger(server=self.stores.server)

    def import_contacts(self, count: int) -> None:
        """A campaign for everybody, and everybody."""
        campaign = self._folder / "gallery"
        campaign.mkdir()
        for name, text in _CAMPAIGN.items():
            (campaign / name).write_text(text, encoding="utf-8")
        visitors = self._folder / "visitors.csv"
        pl.select(number=pl.int_range(count)).select(
            email=pl.format("quiet.{}@x.example", "number"), name=pl.format("Visitor {}", "number")
        ).write_csv(visitors)
        self.comms.ok("campaigns", "apply", str(campaign))
        options = ("--organisation", "gallery", "--consent", "guest book", "--consent-kind", "express")
        self.comms.ok("import", "contacts", str(visitors), *options)

    def start_sender(self, kind: Kind, send_id: str) -> "subprocess.Popen[bytes]":
        if kind is Kind.RUN:
            return self.comms.start("send", "open-day", "--occurrence", send_id.partition("--")[2])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COMMS_")}
        command = [sys.executable, chaos_sender.__file__, str(self.comms.home), send_id, str(kind)]
        with (self._folder / "senders.log").open("ab") as log:
            return subprocess.Popen(
                command, env=kept | self.comms.variables, stdout=log, stderr=subprocess.STDOUT
            )

    def start_rest(self) -> None:
        """Postgres and sandbox run when this returns."""
        launcher.ensure_started(self.comms.home)
        if self._sandbox is None or self._sandbox.poll() is not None:
            self._sandbox = self.comms.start("serve", "sandbox")
            _wait(self._sandbox_answers)
            self.ask("POST", "faults", orjson.dumps(SLOW))

    def kill_postgres(self) -> None:
        record = Site.of(self.comms.home).read_record()
        postmaster = launcher_processes.postmaster(record.data) if record else None
        assert postmaster is not None
        postmaster.kill()
        assert launcher_processes.wait_until_gone([postmaster], PATIENCE_SECONDS)
        # The next one may listen on another port.
        self.__dict__.pop("stores", None)

    def kill_sandbox(self) -> None:
        if self._sandbox is not None:
            self._sandbox.kill()
            self._sandbox.wait()

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        request = Request(f"http://127.0.0.1:{self._port}/_sandbox/{path}", body, method=method)
        with urlopen(request, timeout=30) as answer:
            said = answer.read()
        return orjson.loads(said) if said else None

    def sandbox_record(self) -> dict[str, tuple[int, str]]:
        """How often, and under which id, the sandbox accepted each message."""
        record: dict[str, tuple[int, str]] = {}
        cursor = 0
        while cursor is not None:
            page = self.ask("GET", f"messages?limit=10000&cursor={cursor}")
            record |= {row["message"]: (row["accepted"], row["id"]) for row in page["messages"]}
            cursor = page["next"]
        return record

    def remove(self) -> None:
        self.kill_sandbox()
        launcher.remove(self.comms.home)

    def _sandbox_answers(self) -> bool:
        with suppress(OSError):
            return bool(self.ask("GET", "health"))
        return False


class Attack:
    """One send under attack until it is complete."""

    def __init__(self, home: Installation, kind: Kind, randomness: Random, messages: int) -> None:
        self._home = home
        self._kind = kind
        self._random = randomness
        self._kills: Counter[Victim] = Counter()
        self._sender: subprocess.Popen[bytes] | None = None
        occurrence = f"{kind}-{secrets.token_hex(3)}"
        self.send_id = f"open-day--{occurrence}" if kind is Kind.RUN else occurrence
        self._messages = messages

    def run(self, most_kills: int) -> Account:
        """Kill at most so often, and let the send come to its end."""
        began = time.monotonic()
        self._home.start_rest()
        if self._kind is not Kind.RUN:
            self._enqueue()
        try:
            moved_at, standing = began, self._standing()
            while not self._is_complete():
                # However slow the machine is: what moves is not stuck.
                if (now := self._standing()) != standing:
                    moved_at, standing = time.monotonic(), now
                assert time.monotonic() < moved_at + PATIENCE_SECONDS, f"{self.send_id} is stuck: {standing}"
                self._revive()
                if self._kills.total() < most_kills:
                    self._lie_in_wait()
                    if self._is_sending():
                        self._strike()
                else:
                    self._wait_for_a_while(5.0)
        finally:
            self._kill_sender()
        # The last one killed may have been the sandbox, and it is the witness.
        self._home.start_rest()
        return self._account(time.monotonic() - began)

    def _enqueue(self) -> None:
        with self._home.stores.ledger() as connection, connection.transaction():
            sends.put_organisation(connection, ORGANISATION)
            sends.apply_campaign(
                connection,
                campaign_id="spring",
                organisation_id=ORGANISATION.organisation_id,
                digest="1",
                spec={},
                templates={},
            )
        names = [f"p{number}" for number in range(self._messages)]
        payload = recipients(Channel.EMAIL, names, self.send_id)
        self._home.ledger.enqueue(self.send_id, EMAIL_LANE, payload, batch_size=BATCH_SIZE)

    def _is_complete(self) -> bool:
        if self._kind is Kind.WORKER:
            # A worker sends; closing is done by runs.
            chaos_sender.is_settled(self._home.stores, self.send_id)
        return bool(self._one("select status from send where send_id = %s") == "sent")

    def _standing(self) -> tuple[int, dict[str, int]]:
        """Kills so far and batches by status: what changes while it goes on."""
        return self._kills.total(), self._home.ledger.statuses(self.send_id)

    def _one(self, query: str) -> Any:
        return self._home.ledger.one(query, self.send_id)

    def _revive(self) -> None:
        """Restart what is dead. Retries that a dead provider put off come due, as they would in an hour."""
        self._home.start_rest()
        ledger = self._home.ledger
        if self._sender is not None and self._sender.poll() is None:
            return
        if self._kind is Kind.RUN:
            # The minutes that leases and reconciliation take in real life.
            time.sleep(_GRACE_SECONDS)
            expired = "lease_until = now() - interval '1 second' where lease_until > now()"
            ledger.do(f"update batch set {expired} and send_id = %s", self.send_id)
            ledger.do(
                "update batch set sending_at = sending_at - interval '10 minutes'"
                " where status in ('sending', 'unknown') and send_id = %s",
                self.send_id,
            )
        self._sender = self._home.start_sender(self._kind, self.send_id)

    def _let_time_pass(self) -> None:
        ledger = self._home.ledger
        ledger.do(
            "update batch set due_at = now() where status = 'planned' and due_at > now() and send_id = %s",
            self.send_id,
        )
        with ledger.connection() as connection:
            dispatch.retry_dead(connection, actor="chaos", send_id=self.send_id)

    def _lie_in_wait(self) -> None:
        """Wait for some progress, or, now and then, for no reason at all: starting and planning are hit too."""
        if self._random.random() < 0.15:
            self._wait_for_a_while(self._random.uniform(0, 6.0 if self._kind is Kind.RUN else 1.5))
            return
        eighth = max(2, self._messages // BATCH_SIZE // 8)
        wanted = self._touched() + self._random.randrange(1, eighth)
        deadline = time.monotonic() + 20
        while self._touched() < wanted and time.monotonic() < deadline and self._is_sending():
            self._let_time_pass()
            time.sleep(0.05)
        time.sleep(self._random.uniform(0, 0.3))

    def _wait_for_a_while(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._is_sending() and time.monotonic() < deadline:
            self._let_time_pass()
            time.sleep(0.1)

    def _is_sending(self) -> bool:
        """Whether there is something to kill: a worker lives on after the last message."""
        if self._sender is None or self._sender.poll() is not None:
            return False
        if self._kind is Kind.WORKER:
            return bool(self._one("select count(*) from batch where send_id = %s and status <> 'settled'"))
        return bool(self._one("select status from send where send_id = %s") != "sent")

    def _touched(self) -> int:
        return int(
            self._one(
                "select count(*) from batch where send_id = %s and status not in ('planned', 'claimed')"
            )
        )

    def _strike(self) -> None:
        victims = set(self._random.choice(_ATTACKS))
        if Victim.SANDBOX in victims and self._kind is not Kind.LANE:
            # Alone they would leave the provider in peace for half a minute: the breaker.
            victims.add(Victim.SENDER)
        for victim in sorted(victims):
            match victim:
                case Victim.SENDER:
                    self._kill_sender()
                case Victim.POSTGRES:
                    self._home.kill_postgres()
                case Victim.SANDBOX:
                    self._home.kill_sandbox()
        if Victim.POSTGRES in victims:
            launcher.ensure_started(self._home.comms.home)
            self._let_sender_notice()
        self._kills.update(victims)

    def _let_sender_notice(self) -> None:
        """Without its database a run ends by itself; a worker goes on."""
        if self._sender is not None and self._kind is not Kind.WORKER:
            try:
                self._sender.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._kill_sender()

    def _kill_sender(self) -> None:
        if self._sender is not None:
            self._sender.kill()
            self._sender.wait()

    def _account(self, seconds: float) -> Account:
        """Sandbox, ledger and lake, message by message."""
        load_outcomes(self._home.stores)
        with self._home.stores.lake.reader() as cursor:
            told = cursor.execute(
                "select message_id, arg_max(status, outcome_id) as status,"
                " arg_max(provider_message_id, outcome_id) as provider_id,"
                " count(*) filter (where status = 'accepted') as times"
                " from core.outcomes where send_id = ? group by 1",
                [self.send_id],
            ).pl()
            planned = cursor.execute(
                "select message_id from campaign.messages where send_id = ?", [self.send_id]
            ).pl()["message_id"]
        self._home.stores.lake.close()
        everybody = set(planned if self._kind is Kind.RUN else self._ids())
        record = {key: row for key, row in self._home.sandbox_record().items() if key in everybody}
        outcomes = self._home.ledger.outcomes(self.send_id)
        ledger = {
            row[0]: row[1:] for row in outcomes.select("message_id", "status", "provider_message_id").rows()
        }
        truth = {key: ("accepted", provider_id) for key, (_, provider_id) in record.items()}
        lake = {row[0]: row[1:] for row in told.select("message_id", "status", "provider_id").rows()}
        checks = {
            f"{len(everybody):,} messages instead of {self._messages:,}": len(everybody) == self._messages,
            "the ledger tells another story than the sandbox": ledger == truth,
            "the lake tells another story than the sandbox": lake == truth,
            "somebody was recorded as accepted twice": set(told["times"]) == {1},
            "a batch is not settled": self._home.ledger.statuses(self.send_id).keys() == {"settled"},
        }
        return Account(
            send_id=self.send_id,
            kind=self._kind,
            messages=len(everybody),
            lost=len(everybody - record.keys()),
            repeated=sum(times > 1 for times, _ in record.values()),
            kills=self._kills,
            seconds=seconds,
            faults=[fault for fault, is_well in checks.items() if not is_well],
        )

    def _ids(self) -> pl.Series:
        names = [f"p{number}" for number in range(self._messages)]
        return recipients(Channel.EMAIL, names, self.send_id)["message_id"]


@contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    home = Installation(folder)
    try:
        yield home
    finally:
        home.remove()


def attack(
    home: Installation,
    *,
    seed: int,
    kills: int,
    messages: int = MESSAGES,
    most_kills: int = MOST_KILLS_PER_SEND,
    kinds: tuple[Kind, ...] = _KINDS,
    on_account: Callable[[Account], None] = lambda _: None,
) -> list[Account]:
    """Send after send, in turn of each kind, until so many were killed."""
    randomness = Random(seed)
    accounts: list[Account] = []
    while (left := kills - sum(account.kills.total() for account in accounts)) > 0:
        kind = kinds[len(accounts) % len(kinds)]
        # A run takes seconds to start: fewer of them are killed.
        share = most_kills // 2 if kind is Kind.RUN else most_kills
        account = Attack(home, kind, randomness, messages).run(min(left, share))
        accounts.append(account)
        on_account(account)
    return accounts


def failures(accounts: list[Account]) -> list[Account]:
    return [account for account in accounts if account.lost or account.repeated or account.faults]


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def main() -> int:
    """Exit code 1 when a single message was lost, repeated or told of wrongly."""
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))
    kills = int(os.environ.get("CHAOS_KILLS") or 300)
    out.print(f"CHAOS_SEED={seed}: {kills} kills")
    accounts: list[Account] = []

    def tell(account: Account) -> None:
        accounts.append(account)
        out.print(escape(account.line))

    with tempfile.TemporaryDirectory(prefix="comms-chaos-") as folder, installed(Path(folder)) as home:
        home.import_contacts(MESSAGES)
        attack(home, seed=seed, kills=kills, on_account=tell)
    table(
        None,
        ["who sends", "sends", "messages", *(f"{victim} killed" for victim in Victim), "lost", "repeated"],
        [
            (
                kind,
                len(those := [account for account in accounts if account.kind is kind]),
                sum(account.messages for account in those),
                *(sum(account.kills[victim] for account in those) for victim in Victim),
                sum(account.lost for account in those),
                sum(account.repeated for account in those),
            )
            for kind in Kind
        ],
    )
    if failures(accounts):
        out.print(f"[red]failed[/red]; again with CHAOS_SEED={seed} CHAOS_KILLS={kills} make chaos")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

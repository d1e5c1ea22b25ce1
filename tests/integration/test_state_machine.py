"""Two workers, a provider and people do anything in any order, on a real Postgres: the state machine holds."""

import asyncio
import itertools
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sending import EMAIL_LANE, Ledger, recipients

from comms_pipeline.dispatch import operations as dispatch
from comms_pipeline.dispatch.leases import expire
from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.dispatch.policy import judge
from comms_pipeline.dispatch.reconcile import reconcile
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.ledger import batches, operations, sends
from comms_pipeline.ledger.batches import Child, Claim
from comms_pipeline.providers.base import RESULTS, Envelope, Found, SendReport

SEND, MESSAGES, BATCH_SIZE = "spring-1", 24, 2
WORKERS = ("one", "two")
FATES = ("accepted", "refused", "deferred", "unheard", "lost")
"""What a call does to a message: the last two give no answer, and only the first of them was accepted."""
HEARD = {"unheard": "unknown", "lost": "unknown"}
EVENTS = (
    *["claim and mark"] * 3,
    "claim",
    "mark",
    *["call"] * 4,
    *["record"] * 3,
    "die",
    *["leases run out"] * 2,
    *["ask the provider"] * 2,
    *["time passes"] * 2,
    *["people order"] * 2,
)
ORDERS = ("pause", *["resume"] * 4, "stop", *["start"] * 4, "complete", *["retry"] * 2, "cancel")
FINAL = {"accepted", "refused", "cancelled"}

BATCH_STATUSES = ("planned", "claimed", "sending", "settled", "unknown", "dead", "cancelled")
SEND_STATUSES = ("scheduled", "sending", "paused", "sent", "failed", "cancelled")


@dataclass
class Held:
    """A batch in a worker's hands."""

    claim: Claim
    report: SendReport | None = None
    is_over: bool = False
    """Its lease ran out by the worker's own clock."""


@dataclass
class Hands:
    """What one worker believes it has."""

    claimed: list[Claim] = field(default_factory=list)
    sending: list[Held] = field(default_factory=list)


@dataclass
class Oracle:
    """A provider that remembers whom it accepted, and tells when it is asked; as registry and as provider."""

    accepted: Counter[str] = field(default_factory=Counter)
    is_conclusive: bool = True

    def for_lane(self, lane: str) -> "Oracle":
        return self

    async def __aenter__(self) -> "Oracle":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> Found | None:
        ids = envelope.recipients["message_id"]
        return Found(accepted={key: "p" for key in ids if self.accepted[key]}) if self.is_conclusive else None


class Sending(RuleBasedStateMachine):
    """The model is the provider's memory and what each worker believes; the rest is the ledger's own word."""

    def __init__(self, ledger: Ledger, connection: psycopg.Connection[Any]) -> None:
        super().__init__()
        self.ledger, self.connection = ledger, connection
        self.oracle = Oracle()
        self.answers = 0
        self.hands = {worker: Hands() for worker in WORKERS}
        ledger.reset()
        payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(MESSAGES)], SEND)
        self.ids = payload["message_id"].to_list()
        ledger.open_send(SEND)
        with connection.transaction():
            assert batches.claim_generation(connection, send_id=SEND, generation=1, message_count=MESSAGES)
        ledger.enqueue(SEND, EMAIL_LANE, payload, batch_size=BATCH_SIZE)
        # Two faults away from a dead letter.
        ledger.do("update batch set attempt = 3")

    @rule(event=st.sampled_from(EVENTS), worker=st.sampled_from(WORKERS), data=st.data())
    def anything(self, event: str, worker: str, data: st.DataObject) -> None:
        """One rule, not one for each event: Hypothesis leaves out rules at random, and all of them are needed."""
        match event:
            case "claim":
                self.claim(worker, data.draw(st.integers(1, 3)))
            case "mark":
                self.mark(worker)
            case "claim and mark":
                self.claim(worker, data.draw(st.integers(1, 3)))
                self.mark(worker)
            case "call":
                self.call(worker, data)
            case "record":
                self.record(worker)
            case "die":
                self.hands[worker] = Hands()
            case "leases run out":
                self.leases_run_out(data)
            case "ask the provider":
                self.ask_the_provider(is_conclusive=data.draw(st.booleans()))
            case "time passes":
                self.time_passes()
            case "people order":
                self.people_order(data.draw(st.sampled_from(ORDERS)))

    def claim(self, worker: str, limit: int) -> None:
        with self.connection.transaction():
            new = batches.claim_due(
                self.connection, lane=EMAIL_LANE, worker=worker, limit=limit, lease_seconds=60
            )
        # Whoever gets a batch anew knows that its older claim of it is void.
        ids = {claim.batch_id for claim in new}
        kept = [claim for claim in self.hands[worker].claimed if claim.batch_id not in ids]
        self.hands[worker].claimed = kept + new

    def mark(self, worker: str) -> None:
        hands = self.hands[worker]
        with self.connection.transaction():
            marked = batches.mark_sending(self.connection, hands.claimed, lease_seconds=60)
            left = [claim for claim in hands.claimed if claim.batch_id not in marked]
            batches.release_claims(self.connection, left)
        hands.sending += [Held(claim) for claim in hands.claimed if claim.batch_id in marked]
        hands.claimed = []

    def call(self, worker: str, data: st.DataObject) -> None:
        for held in self.callable():
            if held in self.hands[worker].sending:
                ids = unpack(held.claim.payload)["message_id"].to_list()
                fates = data.draw(st.lists(st.sampled_from(FATES), min_size=len(ids), max_size=len(ids)))
                self.answer(held, dict(zip(ids, fates, strict=True)))

    def answer(self, held: Held, fates: dict[str, str]) -> None:
        self.oracle.accepted.update(key for key, fate in fates.items() if fate in ("accepted", "unheard"))
        statuses = [HEARD.get(fate, fate) for fate in fates.values()]
        results = pl.DataFrame({"message_id": list(fates), "status": statuses}).with_columns(
            reason=pl.when(status="refused").then(pl.lit(str(RejectReason.INVALID))),
            code=pl.lit(None, pl.String),
            provider_message_id=pl.when(status="accepted").then(pl.lit("p")),
        )
        self.answers += 1
        held.report = SendReport(results=results.match_to_schema(RESULTS), error="as drawn")

    def callable(self) -> list[Held]:
        """Marked, and within the lease by the worker's own clock."""
        held = [each for hands in self.hands.values() for each in hands.sending]
        return [each for each in held if each.report is None and not each.is_over]

    def record(self, worker: str) -> None:
        hands = self.hands[worker]
        answered = [held for held in hands.sending if held.report is not None]
        hands.sending = [held for held in hands.sending if held.report is None]
        for held in answered:
            with self.connection.transaction():
                self.write(held.claim, held.report)  # type: ignore[arg-type]

    def write(self, claim: Claim, report: SendReport) -> None:
        """As the engine's recorder does it; a holder whose lease ran out is refused."""
        verdict = judge(unpack(claim.payload), report, attempt=claim.attempt, randomness=random.Random(0))
        children = [
            Child(
                payload=pack(rows),
                message_count=rows.height,
                delay_seconds=0.0 if is_dead else verdict.delay_seconds,
                attempt=verdict.attempt,
                is_dead=is_dead,
            )
            for rows, is_dead in ((verdict.again, False), (verdict.dead, True))
            if rows.height
        ]
        doubt = (pack(verdict.in_doubt), verdict.in_doubt.height) if verdict.in_doubt.height else None
        held = "select fence = %s and status = 'sending' from batch where batch_id = %s"
        (is_holder,) = self.connection.execute(held, (claim.fence, claim.batch_id)).fetchone() or (False,)
        is_ours = batches.record(
            self.connection,
            claim,
            results=pack(verdict.results),
            error=report.error,
            in_doubt=doubt,
            children=children,
        )
        assert is_ours == is_holder

    def leases_run_out(self, data: st.DataObject) -> None:
        leased = "select batch_id from batch where status in ('claimed', 'sending') order by 1"
        held = [row[0] for row in self.connection.execute(leased)]
        over = data.draw(st.lists(st.sampled_from(held), min_size=1, unique=True)) if held else []
        self.ledger.do("update batch set lease_until = now() - interval '1 s' where batch_id = any(%s)", over)
        for each in (each for hands in self.hands.values() for each in hands.sending):
            each.is_over |= each.claim.batch_id in over
        assert expire(self.connection) == len(over)

    def ask_the_provider(self, *, is_conclusive: bool) -> None:
        self.oracle.is_conclusive = is_conclusive
        asyncio.run(
            reconcile(
                self.ledger.connect,
                self.oracle,  # type: ignore[arg-type]
                older_than_seconds=0,
                now=datetime.now(UTC),
            )
        )

    def time_passes(self) -> None:
        self.ledger.do("update batch set due_at = now() where status = 'planned'")

    def people_order(self, order: str) -> None:
        with self.connection.transaction():
            match order:
                case "pause":
                    operations.pause_send(self.connection, SEND, actor="test", reason="")
                case "resume":
                    operations.resume_send(self.connection, SEND, actor="test")
                case "stop":
                    operations.put_stop(self.connection, "channel:email", actor="test", reason="")
                case "start":
                    operations.lift_stop(self.connection, "channel:email", actor="test")
                case "complete":
                    sends.complete_send(self.connection, SEND)
                case "retry":
                    dispatch.retry_dead(self.connection, actor="test")
                case "cancel" if self.answers > 6:
                    dispatch.cancel(self.connection, SEND, actor="test", reason="")

    @invariant()
    def every_message_is_in_exactly_one_place(self) -> None:
        waiting: dict[str, str] = {}
        rows = self.connection.execute("select status, payload from batch where payload is not null")
        for status, payload in rows:
            for key in unpack(payload)["message_id"]:
                assert key not in waiting, "in two batches"
                waiting[key] = status
        feed = self.connection.execute("select results from outcome order by outcome_id").fetchall()
        told: dict[str, tuple[str, str | None]] = {}
        for (results,) in feed:
            told |= {row[0]: row[1:3] for row in unpack(results).rows()}
        for key in self.ids:
            status, reason = told.get(key, (None, None))
            match waiting.get(key):
                case None:
                    assert status in FINAL
                case "dead":
                    assert (status, reason) == ("refused", "exhausted")
                case _:
                    assert status not in FINAL
            if key not in waiting:
                assert (status == "accepted") == (self.oracle.accepted[key] == 1)

    @invariant()
    def nobody_gets_a_message_twice(self) -> None:
        assert set(self.oracle.accepted.values()) <= {1}

    def teardown(self) -> None:
        """People and workers tidy up: whatever happened before, everything ends."""
        self.hands = {worker: Hands() for worker in WORKERS}
        self.people_order("start")
        self.people_order("resume")
        for _ in range(10):
            self.ledger.do("update batch set lease_until = now() - interval '1 s' where lease_until > now()")
            expire(self.connection)
            self.ask_the_provider(is_conclusive=True)
            self.people_order("retry")
            self.time_passes()
            self.claim("one", 3)
            self.mark("one")
            for held in self.callable():
                ids = unpack(held.claim.payload)["message_id"]
                self.answer(held, dict.fromkeys(ids, "accepted"))
            self.record("one")
        self.people_order("complete")
        self.every_message_is_in_exactly_one_place()
        self.nobody_gets_a_message_twice()
        assert self.ledger.one("select count(*) from batch where payload is not null") == 0
        assert self.ledger.one("select status from send") in ("sent", "cancelled")


def test_no_order_of_events_loses_or_repeats_a_message(ledger: Ledger) -> None:
    with ledger.connection() as connection:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            lambda: Sending(ledger, connection),
            settings=settings(max_examples=15, stateful_step_count=40),
        )
        assert connection.execute("select count(*) from outcome").fetchone() != (0,)


def legal(ledger: Ledger, entity: str) -> set[tuple[str, str]]:
    with ledger.connection() as connection:
        rows = connection.execute(
            "select from_status, to_status from transition where entity = %s and from_status <> ''", (entity,)
        )
        return set(rows.fetchall())


@pytest.mark.parametrize(
    ("entity", "statuses"), [("batch", BATCH_STATUSES), ("send", SEND_STATUSES)], ids=["batch", "send"]
)
def test_the_database_takes_every_step_of_the_table_and_no_other(
    ledger: Ledger, entity: str, statuses: tuple[str, ...]
) -> None:
    ledger.enqueue(SEND, EMAIL_LANE, recipients(Channel.EMAIL, ["ann"], SEND))
    taken = set()
    with ledger.connection() as connection:
        for before, after in itertools.permutations(statuses, 2):
            ledger.do(f"update {entity} set status = %s", before)
            try:
                connection.execute(f"update {entity} set status = %s".encode(), (after,))
                taken.add((before, after))
            except psycopg.errors.CheckViolation as error:
                assert f"a {entity} cannot go from '{before}' to '{after}'" in str(error)  # noqa: PT017
    assert taken == legal(ledger, entity)


@pytest.mark.parametrize("entity", ["batch", "send"])
def test_the_page_shows_the_table(ledger: Ledger, entity: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "dispatch.md").read_text(encoding="utf-8")
    section = page.partition(f"**{entity.title()}**")[2].partition("**")[0].partition("A message")[0]
    shown = re.findall(r"^\| (?:`(\w+)`)? ?\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    with ledger.connection() as connection:
        rows = connection.execute(
            "select from_status, to_status, meaning from transition where entity = %s", (entity,)
        ).fetchall()
    assert sorted(shown) == sorted(rows)


@pytest.mark.parametrize("status", ["claimed", "sending", "settled", "unknown", "cancelled"])
def test_a_batch_begins_as_planned_or_dead(ledger: Ledger, status: str) -> None:
    ledger.enqueue(SEND, EMAIL_LANE, recipients(Channel.EMAIL, ["ann"], SEND))
    copied = (
        "insert into batch (send_id, organisation_id, generation, lane, channel, content_id, message_count,"
        " payload, due_at, status) select send_id, organisation_id, generation, lane, channel, content_id,"
        " message_count, payload, due_at, %s from batch"
    )
    with ledger.connection() as connection:
        with pytest.raises(psycopg.errors.CheckViolation, match=f"from '' to '{status}'"):
            connection.execute(copied.encode(), (status,))
        for allowed in ("planned", "dead"):
            connection.execute(copied.encode() + b" limit 1", (allowed,))
    assert ledger.statuses(SEND) == {"planned": 2, "dead": 1}


def test_what_is_cancelled_is_told_as_cancelled(ledger: Ledger) -> None:
    payload = recipients(Channel.EMAIL, ["ann", "bob"], SEND)
    ledger.enqueue(SEND, EMAIL_LANE, payload, batch_size=1)
    with ledger.connection() as connection:
        assert dispatch.cancel(connection, SEND, actor="test", reason="wrong list") == 2
        assert dispatch.cancel(connection, SEND, actor="test", reason="again") is None
    assert set(ledger.outcomes(SEND)["status"]) == {str(OutcomeStatus.CANCELLED)}

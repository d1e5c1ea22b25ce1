"""A provider that is down: its lane stops knocking, and another of the channel stands in for what was not sent."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from sending import EMAIL_LANE, Ledger, SandboxProcess, free_port, new_send_id, recipients

from comms_pipeline.dispatch.breaker import Breaker
from comms_pipeline.dispatch.engine import Lane, LaneReport, Scope
from comms_pipeline.dispatch.send import run_lane, settle
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.domain.rate import Rate
from comms_pipeline.providers.base import Envelope, Limits, Provider, SendReport, same_result
from comms_pipeline.providers.sendgrid_send import SendGrid

SECOND_LANE = "email:second"


def enqueue(ledger: Ledger, send_id: str, count: int) -> pl.DataFrame:
    payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(count)], send_id)
    ledger.enqueue(send_id, EMAIL_LANE, payload, batch_size=5)
    return payload


def assert_all_accepted_once(
    ledger: Ledger, sandbox: SandboxProcess, send_id: str, payload: pl.DataFrame
) -> None:
    recorded = sandbox.accepted(payload["message_id"])
    assert set(recorded) == set(payload["message_id"])
    assert {accepted.times for accepted in recorded.values()} == {1}
    assert set(ledger.outcomes(send_id)["status"]) == {"accepted"}


@dataclass(frozen=True)
class TwoAccounts:
    """A registry of two SendGrid accounts: the first may be down, the second stands in for it."""

    first_url: str
    second_url: str

    def for_lane(self, lane: str) -> Provider:
        url = self.first_url if lane == EMAIL_LANE else self.second_url
        return SendGrid(api_key="SG.sandbox", base_url=url, timeout_seconds=10.0)

    def rate(self, lane: str) -> Rate | None:
        return None

    def stand_in(self, lane: str) -> str | None:
        return SECOND_LANE if lane == EMAIL_LANE else None


def url_of(sandbox: SandboxProcess) -> str:
    return f"http://127.0.0.1:{sandbox.port}"


def run_two(ledger: Ledger, accounts: TwoAccounts, send_id: str) -> LaneReport:
    return run_lane(
        ledger.connect,
        accounts,  # type: ignore[arg-type]
        lane=EMAIL_LANE,
        send_id=send_id,
        linger_seconds=0.0,
    )


def test_when_a_provider_is_down_the_next_of_its_channel_stands_in(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 200)
    nobody = f"http://127.0.0.1:{free_port()}"
    report = run_two(ledger, TwoAccounts(nobody, url_of(sandbox)), send_id)
    assert (report.lane, report.handed_over_to) == (SECOND_LANE, None)
    # What met a fault before the breaker opened waits for its second attempt.
    ledger.do("update batch set due_at = now() where status = 'planned'")
    run_two(ledger, TwoAccounts(url_of(sandbox), url_of(sandbox)), send_id)
    assert_all_accepted_once(ledger, sandbox, send_id, payload)
    assert ledger.one("select count(*) from batch where lane = %s", SECOND_LANE) >= 200 / 5 - 8


def test_a_provider_that_is_well_needs_no_stand_in(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 50)
    nobody = f"http://127.0.0.1:{free_port()}"
    assert run_two(ledger, TwoAccounts(url_of(sandbox), nobody), send_id).lane == EMAIL_LANE
    assert_all_accepted_once(ledger, sandbox, send_id, payload)


def test_a_lane_without_stand_in_waits_for_its_provider(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    enqueue(ledger, send_id, 400)
    nobody = f"http://127.0.0.1:{free_port()}"
    report = run_two(ledger, TwoAccounts(nobody, nobody), send_id)
    assert (report.lane, report.last_error is not None) == (SECOND_LANE, True)
    # Each of the two tried what it had in hand when its breaker opened, and no more.
    untried = ledger.one("select count(*) from batch where status = 'planned' and attempt = 0")
    assert untried >= 400 / 5 - 2 * 2 * 8


def test_the_stand_in_is_not_given_what_the_first_may_have_taken(
    ledger: Ledger, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 200)
    second = SandboxProcess(tmp_path)
    try:
        sandbox.break_things({"provider": "sendgrid", "kind": "reset_after_accept"})
        run_two(ledger, TwoAccounts(url_of(sandbox), url_of(second)), send_id)
        sandbox.mend()
        settlement = settle(
            ledger.connect,
            sandbox.providers(),
            send_id=send_id,
            now=datetime.now(UTC),
            reconcile_after_seconds=0,
        )
        assert settlement.is_complete
        by_first, by_second = (each.accepted(payload["message_id"]) for each in (sandbox, second))
    finally:
        second.stop()
    assert not by_first.keys() & by_second.keys()
    assert by_first.keys() | by_second.keys() == set(payload["message_id"])
    assert 5 * 5 <= len(by_first) < 200
    assert set(ledger.outcomes(send_id)["status"]) == {"accepted"}


@dataclass
class Recovering:
    """A provider that is down for its first ten requests; how many were under way when it was tried again."""

    breaker: Breaker
    tried_again: list[int] = field(default_factory=list)
    requests: int = 0
    under_way: int = 0
    name, channel, limits = "recovering", Channel.EMAIL, Limits(batch_size=1000, concurrency=4)

    async def __aenter__(self) -> "Recovering":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> None:
        return None

    async def send(self, envelope: Envelope) -> SendReport:
        self.requests += 1
        self.under_way += 1
        is_down = self.requests <= 10
        if self.breaker.is_open and self.breaker.rest_seconds == 0:
            self.tried_again.append(self.under_way)
        await asyncio.sleep(0.05)
        self.under_way -= 1
        status = OutcomeStatus.DEFERRED if is_down else OutcomeStatus.ACCEPTED
        return SendReport(results=same_result(envelope.recipients, status), error="down" if is_down else None)


def test_a_provider_that_has_rested_is_tried_with_one_batch(ledger: Ledger) -> None:
    send_id = new_send_id()
    enqueue(ledger, send_id, 200)
    breaker = Breaker(faults=3, rest_seconds=0.2)
    provider = Recovering(breaker)
    lane = Lane(
        lane=EMAIL_LANE,
        provider=provider,
        connect=ledger.connect,
        worker="w",
        scope=Scope(send_id=send_id, linger_seconds=30.0),
        breaker=breaker,
    )
    report = asyncio.run(lane.run())
    assert set(provider.tried_again) == {1}
    # Ten met the fault; what was in hand meanwhile was spared, and sent later.
    assert report.counts["deferred"] >= 5 * 10
    assert report.counts["accepted"] == 5 * 30

"""What is already in hand when a provider turns out to be down: not called any more, and not lost."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import polars as pl
import pytest
from sending import EMAIL_LANE, Ledger, new_send_id, recipients

from comms_pipeline.dispatch.breaker import Breaker
from comms_pipeline.dispatch.engine import Lane, LaneReport, Scope
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.ledger import alerts
from comms_pipeline.ledger.alerts import Trouble
from comms_pipeline.providers.base import RESULTS, Envelope, Found, Limits, SendReport, same_result

SECOND_LANE = "email:second"
WIDTH, BATCH = 4, 5


@dataclass
class Failing:
    """A provider that answers each batch with `error`, or accepts it when there is none, one request a message."""

    error: str | None = "it answered 503"
    stop: ProviderMisconfigured | None = None
    is_patient: bool = False
    name: str = "failing"
    channel: Channel = Channel.EMAIL
    limits: Limits = field(default_factory=lambda: Limits(batch_size=BATCH, concurrency=WIDTH))
    called: list[int] = field(default_factory=list)
    requests: int = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def send(self, envelope: Envelope) -> SendReport:
        self.called.append(envelope.batch_id)
        # All that may go at once have begun before the first of them is answered.
        await asyncio.sleep(0.2)
        accepted, deferred = envelope.recipients, envelope.recipients.clear()
        wait = 0.0
        if self.is_patient and len(self.called) > 1 and envelope.batch_id == self.called[0]:
            # Longer than the others need to fail.
            await asyncio.sleep(0.5)
            wait = await envelope.pace()
            deferred = envelope.recipients if wait else deferred
            self.requests += not wait
            return SendReport(
                results=same_result(deferred, OutcomeStatus.DEFERRED) if wait else RESULTS.to_frame(),
                retry_after_seconds=wait or None,
            )
        status = OutcomeStatus.DEFERRED if self.error or self.stop else OutcomeStatus.ACCEPTED
        return SendReport(results=same_result(accepted, status), error=self.error, stop=self.stop)

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> Found | None:
        return None


def enqueue(ledger: Ledger, batches: int) -> tuple[str, pl.DataFrame]:
    send_id = new_send_id()
    payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(batches * BATCH)], send_id)
    ledger.enqueue(send_id, EMAIL_LANE, payload, batch_size=BATCH)
    return send_id, payload


def run(ledger: Ledger, send_id: str, provider: Failing, stand_in: str | None = None) -> LaneReport:
    lane = Lane(
        lane=EMAIL_LANE,
        provider=provider,
        connect=ledger.connect,
        worker="w",
        scope=Scope(send_id=send_id),
        stand_in=stand_in,
        breaker=Breaker(faults=3, rest_seconds=30.0),
    )
    return asyncio.run(lane.run())


@pytest.fixture(autouse=True)
def _no_trouble(ledger: Ledger) -> None:
    ledger.do("delete from lane_trouble")


def in_trouble(ledger: Ledger, kind: Trouble) -> list[tuple[str, str]]:
    with ledger.connection() as connection:
        return [(each.subject, each.detail) for each in alerts.lanes_in_trouble(connection, kind)]


def test_batches_in_hand_when_the_provider_goes_down_are_not_called(ledger: Ledger) -> None:
    send_id, payload = enqueue(ledger, 2 * WIDTH)
    provider = Failing()
    report = run(ledger, send_id, provider)
    assert len(provider.called) == WIDTH
    assert report.counts == {"deferred": payload.height}
    rested = "attempt = 0 and due_at between now() + interval '25 seconds' and now() + interval '34 seconds'"
    assert ledger.one(f"select count(*) from batch where status = 'planned' and {rested}") == WIDTH
    assert ledger.one("select count(*) from batch where status = 'planned' and attempt = 1") == WIDTH
    assert set(ledger.outcomes(send_id)["message_id"]) == set(payload["message_id"])


def test_batches_in_hand_go_to_the_stand_in_at_once(ledger: Ledger) -> None:
    send_id, _ = enqueue(ledger, 2 * WIDTH)
    provider = Failing()
    assert run(ledger, send_id, provider, stand_in=SECOND_LANE).handed_over_to == SECOND_LANE
    assert len(provider.called) == WIDTH
    handed = "status = 'planned' and attempt = 0 and due_at <= now() and lane = %s"
    assert ledger.one(f"select count(*) from batch where {handed}", SECOND_LANE) == WIDTH


def test_the_rest_of_a_batch_under_way_is_not_called(ledger: Ledger) -> None:
    send_id, _ = enqueue(ledger, WIDTH)
    provider = Failing(is_patient=True)
    run(ledger, send_id, provider)
    assert (len(provider.called), provider.requests) == (WIDTH, 0)
    first = "parent_batch_id = %s and status = 'planned' and attempt = 0"
    assert ledger.one(f"select count(*) from batch where {first}", provider.called[0]) == 1


def test_what_was_never_called_says_nothing_of_the_provider(ledger: Ledger) -> None:
    """A batch that was spared is no success: it neither closes a breaker nor clears what is known of the lane."""
    send_id, _ = enqueue(ledger, 3 * WIDTH)
    run(ledger, send_id, Failing())
    assert in_trouble(ledger, Trouble.DOWN) == [(EMAIL_LANE, "it answered 503")]


def test_people_can_see_that_a_lane_is_down_until_it_sends_again(ledger: Ledger) -> None:
    send_id, _ = enqueue(ledger, WIDTH)
    run(ledger, send_id, Failing())
    since = ledger.one("select since from lane_trouble")
    ledger.do("update batch set due_at = now()")
    run(ledger, send_id, Failing())
    assert ledger.one("select since from lane_trouble") == since
    assert ledger.one("select seen_at > since from lane_trouble")
    ledger.do("update batch set due_at = now()")
    run(ledger, send_id, Failing(error=None))
    assert in_trouble(ledger, Trouble.DOWN) == []
    assert set(ledger.outcomes(send_id)["status"]) == {"accepted"}


def test_people_can_see_that_a_lane_is_misconfigured(ledger: Ledger) -> None:
    send_id, payload = enqueue(ledger, 2 * WIDTH)
    provider = Failing(error="401", stop=ProviderMisconfigured("Failing", "it refused the key", "Check it"))
    report = run(ledger, send_id, provider)
    assert report.counts == {"deferred": payload.height}
    assert len(provider.called) == WIDTH
    [(lane, problem)] = in_trouble(ledger, Trouble.MISCONFIGURED)
    assert (lane, problem.startswith("Failing: it refused the key")) == (EMAIL_LANE, True)
    assert datetime.now(UTC) > ledger.one("select since from lane_trouble")

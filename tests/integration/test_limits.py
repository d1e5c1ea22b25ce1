"""Quotas and rates hold for all workers together, because Postgres counts."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl
import psycopg
import pytest
from sending import EMAIL_LANE, ORGANISATION, SMS_LANE, Ledger, SandboxProcess, new_send_id, recipients

from comms_pipeline.dispatch.engine import LaneReport
from comms_pipeline.dispatch.pacing import Pacer
from comms_pipeline.dispatch.send import run_lane
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.rate import Rate
from comms_pipeline.ledger import limits
from comms_pipeline.providers.registry import Providers

OUR_ORGANISATION = f"organisation:{ORGANISATION.organisation_id}"
OUR_LANE = f"lane:{EMAIL_LANE}"
# So slow that not one token comes during a test.
FIFTY = Rate(per_second=0.0001, burst=50)


def enqueue(ledger: Ledger, send_id: str, count: int, batch_size: int = 10) -> pl.DataFrame:
    payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(count)], send_id)
    ledger.enqueue(send_id, EMAIL_LANE, payload, batch_size=batch_size)
    return payload


def run(
    ledger: Ledger, sandbox: SandboxProcess, send_id: str, lane: str = EMAIL_LANE, rate: Rate | None = None
) -> LaneReport:
    settings = sandbox.settings(rates={lane: rate} if rate else {})
    return run_lane(ledger.connect, Providers(settings), lane=lane, send_id=send_id, linger_seconds=0.0)


def put_quota(
    ledger: Ledger, allowed: int | None, scope: str = OUR_ORGANISATION, period: str = "hour"
) -> None:
    with ledger.connection() as connection:
        limits.put_quota(connection, scope, period, allowed)


def used(ledger: Ledger) -> dict[tuple[str, str], int]:
    with ledger.connection() as connection:
        return {(quota.scope, quota.period): quota.used for quota in limits.quotas(connection)}


def begin_next_period(ledger: Ledger, period: str) -> None:
    """What was counted becomes the last period's; what waits for the next is due."""
    ledger.do("update quota_use set starts_at = starts_at - ('1 ' || %s)::interval", period)
    ledger.do("update batch set due_at = now() where status = 'planned'")


@pytest.mark.parametrize("period", ["hour", "day"])
@pytest.mark.parametrize("scope", [OUR_ORGANISATION, OUR_LANE])
def test_beyond_a_quota_messages_wait_for_its_next_period(
    ledger: Ledger, sandbox: SandboxProcess, scope: str, period: str
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 60)
    put_quota(ledger, 40, scope, period)
    assert run(ledger, sandbox, send_id).counts == {"accepted": 40}
    assert used(ledger) == {(scope, period): 40}
    waits = "status = 'planned' and attempt = 0 and due_at > now() and due_at = date_trunc(%s, due_at, 'UTC')"
    assert ledger.one(f"select count(*) from batch where {waits}", period) == 2
    assert run(ledger, sandbox, send_id).counts == {}
    begin_next_period(ledger, period)
    assert run(ledger, sandbox, send_id).counts == {"accepted": 20}
    assert {each.times for each in sandbox.accepted(payload["message_id"]).values()} == {1}
    assert len(sandbox.accepted(payload["message_id"])) == 60


def test_the_tighter_of_two_quotas_holds_and_the_wait_is_for_the_later(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    enqueue(ledger, send_id, 60)
    put_quota(ledger, 30, OUR_ORGANISATION, "day")
    put_quota(ledger, 30, OUR_LANE, "hour")
    put_quota(ledger, 10, f"lane:{SMS_LANE}", "hour")
    assert run(ledger, sandbox, send_id).counts == {"accepted": 30}
    due = "select count(distinct due_at) from batch where status = 'planned' and due_at = date_trunc('day', due_at)"
    assert ledger.one(due) == 1
    assert used(ledger) == {
        (OUR_LANE, "hour"): 30,
        (OUR_ORGANISATION, "day"): 30,
        (f"lane:{SMS_LANE}", "hour"): 0,
    }


def test_a_batch_larger_than_its_quota_goes_in_a_fresh_period(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    enqueue(ledger, send_id, 60, batch_size=30)
    put_quota(ledger, 20)
    assert run(ledger, sandbox, send_id).counts == {"accepted": 30}
    assert run(ledger, sandbox, send_id).counts == {}
    begin_next_period(ledger, "hour")
    assert run(ledger, sandbox, send_id).counts == {"accepted": 30}


def test_a_quota_of_nothing_lets_nothing_pass_until_it_is_lifted(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    enqueue(ledger, send_id, 10)
    put_quota(ledger, 0)
    for _ in range(2):
        assert run(ledger, sandbox, send_id).counts == {}
        begin_next_period(ledger, "hour")
    put_quota(ledger, None)
    assert run(ledger, sandbox, send_id).counts == {"accepted": 10}


def test_the_use_of_periods_long_past_is_forgotten(ledger: Ledger) -> None:
    put_quota(ledger, 10)
    with ledger.connection() as connection:
        [period] = limits.open_periods(connection, [OUR_ORGANISATION])
        limits.use_quota(connection, [(period, 4)])
    ledger.do(
        "insert into quota_use (scope, period, starts_at, used)"
        " values (%s, 'hour', now() - interval '41 days', 7), (%s, 'hour', now() - interval '39 days', 8)",
        OUR_ORGANISATION,
        OUR_ORGANISATION,
    )

    with ledger.connection() as connection:
        assert limits.purge(connection) == 1
        assert [quota.used for quota in limits.quotas(connection)] == [4]
    assert ledger.one("select count(*) from quota_use where used = 8") == 1


def test_workers_together_never_exceed_a_quota(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 300, batch_size=3)
    put_quota(ledger, 100)
    with ThreadPoolExecutor(3) as workers:
        reports = [workers.submit(run, ledger, sandbox, send_id) for _ in range(3)]
        counts = [report.result().counts.get("accepted", 0) for report in reports]
    assert sum(counts) == 99
    assert len(sandbox.accepted(payload["message_id"])) == 99
    assert used(ledger) == {(OUR_ORGANISATION, "hour"): 99}


def take_all(ledger: Ledger, rate: Rate, lot: int) -> int:
    """Ask until there is nothing left."""
    taken = 0
    with ledger.connection() as connection:
        while grant := limits.take_tokens(connection, "b", rate, lot).granted:
            taken += grant
    return taken


def test_a_bucket_grants_no_more_than_it_holds_however_many_ask(ledger: Ledger) -> None:
    with ledger.connection() as connection:
        limits.open_bucket(connection, "b", FIFTY)
        limits.open_bucket(connection, "b", Rate(per_second=1, burst=1000))
    with ThreadPoolExecutor(4) as askers:
        taken = [
            asker.result() for asker in [askers.submit(take_all, ledger, FIFTY, lot=3) for _ in range(4)]
        ]
    assert sum(taken) == 50
    with ledger.connection() as connection:
        grant = limits.take_tokens(connection, "b", FIFTY, 1)
        assert (grant.granted, grant.wait_seconds > 9000) == (0, True)


def test_a_bucket_refills_by_its_rate_and_never_beyond_its_burst(ledger: Ledger) -> None:
    rate = Rate(per_second=10, burst=50)
    with ledger.connection() as connection:
        limits.open_bucket(connection, "b", rate)
        assert limits.take_tokens(connection, "b", rate, 50).granted == 50
        ledger.do("update rate_bucket set updated_at = updated_at - interval '2 s'")
        assert 20 <= limits.take_tokens(connection, "b", rate, 1000).granted < 50
        ledger.do("update rate_bucket set updated_at = updated_at - interval '1 day'")
        assert limits.take_tokens(connection, "b", rate, 1000).granted == 50
        limits.give_back(connection, "b", rate, 1000)
        assert limits.take_tokens(connection, "b", rate, 1000).granted == 50


def test_a_bucket_nobody_opened_grants_nothing(ledger: Ledger) -> None:
    with ledger.connection() as connection:
        assert limits.take_tokens(connection, "b", FIFTY, 1).granted == 0


def state(connection: psycopg.Connection) -> tuple[bool, float]:
    row = connection.execute("select blocked_until > now(), share from rate_bucket").fetchone()
    assert row
    return bool(row[0]), round(row[1], 3)


def test_too_many_requests_make_everybody_wait_then_go_slower_and_success_faster_again(
    ledger: Ledger,
) -> None:
    rate = Rate(per_second=100, burst=100)
    with ledger.connection() as connection:
        limits.open_bucket(connection, "b", rate)
        limits.slow_down(connection, "b", 60)
        assert state(connection) == (True, 0.5)
        limits.slow_down(connection, "b", 1)
        assert state(connection) == (True, 0.25)
        grant = limits.take_tokens(connection, "b", rate, 1)
        assert (grant.granted, 59 < grant.wait_seconds <= 60) == (0, True)
        for _ in range(10):
            limits.slow_down(connection, "b", 1)
        assert state(connection) == (True, 0.05)
        for _ in range(40):
            limits.speed_up(connection, "b")
        assert state(connection) == (True, 1.0)


@dataclass
class Gate:
    """Pacers of several processes, each with connections of its own."""

    ledger: Ledger
    rate: Rate | None
    patience_seconds: float = 60.0

    def pass_through(self, tries: int) -> list[bool]:
        """Whether each try may go at once."""

        async def walk() -> list[bool]:
            pacer = Pacer(EMAIL_LANE, self.rate, self.ledger.connect)
            try:
                until = asyncio.get_running_loop().time() + self.patience_seconds
                return [await pacer.wait(until) == 0 for _ in range(tries)]
            finally:
                pacer.close()

        return asyncio.run(walk())


def test_processes_share_one_rate(ledger: Ledger) -> None:
    gate = Gate(ledger, FIFTY)
    with ThreadPoolExecutor(3) as processes:
        passed = [each.result() for each in [processes.submit(gate.pass_through, 30) for _ in range(3)]]
    assert sum(map(sum, passed)) == 50


def test_without_a_rate_nobody_waits_and_nobody_is_asked(ledger: Ledger) -> None:
    assert all(Gate(ledger, None).pass_through(100))
    assert ledger.one("select count(*) from rate_bucket") == 0


@pytest.mark.parametrize("rate", [None, FIFTY], ids=["no rate", "a rate"])
def test_when_the_lease_is_over_nothing_goes_and_no_token_is_lost(ledger: Ledger, rate: Rate | None) -> None:
    assert not any(Gate(ledger, rate, patience_seconds=0.0).pass_through(10))
    assert sum(Gate(ledger, FIFTY).pass_through(60)) == 50


def test_what_a_process_took_and_did_not_use_is_given_back(ledger: Ledger) -> None:
    # A quarter of a second's worth is taken at once: ten, of which three are used.
    slow = Rate(per_second=40, burst=40)
    assert all(Gate(ledger, slow).pass_through(3))
    ledger.do("update rate_bucket set updated_at = now() + interval '1 h'")
    assert ledger.one("select tokens::int from rate_bucket") == 37


def test_batches_that_end_together_report_over_one_connection(ledger: Ledger) -> None:
    opened: list[psycopg.Connection] = []

    def connect() -> psycopg.Connection:
        opened.append(ledger.connect())
        return opened[-1]

    async def report() -> None:
        pacer = Pacer(EMAIL_LANE, FIFTY, connect)
        await asyncio.gather(*(pacer.speed_up() for _ in range(8)), *(pacer.slow_down(1) for _ in range(8)))
        pacer.close()

    asyncio.run(report())
    assert len(opened) == 1
    assert opened[0].closed


def test_what_a_lane_may_not_send_now_waits_and_that_is_no_attempt(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    texts = recipients(Channel.SMS, [f"t{number}" for number in range(20)], send_id)
    ledger.enqueue(send_id, SMS_LANE, texts, batch_size=20)
    report = run(ledger, sandbox, send_id, SMS_LANE, rate=Rate(per_second=0.0001, burst=5))
    assert report.counts == {"accepted": 5, "deferred": 15}
    assert len(sandbox.accepted(texts["message_id"])) == 5
    later = "select attempt = 0 and due_at > now() + interval '1 hour' from batch where status = 'planned'"
    assert ledger.one(later)

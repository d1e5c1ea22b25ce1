"""Providers that misbehave in every way, clocks that jump, a ledger that is full: nothing lost, nothing twice."""

from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest
from sending import EMAIL_LANE, SMS_LANE, Ledger, SandboxProcess, new_send_id, recipients

from comms_pipeline.dispatch.engine import LaneReport
from comms_pipeline.dispatch.leases import Leases, expire
from comms_pipeline.dispatch.send import run_lane, settle
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import batches
from comms_pipeline.providers.registry import Providers

CHANNELS = {EMAIL_LANE: Channel.EMAIL, SMS_LANE: Channel.SMS}
every_lane = pytest.mark.parametrize("lane", [EMAIL_LANE, SMS_LANE])
EVERYTHING = (
    {"kind": "timeout_before", "seconds": 0.2},
    {"kind": "timeout_after_accept", "seconds": 0.2},
    {"kind": "reset_before"},
    {"kind": "reset_after_accept"},
    {"kind": "status", "code": 429, "retry_after": 1},
    {"kind": "status", "code": 503},
    {"kind": "status", "code": 502},
    {"kind": "status", "code": 500},
    {"kind": "wrong_body"},
)


def enqueue(ledger: Ledger, lane: str, count: int, batch_size: int) -> tuple[str, pl.DataFrame]:
    send_id = new_send_id()
    payload = recipients(CHANNELS[lane], [f"p{number}" for number in range(count)], send_id)
    ledger.enqueue(send_id, lane, payload, batch_size=batch_size)
    return send_id, payload


def run(
    ledger: Ledger, sandbox: SandboxProcess, send_id: str, lane: str, providers: Providers | None = None
) -> LaneReport:
    return run_lane(
        ledger.connect,
        providers or sandbox.providers(),
        lane=lane,
        send_id=send_id,
        linger_seconds=0.0,
        leases=Leases(claim_seconds=1.0, sending_seconds=5.0),
    )


def pass_time(ledger: Ledger) -> None:
    """Delays and leases are over."""
    ledger.do("update batch set due_at = now() where status = 'planned'")
    ledger.do("update batch set lease_until = now() - interval '1 s' where lease_until is not null")


def is_complete(ledger: Ledger, sandbox: SandboxProcess, send_id: str) -> bool:
    return settle(
        ledger.connect,
        sandbox.providers(),
        send_id=send_id,
        now=datetime.now(UTC),
        reconcile_after_seconds=0,
    ).is_complete


def finish(ledger: Ledger, sandbox: SandboxProcess, send_id: str, lane: str) -> None:
    for _ in range(12):
        run(ledger, sandbox, send_id, lane)
        if is_complete(ledger, sandbox, send_id):
            return
        pass_time(ledger)
    raise AssertionError(ledger.statuses(send_id))


def assert_all_accepted_once(
    ledger: Ledger, sandbox: SandboxProcess, send_id: str, payload: pl.DataFrame
) -> None:
    recorded = sandbox.accepted(payload["message_id"])
    assert set(recorded) == set(payload["message_id"])
    assert {accepted.times for accepted in recorded.values()} == {1}
    assert set(ledger.outcomes(send_id)["status"]) == {"accepted"}


@every_lane
def test_every_fault_in_turn(ledger: Ledger, sandbox: SandboxProcess, lane: str) -> None:
    send_id, payload = enqueue(ledger, lane, 120, batch_size=3)
    provider = lane.partition(":")[2]
    # Each strikes the next three requests; the last of them has struck before anybody's fifth attempt.
    sandbox.break_things(*({"provider": provider, "count": 3, **rule} for rule in EVERYTHING))
    finish(ledger, sandbox, send_id, lane)
    assert_all_accepted_once(ledger, sandbox, send_id, payload)


@every_lane
def test_a_storm_of_too_many_requests_costs_no_attempt(
    ledger: Ledger, sandbox: SandboxProcess, lane: str
) -> None:
    send_id, payload = enqueue(ledger, lane, 40, batch_size=4)
    storm = {"provider": lane.partition(":")[2], "kind": "status", "code": 429, "retry_after": 30}
    sandbox.break_things(storm)
    for _ in range(6):
        assert run(ledger, sandbox, send_id, lane).counts == {"deferred": 40}
        waits = "select min(extract(epoch from due_at - now()))::int from batch where status = 'planned'"
        assert 25 <= ledger.one(waits) <= 33
        pass_time(ledger)
    assert ledger.one("select max(attempt) from batch") == 0
    sandbox.mend()
    finish(ledger, sandbox, send_id, lane)
    assert_all_accepted_once(ledger, sandbox, send_id, payload)


@every_lane
def test_a_page_instead_of_an_answer_is_no_acceptance(
    ledger: Ledger, sandbox: SandboxProcess, lane: str
) -> None:
    send_id, payload = enqueue(ledger, lane, 10, batch_size=5)
    sandbox.break_things({"provider": lane.partition(":")[2], "kind": "wrong_body"})
    assert run(ledger, sandbox, send_id, lane).counts == {"unknown": 10}
    assert sandbox.accepted(payload["message_id"]) == {}
    sandbox.mend()
    finish(ledger, sandbox, send_id, lane)
    assert_all_accepted_once(ledger, sandbox, send_id, payload)


@every_lane
def test_an_answer_that_comes_after_our_patience_is_asked_for(
    ledger: Ledger, sandbox: SandboxProcess, lane: str
) -> None:
    send_id, payload = enqueue(ledger, lane, 6, batch_size=2)
    sandbox.break_things({"provider": lane.partition(":")[2], "kind": "timeout_after_accept", "seconds": 2})
    impatient = sandbox.providers(timeout_seconds=0.3)
    assert run(ledger, sandbox, send_id, lane, impatient).counts == {"unknown": 6}
    sandbox.mend()
    assert is_complete(ledger, sandbox, send_id)
    assert_all_accepted_once(ledger, sandbox, send_id, payload)


def test_only_the_databases_clock_counts(ledger: Ledger) -> None:
    """A clock that jumped shows as times far in the past or the future: of these there is only Postgres' `now()`."""
    send_id, _ = enqueue(ledger, EMAIL_LANE, 4, batch_size=1)
    with ledger.connection() as connection:
        ledger.do("update batch set due_at = now() + interval '10 years'")
        assert batches.claim_due(connection, lane=EMAIL_LANE, worker="w", limit=9, lease_seconds=60) == []
        ledger.do("update batch set due_at = now() - interval '10 years'")
        claimed = batches.claim_due(connection, lane=EMAIL_LANE, worker="w", limit=9, lease_seconds=60)
        assert len(claimed) == 4
        batches.mark_sending(connection, claimed[:2], lease_seconds=60)
        # Back: leases hold longer than they should, and nobody takes what is in other hands.
        ledger.do("update batch set lease_until = lease_until + interval '1 day'")
        assert expire(connection) == 0
        # Forward: all leases are over at once, and what was being sent is asked for, not sent again.
        ledger.do("update batch set lease_until = lease_until - interval '2 days'")
        assert expire(connection) == 4
    assert ledger.statuses(send_id) == {"planned": 2, "unknown": 2}


def test_a_due_time_moved_by_a_clock_change_is_kept_in_utc(ledger: Ledger) -> None:
    send_id = new_send_id()
    payload = recipients(Channel.EMAIL, ["ann"], send_id)
    ledger.enqueue(send_id, EMAIL_LANE, payload, due_in=timedelta(hours=1))
    with ledger.connection() as connection:
        connection.execute("set time zone 'Pacific/Kiritimati'")
        assert batches.claim_due(connection, lane=EMAIL_LANE, worker="w", limit=1, lease_seconds=60) == []
        due_in = batches.next_due(connection, EMAIL_LANE, 2)
    assert due_in is not None
    assert 3500 < due_in <= 3600


@pytest.mark.parametrize(
    ("code", "error"),
    [("disk_full", psycopg.errors.DiskFull), ("read_only_sql_transaction", psycopg.Error)],
)
def test_a_ledger_that_cannot_write_an_outcome_stops_the_lane_and_costs_nothing(
    ledger: Ledger, sandbox: SandboxProcess, code: str, error: type[Exception]
) -> None:
    """As Postgres reports a full disk: the statement that needs room fails, and its transaction with it."""
    send_id, payload = enqueue(ledger, EMAIL_LANE, 100, batch_size=5)
    with ledger.connection() as connection:
        connection.execute(
            "create function refuse() returns trigger language plpgsql as"
            f" $$ begin raise exception using errcode = '{code}'; end $$".encode()
        )
        connection.execute("create trigger refuse before insert on outcome execute function refuse()")
        try:
            with pytest.raises(error):
                run(ledger, sandbox, send_id, EMAIL_LANE)
        finally:
            connection.execute("drop trigger refuse on outcome; drop function refuse()")
    assert ledger.one("select count(*) from outcome") == 0
    # How many had been claimed by then is a matter of speed.
    assert {"sending"} <= ledger.statuses(send_id).keys() <= {"planned", "claimed", "sending"}
    assert len(sandbox.accepted(payload["message_id"])) > 0
    pass_time(ledger)
    finish(ledger, sandbox, send_id, EMAIL_LANE)
    assert_all_accepted_once(ledger, sandbox, send_id, payload)

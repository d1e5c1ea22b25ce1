"""Answers that never came, workers that died: the provider's record decides, and nothing is lost or repeated."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import polars as pl
import psycopg
import pytest
from sending import (
    EMAIL_LANE,
    SMS_LANE,
    Ledger,
    SandboxProcess,
    application_name,
    new_send_id,
    recipients,
    wait_until,
)

from comms_pipeline.dispatch.engine import LaneReport
from comms_pipeline.dispatch.leases import Leases, expire
from comms_pipeline.dispatch.reconcile import Heard, nothing_heard
from comms_pipeline.dispatch.send import Settlement, run_lane, settle
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger.server import connect

SHORT = Leases(claim_seconds=1.0, sending_seconds=2.0)
CHANNELS = {EMAIL_LANE: Channel.EMAIL, SMS_LANE: Channel.SMS}
every_lane = pytest.mark.parametrize("lane", [EMAIL_LANE, SMS_LANE])

WORKER = """
import json, sys
from comms_pipeline.dispatch.leases import Leases
from comms_pipeline.dispatch.send import run_lane
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.providers.registry import Providers
from comms_pipeline.settings import Settings
options = json.loads(sys.argv[1])
server = Server.from_url(options["database"])
run_lane(
    lambda: connect(server, autocommit=True),
    Providers(Settings(_env_file=None, **options["settings"])),
    lane=options["lane"],
    send_id=options["send_id"],
    linger_seconds=0.0,
    leases=Leases(claim_seconds=1.0, sending_seconds=2.0),
)
"""


def enqueue(
    ledger: Ledger, send_id: str, count: int, lane: str = EMAIL_LANE, batch_size: int = 1000
) -> pl.DataFrame:
    payload = recipients(CHANNELS[lane], [f"p{number}" for number in range(count)], send_id)
    ledger.enqueue(send_id, lane, payload, batch_size=batch_size)
    return payload


def fault(lane: str, kind: str, **options: object) -> dict[str, object]:
    return {"provider": lane.partition(":")[2], "kind": kind, **options}


def run(
    ledger: Ledger,
    sandbox: SandboxProcess,
    send_id: str,
    lane: str = EMAIL_LANE,
    linger_seconds: float = 0.0,
) -> LaneReport:
    return run_lane(
        ledger.connect,
        sandbox.providers(),
        lane=lane,
        send_id=send_id,
        linger_seconds=linger_seconds,
        leases=SHORT,
    )


def settled(
    ledger: Ledger,
    sandbox: SandboxProcess,
    send_id: str,
    reconcile_after_seconds: float = 0.0,
    heard: Heard = nothing_heard,
) -> Settlement:
    return settle(
        ledger.connect,
        sandbox.providers(),
        send_id=send_id,
        now=datetime.now(UTC),
        reconcile_after_seconds=reconcile_after_seconds,
        heard=heard,
    )


def finish(ledger: Ledger, sandbox: SandboxProcess, send_id: str, lane: str = EMAIL_LANE) -> None:
    """Do what later runs do: take over, ask, send what was released, until the send is complete."""

    def is_complete() -> bool:
        run(ledger, sandbox, send_id, lane, linger_seconds=30.0)
        return settled(ledger, sandbox, send_id).is_complete

    wait_until(is_complete)


def assert_none_lost_none_repeated(
    ledger: Ledger, sandbox: SandboxProcess, send_id: str, payload: pl.DataFrame
) -> None:
    recorded = sandbox.accepted(payload["message_id"])
    assert set(recorded) == set(payload["message_id"])
    assert {accepted.times for accepted in recorded.values()} == {1}
    told = ledger.outcomes(send_id)
    assert set(told["status"]) == {"accepted"}
    assert dict(told.select("message_id", "provider_message_id").iter_rows()) == {
        message_id: accepted.provider_id for message_id, accepted in recorded.items()
    }


@every_lane
def test_what_was_accepted_unheard_is_not_sent_again(
    ledger: Ledger, sandbox: SandboxProcess, lane: str
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 10, lane)
    sandbox.break_things(fault(lane, "reset_after_accept"))
    assert run(ledger, sandbox, send_id, lane).counts == {"unknown": 10}
    assert run(ledger, sandbox, send_id, lane).counts == {}
    sandbox.mend()
    settlement = settled(ledger, sandbox, send_id)
    assert (settlement.reconciled.accepted, settlement.reconciled.released) == (10, 0)
    assert settlement.is_complete
    assert_none_lost_none_repeated(ledger, sandbox, send_id, payload)


@every_lane
def test_what_never_arrived_is_released_and_sent(ledger: Ledger, sandbox: SandboxProcess, lane: str) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 10, lane)
    sandbox.break_things(fault(lane, "reset_before"))
    run(ledger, sandbox, send_id, lane)
    sandbox.mend()
    settlement = settled(ledger, sandbox, send_id)
    assert (settlement.reconciled.accepted, settlement.reconciled.released) == (0, 10)
    assert (settlement.is_complete, settlement.progress.waiting) == (False, 10)
    finish(ledger, sandbox, send_id, lane)
    assert_none_lost_none_repeated(ledger, sandbox, send_id, payload)


def test_each_text_of_a_batch_is_told_apart(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 12, SMS_LANE)
    sandbox.break_things(
        fault(SMS_LANE, "reset_after_accept", count=3),
        fault(SMS_LANE, "reset_before", count=4),
        fault(SMS_LANE, "status", code=429, retry_after=1, count=2),
    )
    assert run(ledger, sandbox, send_id, SMS_LANE).counts == {"unknown": 7, "deferred": 2, "accepted": 3}
    settlement = settled(ledger, sandbox, send_id)
    assert (settlement.reconciled.accepted, settlement.reconciled.released) == (3, 4)
    finish(ledger, sandbox, send_id, SMS_LANE)
    assert_none_lost_none_repeated(ledger, sandbox, send_id, payload)


@every_lane
def test_while_the_provider_cannot_tell_nothing_is_released(
    ledger: Ledger, sandbox: SandboxProcess, lane: str
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 5, lane)
    sandbox.break_things(fault(lane, "reset_before"), fault(lane, "status", on="read", code=503))
    run(ledger, sandbox, send_id, lane)
    settlement = settled(ledger, sandbox, send_id)
    assert (settlement.reconciled.still_unknown, settlement.progress.in_doubt) == (5, 5)
    assert not settlement.is_complete
    sandbox.mend()
    finish(ledger, sandbox, send_id, lane)
    assert_none_lost_none_repeated(ledger, sandbox, send_id, payload)


@pytest.mark.parametrize(("heard", "still_unknown"), [(5, 0), (2, 3)])
def test_an_event_of_a_message_proves_that_it_was_accepted(
    ledger: Ledger, sandbox: SandboxProcess, heard: int, still_unknown: int
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 5)
    sandbox.break_things(
        fault(EMAIL_LANE, "reset_after_accept"), fault(EMAIL_LANE, "status", on="read", code=503)
    )
    assert run(ledger, sandbox, send_id).counts == {"unknown": 5}
    events = dict.fromkeys(payload["message_id"].head(heard), "their-id")

    settlement = settled(
        ledger, sandbox, send_id, heard=lambda ids: {id: events[id] for id in ids if id in events}
    )

    assert (settlement.reconciled.accepted, settlement.reconciled.still_unknown) == (heard, still_unknown)
    assert settlement.progress.in_doubt == still_unknown
    accepted = ledger.outcomes(send_id).filter(status="accepted")
    assert set(accepted["message_id"]) == set(events)
    assert set(accepted["provider_message_id"]) == {"their-id"}
    assert settlement.is_complete == (still_unknown == 0)
    sandbox.mend()
    if still_unknown:
        finish(ledger, sandbox, send_id)
    assert {each.times for each in sandbox.accepted(payload["message_id"]).values()} == {1}


def test_a_provider_that_never_answers_is_given_up_after_all_attempts(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 5)
    sandbox.break_things(fault(EMAIL_LANE, "reset_before"))
    for _ in range(5):
        assert run(ledger, sandbox, send_id).counts == {"unknown": 5}
        settled(ledger, sandbox, send_id)
        ledger.do("update batch set due_at = now() where status = 'planned'")
    assert ledger.statuses(send_id) == {"settled": 5, "dead": 1}
    assert set(ledger.outcomes(send_id)["reason"]) == {"exhausted"}
    assert sandbox.accepted(payload["message_id"]) == {}


def test_a_young_doubt_is_left_alone(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    enqueue(ledger, send_id, 5)
    sandbox.break_things(fault(EMAIL_LANE, "reset_before"))
    run(ledger, sandbox, send_id)
    settlement = settled(ledger, sandbox, send_id, reconcile_after_seconds=300)
    assert (settlement.reconciled.released, settlement.progress.in_doubt) == (0, 5)


def test_a_holder_that_comes_back_after_its_lease_is_refused(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 5)
    sandbox.break_things(fault(EMAIL_LANE, "slow", seconds=1.0))
    with ThreadPoolExecutor(1) as worker:
        late = worker.submit(run, ledger, sandbox, send_id)
        wait_until(lambda: "sending" in ledger.statuses(send_id))
        ledger.do("update batch set lease_until = now() - interval '1 second'")
        with ledger.connection() as connection:
            assert expire(connection) == 1
        report = late.result()
    assert report.counts == {}
    assert ledger.statuses(send_id) == {"unknown": 1}
    assert set(ledger.outcomes(send_id)["status"]) == {"unknown"}
    assert settled(ledger, sandbox, send_id).reconciled.accepted == 5
    assert_none_lost_none_repeated(ledger, sandbox, send_id, payload)


def test_a_ledger_lost_while_recording_stops_the_worker_and_costs_nothing(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 200, batch_size=10)
    # The engine opens one connection to claim and a second one to record.
    servers = iter([ledger.server, application_name(ledger.server, "recording")])
    sandbox.break_things(fault(EMAIL_LANE, "slow", seconds=0.5))
    with ThreadPoolExecutor(1) as worker:
        broken = worker.submit(
            run_lane,
            lambda: connect(next(servers), autocommit=True),
            sandbox.providers(),
            lane=EMAIL_LANE,
            send_id=send_id,
            leases=SHORT,
        )
        wait_until(lambda: "sending" in ledger.statuses(send_id))
        killed = ledger.one(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where application_name = 'recording' and datname = current_database()"
        )
        assert killed == 1
        with pytest.raises(psycopg.OperationalError):
            broken.result()
    sandbox.mend()
    finish(ledger, sandbox, send_id)
    assert_none_lost_none_repeated(ledger, sandbox, send_id, payload)


@every_lane
def test_a_killed_worker_loses_nothing_and_nothing_is_sent_twice(
    ledger: Ledger, sandbox: SandboxProcess, lane: str
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 300, lane, batch_size=5)
    sandbox.break_things(fault(lane, "slow", seconds=0.4))
    options = {
        "database": ledger.server.url(),
        "settings": sandbox.settings_values,
        "lane": lane,
        "send_id": send_id,
    }
    worker = subprocess.Popen([sys.executable, "-c", WORKER, json.dumps(options)])
    wait_until(lambda: ledger.one("select count(*) from outcome") > 2)
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    left = ledger.statuses(send_id)
    assert left["sending"] > 0
    assert left["planned"] > 0
    sandbox.mend()
    finish(ledger, sandbox, send_id, lane)
    assert ledger.statuses(send_id).keys() == {"settled"}
    assert_none_lost_none_repeated(ledger, sandbox, send_id, payload)

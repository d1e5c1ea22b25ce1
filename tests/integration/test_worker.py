"""`comms worker` in a thread and as a process: woken at once, ends gracefully, outlives its database."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import polars as pl
import pytest
from sending import (
    EMAIL_LANE,
    SMS_LANE,
    Ledger,
    SandboxProcess,
    new_send_id,
    recipients,
    wait_until,
)

from comms_pipeline.dispatch import engine
from comms_pipeline.dispatch import worker as worker_module
from comms_pipeline.dispatch.leases import Leases
from comms_pipeline.dispatch.worker import Worker
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import launcher
from comms_pipeline.ledger.launcher import ensure_databases
from comms_pipeline.ledger.migrate import migrate
from comms_pipeline.providers.registry import Providers
from comms_pipeline.settings import Settings

CHANNELS = {EMAIL_LANE: Channel.EMAIL, SMS_LANE: Channel.SMS}


def enqueue(
    ledger: Ledger, count: int, *, lane: str = EMAIL_LANE, batch_size: int = 5, priority: int = 1
) -> tuple[str, pl.DataFrame]:
    """A send of its own: its id and payload."""
    send_id = new_send_id()
    payload = recipients(CHANNELS[lane], [f"p{number}" for number in range(count)], send_id)
    ledger.enqueue(send_id, lane, payload, batch_size=batch_size, priority=priority)
    return send_id, payload


@contextmanager
def working(
    ledger: Ledger, settings: Settings, lanes: list[str] | None = None, **options: object
) -> Iterator[None]:
    """A worker that listens, until the end of the block; then it must end by itself."""
    loop = asyncio.new_event_loop()
    worker = Worker(
        connect=ledger.connect,
        conninfo=ledger.server.conninfo(),
        providers=lambda: Providers(settings),
        lanes=lanes or [EMAIL_LANE],
        **{"least_priority": 1} | options,  # type: ignore[arg-type]
    )
    thread = Thread(target=loop.run_until_complete, args=(worker.run(),))
    thread.start()
    try:
        wait_until(lambda: is_listening(ledger))
        yield
    finally:
        loop.call_soon_threadsafe(worker.stop)
        thread.join(60)
        loop.close()
    assert not thread.is_alive()


def is_listening(ledger: Ledger) -> bool:
    listening = "query = 'listen batch_due' and datname = current_database()"
    return bool(ledger.one(f"select count(*) from pg_stat_activity where {listening}") == 1)


def is_settled(ledger: Ledger, send_id: str) -> bool:
    return ledger.statuses(send_id).keys() == {"settled"}


def assert_all_accepted_once(
    ledger: Ledger, sandbox: SandboxProcess, send_id: str, payload: pl.DataFrame
) -> None:
    assert set(ledger.outcomes(send_id)["status"]) == {"accepted"}
    recorded = sandbox.accepted(payload["message_id"])
    assert set(recorded) == set(payload["message_id"])
    assert {accepted.times for accepted in recorded.values()} == {1}


def test_what_is_enqueued_wakes_the_worker(
    ledger: Ledger, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would not look by itself before the test gives up.
    monkeypatch.setattr(engine, "_LONGEST_SLEEP_SECONDS", 3600.0)
    with working(ledger, sandbox.settings(), [EMAIL_LANE, SMS_LANE]):
        for lane in (EMAIL_LANE, SMS_LANE, EMAIL_LANE):
            send_id, payload = enqueue(ledger, 3, lane=lane)
            wait_until(lambda send_id=send_id: is_settled(ledger, send_id))  # type: ignore[misc]
            assert_all_accepted_once(ledger, sandbox, send_id, payload)


def test_bulk_is_left_to_runs_unless_it_is_asked_for(ledger: Ledger, sandbox: SandboxProcess) -> None:
    bulk, bulk_payload = enqueue(ledger, 5, priority=2)
    with working(ledger, sandbox.settings()):
        urgent, _ = enqueue(ledger, 5, priority=0)
        wait_until(lambda: is_settled(ledger, urgent))
    assert ledger.statuses(bulk) == {"planned": 1}
    with working(ledger, sandbox.settings(), least_priority=2):
        wait_until(lambda: is_settled(ledger, bulk))
    assert_all_accepted_once(ledger, sandbox, bulk, bulk_payload)


def test_a_refused_key_stops_one_lane_and_no_other(ledger: Ledger, sandbox: SandboxProcess) -> None:
    with working(ledger, sandbox.settings(sendgrid_api_key="SG.wrong"), [EMAIL_LANE, SMS_LANE]):
        email, payload = enqueue(ledger, 5)
        wait_until(lambda: "settled" in ledger.statuses(email))
        text, _ = enqueue(ledger, 5, lane=SMS_LANE)
        wait_until(lambda: is_settled(ledger, text))
    assert set(ledger.outcomes(email)["status"]) == {"deferred"}
    assert set(ledger.outcomes(text)["status"]) == {"accepted"}
    assert sandbox.accepted(payload["message_id"]) == {}


def test_asking_about_doubts_does_not_disturb_who_is_sending(
    ledger: Ledger, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_RECONCILE_EVERY_SECONDS", 0.05)
    sandbox.break_things(
        {"provider": "sendgrid", "kind": "reset_after_accept", "count": 4},
        {"provider": "sendgrid", "kind": "slow", "seconds": 0.1},
    )
    send_id, payload = enqueue(ledger, 400)
    with working(ledger, sandbox.settings(), reconcile_after_seconds=0.5):
        wait_until(lambda: is_settled(ledger, send_id))
    assert ledger.one("select count(*) from batch where parent_batch_id is not null") == 0
    assert_all_accepted_once(ledger, sandbox, send_id, payload)


def test_what_dead_workers_left_is_taken_over(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id, payload = enqueue(ledger, 5)
    ledger.do("update batch set status = 'claimed', claimed_by = 'x', lease_until = now() - interval '1 s'")
    with working(ledger, sandbox.settings()):
        wait_until(lambda: is_settled(ledger, send_id))
    assert_all_accepted_once(ledger, sandbox, send_id, payload)


def test_a_worker_outlives_its_database(sandbox: SandboxProcess, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    server = launcher.ensure_started(home)
    try:
        ensure_databases(server)
        migrate(server)
        ledger = Ledger(server=server)
        ledger.reset()
        with working(ledger, sandbox.settings(), leases=Leases(claim_seconds=1, sending_seconds=2)):
            before, _ = enqueue(ledger, 5)
            wait_until(lambda: is_settled(ledger, before))
            launcher.stop(home)
            assert launcher.ensure_started(home).port == server.port
            wait_until(lambda: is_listening(ledger))
            send_id, payload = enqueue(ledger, 50)
            wait_until(lambda: is_settled(ledger, send_id))
            assert_all_accepted_once(ledger, sandbox, send_id, payload)
    finally:
        launcher.remove(home)


def test_asked_to_stop_it_finishes_what_is_in_flight(
    ledger: Ledger, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    sandbox.break_things({"provider": "sendgrid", "kind": "slow", "seconds": 0.5})
    send_id, payload = enqueue(ledger, 500)
    variables = {
        "COMMS_HOME": str(tmp_path / "home"),
        "COMMS_DATABASE_URL": ledger.server.url(),
        **{f"COMMS_{name.upper()}": str(value) for name, value in sandbox.settings_values.items()},
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMMS_")}
    comms = [sys.executable, "-m", "comms_pipeline.cli"]
    subprocess.run([*comms, "init"], env=kept | variables, cwd=tmp_path, check=True, capture_output=True)
    command = [*comms, "worker", "--all"]
    with subprocess.Popen(command, env=kept | variables, cwd=tmp_path, stdout=subprocess.DEVNULL) as worker:
        wait_until(lambda: ledger.statuses(send_id).get("settled", 0) > 0)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
    statuses = ledger.statuses(send_id)
    assert set(statuses) == {"planned", "settled"}
    assert set(ledger.outcomes(send_id)["status"]) == {"accepted"}
    assert len(sandbox.accepted(payload["message_id"])) == 5 * statuses["settled"]

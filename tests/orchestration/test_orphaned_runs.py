"""Runs whose process was killed are told from those that go on, and from those of other hosts."""

import os
import subprocess
import sys
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.events import EngineEventData

from comms_pipeline.sensors import orphaned_runs
from comms_pipeline.sensors.orphaned_runs import HOST_TAG, is_alive


@dg.job
def anything() -> None:
    """A job; nothing of it runs."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def dead_process() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def started(instance: dg.DagsterInstance, pid: int | None, **tags: str) -> str:
    """A run under way whose process said that it executes it; its id."""
    run = instance.create_run_for_job(anything, status=dg.DagsterRunStatus.STARTED, tags=tags)
    if pid is not None:
        instance.report_engine_event("Executing", run, EngineEventData.in_process(pid))
    return run.run_id


def test_only_runs_without_their_process_are_reported_as_failed(
    instance: dg.DagsterInstance, dead_process: int
) -> None:
    runs = {
        "killed": started(instance, dead_process),
        "going on": started(instance, os.getpid()),
        "not begun yet": started(instance, None),
        "of another host": started(instance, dead_process, **{HOST_TAG: "elsewhere"}),
    }
    told = orphaned_runs(dg.build_sensor_context(instance))
    assert isinstance(told, dg.SkipReason)
    assert told.skip_message == "1 runs had lost their process"
    states = {name: instance.get_run_by_id(run_id) for name, run_id in runs.items()}
    assert {name: run.status.value for name, run in states.items() if run} == {
        "killed": "FAILURE",
        "going on": "STARTED",
        "not begun yet": "STARTED",
        "of another host": "STARTED",
    }


def test_process_that_came_later_with_the_same_id_is_another() -> None:
    assert is_alive(os.getpid(), at=4e9)
    assert not is_alive(os.getpid(), at=0.0)

"""`orphaned_runs`: watches for runs whose process is gone. Touches runs only; what was sent, the ledger knows.

Dagster's default launcher does not notice a killed process: its run would count as under way, hold its pool
slots, and keep the next run of the same send in the queue until the longest allowed run time is over.
"""

import socket

import dagster as dg
import psutil

HOST_TAG = "comms/host"
"""On runs of the command line: where their process lives. Other runs live where the daemon does."""
_UNDER_WAY = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
# Clocks of process table and event log are not the same.
_CLOCK_MARGIN_SECONDS = 2.0


@dg.sensor(
    name="orphaned_runs",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports runs as failed whose process is gone, so that the next run of their send can begin.",
)
def orphaned_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Requests nothing itself: `due_sends` asks for what is left of a send."""
    return dg.SkipReason(f"{report_orphans(context.instance)} runs had lost their process")


def report_orphans(instance: dg.DagsterInstance) -> int:
    """Report the runs under way on this host whose process is gone as failed; returns how many."""
    if instance.run_launcher.supports_check_run_worker_health:
        return 0
    host = socket.gethostname()
    orphans = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY))
        if run.tags.get(HOST_TAG, host) == host and _has_lost_its_process(instance, run.run_id)
    ]
    for run in orphans:
        instance.report_run_failed(run, "The process of this run is gone.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(orphans)


def _has_lost_its_process(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the process that said it executes the run is gone; False while none has said so."""
    for entry in reversed(instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)):
        pid = entry.dagster_event.engine_event_data.metadata.get("pid") if entry.dagster_event else None
        if pid is not None:
            return not is_alive(int(str(pid.value)), at=entry.timestamp)
    return False


def is_alive(pid: int, *, at: float) -> bool:
    """Whether the process that had this id `at` (epoch seconds) still lives; a later one is another."""
    try:
        process = psutil.Process(pid)
        is_same = process.create_time() <= at + _CLOCK_MARGIN_SECONDS
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

"""Runs Dagster jobs in this process, recorded in the instance like any other run. For the command line."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from comms_pipeline.definitions import build_definitions
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.partitions import SENDS
from comms_pipeline.sensors.orphaned_runs import HOST_TAG, report_orphans
from comms_pipeline.stores import Stores

# The command prints its own progress; the run's events are in the UI all the same.
_QUIET: Mapping[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

# By these Dagster's timeline and job pages find a run; `workspace.yaml` names the location.
_LOCATION_TAG = ".dagster/repository"
_LOCATION = "__repository__@comms_pipeline"

# The web server's defaults.
_POOL_RECYCLE_SECONDS = 3600
_POOL_MAX_OVERFLOW = 20


class RunFailed(CommsError):
    """A run did not succeed; the culprit is its job, the problem its first cause."""


class Runs:
    """Runs jobs with these stores, one after the other."""

    def __init__(self, stores: Stores, instance: dg.DagsterInstance) -> None:
        self._stores = stores
        self._instance = instance
        self._definitions = build_definitions(stores.settings, {"stores": stores})

    @classmethod
    @contextmanager
    def recorded_in(cls, stores: Stores, dagster_home: Path) -> Iterator["Runs"]:
        """Runs that show in the Dagster UI of this home. Those of killed commands are closed first."""
        os.environ["DAGSTER_HOME"] = str(dagster_home)
        with dg.DagsterInstance.get() as instance:
            # As Dagster's own web server does it: one connection kept open, not one for each of a run's thousand
            # statements. A timeout of 0 is none.
            instance.optimize_for_webserver(
                statement_timeout=0, pool_recycle=_POOL_RECYCLE_SECONDS, max_overflow=_POOL_MAX_OVERFLOW
            )
            report_orphans(instance)
            yield cls(stores, instance)

    def run(
        self, job: str, *, send_id: str | None = None, config: Mapping[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run a job to its end. Raises `RunFailed` with the first cause, in one line."""
        if send_id is not None:
            self._instance.add_dynamic_partitions(SENDS.name or "", [send_id])
        result = self._definitions.resolve_job_def(job).execute_in_process(
            instance=self._instance,
            partition_key=send_id,
            run_config={**_QUIET, **(config or {})},
            tags={
                HOST_TAG: socket.gethostname(),
                _LOCATION_TAG: _LOCATION,
                **({"send": send_id} if send_id else {}),
            },
            raise_on_error=False,
        )
        if not result.success:
            raise RunFailed(f"job {job}", _first_cause(result), f"See run {result.run_id} in the Dagster UI")
        return result


def _first_cause(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                return error.message.strip().split(": ", 1)[-1].splitlines()[0].rstrip(".")
    return "it did not succeed"

"""`alerts`: watches runs, checks, the queue and the metrics of the alert rules, and tells people. Mends nothing."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import dagster as dg

from comms_pipeline.alerting import notify
from comms_pipeline.alerting.alerts import Alert, current_alerts
from comms_pipeline.alerting.rules import Severity, load_rules
from comms_pipeline.assets import queue_health
from comms_pipeline.ledger import notices
from comms_pipeline.resources.stores import StoresResource

_RUNS_LOOKED_AT = 500
_DAY = timedelta(days=1)
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
# Sending stops when its run fails; the rest is asked for again by itself.
_GRAVE_JOBS = frozenset({"send_campaign"})
_OF_CHECK = {dg.AssetCheckSeverity.ERROR: Severity.P1, dg.AssetCheckSeverity.WARN: Severity.P3}


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people (COMMS_NOTIFY) of failed runs, failed checks, trouble in the queue and metrics beyond "
    "their bounds: once, again when it lasts, and when it is over.",
)
def alerts(context: dg.SensorEvaluationContext, stores: StoresResource) -> dg.SkipReason:
    """Take stock, then tell what is new."""
    rules = load_rules(stores.settings.alerts)
    found = [
        *current_alerts(stores, rules),
        *failed_runs(context.instance, stores.now()),
        *failed_checks(context),
    ]
    with stores.ledger() as ledger:
        notices.record(ledger, [asdict(alert) for alert in found], stores.now())
    told = notify.tell(stores, notify.targets(stores.settings))
    return dg.SkipReason(f"{len(found)} alerts; {told} told")


def failed_runs(instance: dg.DagsterInstance, now: datetime) -> Iterator[Alert]:
    """One alert per job and partition whose latest run of the last day failed."""
    runs = instance.get_run_records(
        dg.RunsFilter(statuses=_ENDED, updated_after=now - _DAY), limit=_RUNS_LOOKED_AT
    )
    latest: set[tuple[str, str]] = set()
    for record in runs:  # the newest first
        run = record.dagster_run
        partition = run.tags.get("dagster/partition", "")
        of = (run.job_name, partition)
        if of in latest:
            continue
        latest.add(of)
        if run.status is dg.DagsterRunStatus.FAILURE:
            ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else now
            yield Alert(
                key=f"run:{run.job_name}:{partition}",
                severity=Severity.P1 if run.job_name in _GRAVE_JOBS else Severity.P2,
                subject=f"{run.job_name} {partition}".strip(),
                what="the run failed",
                fix=f"Look at run {run.run_id[:8]} in Dagster",
                since=ended,
            )


def failed_checks(context: dg.SensorEvaluationContext) -> Iterator[Alert]:
    """One alert per asset check whose latest evaluation failed."""
    graph = context.repository_def.asset_graph if context.repository_def else None
    if graph is None:
        return
    # What the queue's check says is among the alerts already, in more words.
    keys = [key for key in graph.asset_check_keys if key.name != queue_health.CHECK]
    storage = context.instance.event_log_storage
    for key, record in storage.get_latest_asset_check_execution_by_key(keys).items():
        event = record.event.dagster_event if record.event else None
        evaluation = event.event_specific_data if event else None
        if not isinstance(evaluation, dg.AssetCheckEvaluation) or evaluation.passed:
            continue
        yield Alert(
            key=f"check:{key.to_user_string()}",
            severity=_OF_CHECK[evaluation.severity],
            subject=key.asset_key.to_user_string(),
            what=f"the check {key.name} failed",
            fix="Look at the asset's checks in Dagster",
            since=datetime.fromtimestamp(record.create_timestamp, UTC),
        )

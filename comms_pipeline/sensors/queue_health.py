"""`queue_health`: watches the queue for what people should look at, and tells when that changes. Mends nothing."""

import json

import dagster as dg

from comms_pipeline import vocabulary
from comms_pipeline.assets.queue_health import CHECK, severity_of, table_of
from comms_pipeline.dispatch import alerts
from comms_pipeline.resources.stores import StoresResource


@dg.sensor(
    name="queue_health",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells of messages in doubt for long, dead letters, lanes that are stopped or down, and queues that "
    "nobody serves: in its log and as the check `queue_is_healthy`, whenever something comes or goes.",
)
def queue_health(context: dg.SensorEvaluationContext, stores: StoresResource) -> dg.SensorResult:
    """The cursor holds what was told last, by key."""
    with stores.ledger() as ledger:
        findings = alerts.findings(ledger)
    told: dict[str, str] | None = json.loads(context.cursor) if context.cursor else None
    now = {finding.key: f"{finding.subject}: {finding.what}. {finding.fix}." for finding in findings}
    before = told or {}
    for key in now.keys() - before.keys():
        context.log.warning(now[key])
    for key in before.keys() - now.keys():
        context.log.info(f"Over: {before[key]}")
    if told is not None and now.keys() == before.keys():
        return dg.SensorResult(skip_reason=f"nothing new; {len(now)} findings", cursor=json.dumps(now))
    evaluation = dg.AssetCheckEvaluation(
        asset_key=vocabulary.LEDGER_SENDS,
        check_name=CHECK,
        passed=not findings,
        severity=severity_of(findings),
        metadata=table_of(findings),
    )
    return dg.SensorResult(asset_events=[evaluation], cursor=json.dumps(now))

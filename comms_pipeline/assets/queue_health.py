"""The check `queue_is_healthy`: what people should look at in the queue. Findings are `dispatch.alerts`'."""

from collections.abc import Sequence

import dagster as dg

from comms_pipeline import vocabulary
from comms_pipeline.dispatch import alerts
from comms_pipeline.dispatch.alerts import Finding, Severity
from comms_pipeline.resources.stores import StoresResource

CHECK = "queue_is_healthy"


@dg.asset_check(
    asset=vocabulary.LEDGER_SENDS,
    name=CHECK,
    description="Nothing is in doubt for long, dead or overdue, and no lane is stopped or down. The sensor "
    "`queue_health` evaluates it whenever that changes.",
)
def queue_is_healthy(stores: StoresResource) -> dg.AssetCheckResult:
    """Ask the ledger now."""
    with stores.ledger() as ledger:
        findings = alerts.findings(ledger)
    return dg.AssetCheckResult(
        passed=not findings, severity=severity_of(findings), metadata=table_of(findings)
    )


def severity_of(findings: Sequence[Finding]) -> dg.AssetCheckSeverity:
    """An error when one of them is."""
    is_grave = any(finding.severity is Severity.ERROR for finding in findings)
    return dg.AssetCheckSeverity.ERROR if is_grave else dg.AssetCheckSeverity.WARN


def table_of(findings: Sequence[Finding]) -> dict[str, dg.MetadataValue]:
    """Findings as the check's metadata: one row each."""
    if not findings:
        return {"findings": dg.MetadataValue.text("none")}
    rows = [
        dg.TableRecord(
            {
                "severity": str(finding.severity),
                "subject": finding.subject,
                "what": finding.what,
                "since": f"{finding.since:%Y-%m-%d %H:%M}",
                "fix": finding.fix,
            }
        )
        for finding in findings
    ]
    return {"findings": dg.MetadataValue.table(rows)}

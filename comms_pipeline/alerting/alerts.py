"""What is the matter now: rules over metrics, and the queue's findings, as alerts. Tells nobody."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from comms_pipeline.alerting.metrics import METRICS, Measurement, Sources
from comms_pipeline.alerting.rules import Rule, Severity
from comms_pipeline.dispatch import alerts as queue
from comms_pipeline.stores import Stores


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something people must hear of. `key` is the same as long as it is the same. No personal data in any field."""

    key: str
    severity: Severity
    subject: str
    what: str
    fix: str
    since: datetime


_OF_QUEUE: Mapping[queue.Severity, Severity] = {
    queue.Severity.ERROR: Severity.P1,
    queue.Severity.WARNING: Severity.P3,
}


def current_alerts(stores: Stores, rules: Iterable[Rule]) -> list[Alert]:
    """Ask the stores by every rule, and the queue for what is wrong with it."""
    with stores.ledger() as ledger, stores.lake.reader() as lake:
        sources = Sources(stores=stores, ledger=ledger, lake=lake)
        # Rules on the same metric and window share one measurement.
        measured: dict[tuple[str, int], list[Measurement]] = {}
        found = list(_of_queue(queue.findings(ledger)))
        for rule in rules:
            asked = (rule.metric, rule.window_seconds)
            if asked not in measured:
                measured[asked] = METRICS[rule.metric](sources, rule.window_seconds)
            found += _of_rule(rule, measured[asked], stores.now())
    return found


def _of_rule(rule: Rule, measured: Iterable[Measurement], now: datetime) -> Iterator[Alert]:
    for each in measured:
        if each.value > rule.above and each.sample >= rule.least_sample:
            yield Alert(
                key=f"rule:{rule.id}:{each.subject}",
                severity=rule.severity,
                subject=each.subject,
                what=rule.says.format(value=each.value, rest=1 - each.value, sample=each.sample),
                fix=rule.fix,
                since=now,
            )


def _of_queue(findings: Iterable[queue.Finding]) -> Iterator[Alert]:
    for finding in findings:
        yield Alert(
            key=f"queue:{finding.key}",
            severity=_OF_QUEUE[finding.severity],
            subject=finding.subject,
            what=finding.what,
            fix=finding.fix,
            since=finding.since,
        )

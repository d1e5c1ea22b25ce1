"""What is wrong with sending and who can mend it: findings from the ledger, one question each. Tells nobody itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import psycopg

from comms_pipeline.domain.message import PRIORITY, MessageClass
from comms_pipeline.ledger import alerts
from comms_pipeline.ledger.alerts import Concern, Trouble

DOUBT_SECONDS = 3600.0
"""Providers' own records are complete within minutes: what is unknown for longer resolves itself no more."""
OVERDUE_SECONDS = 900.0
"""Longer than a run takes to be asked for again after it died."""
URGENT_OVERDUE_SECONDS = 60.0
_URGENT = PRIORITY[MessageClass.TRANSACTIONAL]


class Severity(StrEnum):
    """Whether somebody has to act now."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something people should look at: `kind` and `subject` (a send or a lane) tell it from others."""

    kind: str
    severity: Severity
    subject: str
    what: str
    since: datetime
    fix: str

    @property
    def key(self) -> str:
        """The same as long as it is the same finding."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True, kw_only=True)
class _Question:
    ask: Callable[[psycopg.Connection], list[Concern]]
    severity: Severity
    what: str
    fix: str


_QUESTIONS: Mapping[str, _Question] = {
    "misconfigured": _Question(
        ask=lambda ledger: alerts.lanes_in_trouble(ledger, Trouble.MISCONFIGURED),
        severity=Severity.ERROR,
        what="the provider refuses us: {detail}",
        fix="Mend its settings, restart, see `comms doctor`",
    ),
    "urgent_overdue": _Question(
        ask=lambda ledger: alerts.urgent_overdue(ledger, URGENT_OVERDUE_SECONDS, urgent_priority=_URGENT),
        severity=Severity.ERROR,
        what="{messages:,} urgent messages are due and not sent",
        fix="Start `comms worker`",
    ),
    "overdue": _Question(
        ask=lambda ledger: alerts.overdue(ledger, OVERDUE_SECONDS, urgent_priority=_URGENT),
        severity=Severity.ERROR,
        what="{messages:,} messages are due in {detail} and nobody sends them",
        fix="Start `comms up`, and look at the send's last run in Dagster",
    ),
    "in_doubt": _Question(
        ask=lambda ledger: alerts.in_doubt(ledger, DOUBT_SECONDS),
        severity=Severity.ERROR,
        what="{messages:,} messages are in doubt in {detail}: the provider has not told whether it took them",
        fix="See that the provider's logs can be read with our key, and docs/runbook.md",
    ),
    "down": _Question(
        ask=lambda ledger: alerts.lanes_in_trouble(ledger, Trouble.DOWN),
        severity=Severity.WARNING,
        what="the provider counts as down: {detail}",
        fix="Wait, or configure a second provider for the channel",
    ),
    "dead_letters": _Question(
        ask=alerts.dead_letters,
        severity=Severity.WARNING,
        what="{messages:,} dead letters: {detail}",
        fix="Run `comms dead-letters retry --send {subject}`",
    ),
}
"""By kind, the gravest first."""


def findings(connection: psycopg.Connection) -> list[Finding]:
    """What people should look at now; empty when all is well."""
    return [
        _finding(kind, question, concern)
        for kind, question in _QUESTIONS.items()
        for concern in question.ask(connection)
    ]


def _finding(kind: str, question: _Question, concern: Concern) -> Finding:
    return Finding(
        kind=kind,
        severity=question.severity,
        subject=concern.subject,
        what=question.what.format(messages=concern.messages, detail=concern.detail),
        since=concern.since,
        fix=question.fix.format(subject=concern.subject),
    )

"""The last word before bytes leave: Postgres decides who of a claim may still get a message, and whether now.

Plans are hours or weeks old by then. Whether a claim may go says `quota`, who of it may says `recipients`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
import psycopg

from comms_pipeline.dispatch.payload import unpack
from comms_pipeline.dispatch.quota import Postponed, out_of_hours, over_quota
from comms_pipeline.dispatch.recipients import CHECKS, Round
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.ledger.batches import Claim
from comms_pipeline.providers.base import same_result


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A claim that may go: `payload` are the rows to send, `dropped` the results of those who must not get it."""

    claim: Claim
    payload: pl.DataFrame
    dropped: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What may go now, and what must wait until when."""

    admitted: list[Admitted]
    postponed: Postponed


def admit(
    connection: psycopg.Connection, claims: Sequence[Claim], *, now: datetime | None = None
) -> Admission:
    """Check claims, in the caller's transaction: what is admitted counts against quotas and caps when that commits."""
    now = now or datetime.now(UTC)
    postponed = out_of_hours(claims, now)
    postponed += over_quota(connection, _without(claims, postponed))
    return Admission(
        admitted=_checked(connection, _without(claims, postponed), now),
        postponed=postponed,
    )


def _without(claims: Sequence[Claim], postponed: Postponed) -> list[Claim]:
    late = {claim.batch_id for claim, _ in postponed}
    return [claim for claim in claims if claim.batch_id not in late]


def _checked(connection: psycopg.Connection, claims: Sequence[Claim], now: datetime) -> list[Admitted]:
    """Each check is asked of whom those before it left, so that a message has one reason."""
    left = {claim.batch_id: unpack(claim.payload) for claim in claims}
    dropped = {
        batch_id: [same_result(payload.clear(), OutcomeStatus.REFUSED)] for batch_id, payload in left.items()
    }
    asked = Round(connection=connection, claims=claims, left=left, now=now)
    for reason, check in CHECKS.items():
        for batch_id, is_refused in check(asked).items():
            refused = left[batch_id].filter(is_refused)
            left[batch_id] = left[batch_id].filter(~is_refused)
            dropped[batch_id].append(same_result(refused, OutcomeStatus.REFUSED, reason=reason))
    return [
        Admitted(claim=claim, payload=left[claim.batch_id], dropped=pl.concat(dropped[claim.batch_id]))
        for claim in claims
    ]

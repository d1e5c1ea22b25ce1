"""Whether a claim may go now: sending hours and quotas. Looks at no recipient."""

from collections.abc import Sequence
from datetime import datetime

import psycopg

from comms_pipeline.domain.hours import HORIZON, Hours
from comms_pipeline.domain.message import MessageClass
from comms_pipeline.ledger import limits
from comms_pipeline.ledger.batches import Claim

Postponed = list[tuple[Claim, datetime]]
"""Claims that must wait, and until when."""


def out_of_hours(claims: Sequence[Claim], now: datetime) -> Postponed:
    """Claims whose recipients may not be reached at `now`, with the first minute they may. Emergencies never wait."""
    postponed = []
    for claim in claims:
        if claim.hours is None or claim.message_class == MessageClass.EMERGENCY:
            continue
        opens_at = Hours.parse(claim.hours).first_open(now)
        if opens_at != now:
            # Without an open minute as far as can be told, they are asked again from there.
            postponed.append((claim, opens_at or now + HORIZON))
    return postponed


def over_quota(connection: psycopg.Connection, claims: Sequence[Claim]) -> Postponed:
    """Claims that exceed a quota, with the beginning of its next period; the others are counted as used."""
    periods = limits.open_periods(connection, {scope for claim in claims for scope in _scopes(claim)})
    if not periods:
        return []
    left = {(period.scope, period.period): period.remaining for period in periods}
    postponed = []
    for claim in claims:
        bound = [period for period in periods if period.scope in _scopes(claim)]
        # A batch larger than a whole quota goes when the period is fresh: it would wait for ever.
        full = [
            period
            for period in bound
            if not period.allowed
            or left[period.scope, period.period] < min(claim.message_count, period.allowed)
        ]
        if full:
            postponed.append((claim, max(period.ends_at for period in full)))
            continue
        for period in bound:
            left[period.scope, period.period] -= claim.message_count
    used = [(period, period.remaining - left[period.scope, period.period]) for period in periods]
    limits.use_quota(connection, [(period, count) for period, count in used if count])
    return postponed


def _scopes(claim: Claim) -> tuple[str, ...]:
    return f"organisation:{claim.organisation_id}", f"lane:{claim.lane}", f"warm-up:{claim.lane}"

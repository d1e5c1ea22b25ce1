"""The last word before bytes leave: Postgres decides who of a claim may still get a message, and whether now.

Plans are hours or weeks old by then. Suppressions, reply windows and quotas are asked for all claims at once.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import psycopg

from comms_pipeline.dispatch.payload import unpack
from comms_pipeline.domain.message import REPLY_WINDOWS, Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.ledger import limits, suppressions, windows
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
    postponed: list[tuple[Claim, datetime]]


def admit(connection: psycopg.Connection, claims: Sequence[Claim]) -> Admission:
    """Check claims, in the caller's transaction: what is admitted is counted against its quotas when that commits."""
    postponed = _over_quota(connection, claims)
    late = {claim.batch_id for claim, _ in postponed}
    return Admission(
        admitted=_checked(connection, [claim for claim in claims if claim.batch_id not in late]),
        postponed=postponed,
    )


def _checked(connection: psycopg.Connection, claims: Sequence[Claim]) -> list[Admitted]:
    payloads = {claim.batch_id: unpack(claim.payload) for claim in claims}
    keys: dict[tuple[str, Channel], list[bytes]] = defaultdict(list)
    for claim in claims:
        keys[claim.organisation_id, Channel(claim.channel)] += payloads[claim.batch_id][
            "address_key"
        ].to_list()
    # One question per organisation: the claims of a lane are of one channel.
    suppressed = {
        (organisation_id, channel): suppressions.suppressed(connection, organisation_id, channel, asked)
        for (organisation_id, channel), asked in keys.items()
    }
    answerable = _answerable(connection, claims, payloads)
    return [
        _split(
            claim,
            payloads[claim.batch_id],
            suppressed[claim.organisation_id, Channel(claim.channel)],
            answerable.get(claim.batch_id),
        )
        for claim in claims
    ]


def _answerable(
    connection: psycopg.Connection, claims: Sequence[Claim], payloads: Mapping[int, pl.DataFrame]
) -> dict[int, set[bytes]]:
    """Who may be sent free text, by batch of free text on a channel where it may only answer."""
    found: dict[int, set[bytes]] = {}
    for channel in REPLY_WINDOWS:
        windowed = [claim for claim in claims if claim.channel == channel]
        if not windowed:
            continue
        texts = windows.free_texts(connection, {claim.content_id for claim in windowed})
        answers = [claim.batch_id for claim in windowed if claim.content_id in texts]
        if answers:
            asked = [key for batch_id in answers for key in payloads[batch_id]["address_key"].to_list()]
            found |= dict.fromkeys(answers, windows.open_windows(connection, channel, asked))
    return found


def _split(
    claim: Claim, payload: pl.DataFrame, suppressed: set[bytes], answerable: set[bytes] | None
) -> Admitted:
    """`answerable`: the only ones who may get it; None when that is everybody."""
    if not suppressed and answerable is None:
        nobody = same_result(payload.clear(), OutcomeStatus.REFUSED)
        return Admitted(claim=claim, payload=payload, dropped=nobody)
    is_suppressed = _is_among(payload, suppressed)
    is_late = ~_is_among(payload, answerable) if answerable is not None else is_suppressed
    reasons = {RejectReason.SUPPRESSED: is_suppressed, RejectReason.WINDOW: is_late & ~is_suppressed}
    dropped = [
        same_result(payload.filter(which), OutcomeStatus.REFUSED, reason=reason)
        for reason, which in reasons.items()
    ]
    going = payload.filter(~(is_suppressed | is_late))
    return Admitted(claim=claim, payload=going, dropped=pl.concat(dropped))


def _is_among(payload: pl.DataFrame, keys: set[bytes]) -> pl.Series:
    return payload["address_key"].is_in(pl.Series(list(keys), dtype=pl.Binary).implode())


def _over_quota(connection: psycopg.Connection, claims: Sequence[Claim]) -> list[tuple[Claim, datetime]]:
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


def _scopes(claim: Claim) -> tuple[str, str]:
    return f"organisation:{claim.organisation_id}", f"lane:{claim.lane}"

"""What follows from a report: final results, what is in doubt, what goes again and when. Pure."""

import random
from dataclasses import dataclass

import polars as pl

from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.providers.base import RESULTS, SendReport

RETRY_DELAYS_SECONDS = (60, 300, 900, 3600)
"""Waits before the second to fifth attempt; after them a message is a dead letter: refused, `exhausted`."""
CONFIGURATION_DELAY_SECONDS = 900
"""How long a lane with refused credentials waits before anyone tries again."""
_JITTER = 0.1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`results` go to the outcome feed. `in_doubt`, `again` and `dead` are the payload rows of those messages."""

    results: pl.DataFrame
    in_doubt: pl.DataFrame
    again: pl.DataFrame
    dead: pl.DataFrame
    delay_seconds: float
    attempt: int


def judge(payload: pl.DataFrame, report: SendReport, *, attempt: int, randomness: random.Random) -> Verdict:
    """Split a batch by what happened. Every message of `payload` is in `report.results` exactly once.

    A wait the provider asked for, or a refused configuration, does not count as an attempt.
    """
    is_our_fault = report.stop is not None
    counts_as_attempt = report.retry_after_seconds is None and not is_our_fault
    is_exhausted = counts_as_attempt and attempt >= len(RETRY_DELAYS_SECONDS)
    results = report.results.match_to_schema(RESULTS)
    surely_not_sent = _with_status(payload, results, OutcomeStatus.DEFERRED)
    nobody = payload.clear()
    if is_exhausted:
        deferred = pl.col("status") == OutcomeStatus.DEFERRED
        results = results.with_columns(
            status=pl.when(deferred).then(pl.lit(str(OutcomeStatus.REFUSED))).otherwise("status"),
            reason=pl.when(deferred).then(pl.lit(str(RejectReason.EXHAUSTED))).otherwise("reason"),
        )
    if is_our_fault:
        delay = float(CONFIGURATION_DELAY_SECONDS)
    elif report.retry_after_seconds is not None:
        delay = report.retry_after_seconds
    else:
        delay = float(RETRY_DELAYS_SECONDS[min(attempt, len(RETRY_DELAYS_SECONDS) - 1)])
    delay *= 1 + _JITTER * randomness.random()
    return Verdict(
        results=results,
        in_doubt=_with_status(payload, results, OutcomeStatus.UNKNOWN),
        again=nobody if is_exhausted else surely_not_sent,
        dead=surely_not_sent if is_exhausted else nobody,
        delay_seconds=delay,
        attempt=attempt + 1 if counts_as_attempt else attempt,
    )


def _with_status(payload: pl.DataFrame, results: pl.DataFrame, status: OutcomeStatus) -> pl.DataFrame:
    ids = results.filter(pl.col("status") == status)["message_id"]
    if ids.is_empty():
        return payload.clear()
    return payload.filter(pl.col("message_id").is_in(ids.implode()))

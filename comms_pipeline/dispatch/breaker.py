"""Notices when a provider is down, so that a lane stops knocking and its messages take another way."""

import time

import polars as pl
import pybreaker

from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.providers.base import SendReport

FAULTS = 5
"""Batches in a row that the provider could not take before it counts as down."""
REST_SECONDS = 30.0
"""How long a provider that is down is left alone before one batch tries again."""

_ANSWERED = [str(OutcomeStatus.ACCEPTED), str(OutcomeStatus.REFUSED)]


class _ProviderDownError(Exception):
    """A batch that the provider could not take."""


def is_fault(report: SendReport) -> bool:
    """Whether this was the provider's own failing: nobody was answered, and it asked for no patience."""
    if report.error is None or report.stop is not None or report.retry_after_seconds is not None:
        return False
    return not report.results.select(pl.col("status").is_in(_ANSWERED).any()).item()


class Breaker:
    """One provider's health as this process sees it."""

    def __init__(self, *, faults: int = FAULTS, rest_seconds: float = REST_SECONDS) -> None:
        self._breaker = pybreaker.CircuitBreaker(fail_max=faults, reset_timeout=rest_seconds)
        self._rest_seconds = rest_seconds
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the provider is down; also while one batch tries again."""
        return bool(self._breaker.current_state == pybreaker.STATE_OPEN)

    @property
    def rest_seconds(self) -> float:
        """Seconds until one batch may try again; 0 when any may."""
        return max(self._open_until - time.monotonic(), 0.0) if self.is_open else 0.0

    def note(self, report: SendReport) -> None:
        """Learn from what became of a batch."""
        try:
            self._breaker.call(_raise_if, is_fault(report))
        except pybreaker.CircuitBreakerError:
            # Opened by this very batch, or told by one that was under way when it opened.
            if self.rest_seconds == 0:
                self._open_until = time.monotonic() + self._rest_seconds
        except _ProviderDownError:
            pass


def _raise_if(is_down: bool) -> None:
    if is_down:
        raise _ProviderDownError

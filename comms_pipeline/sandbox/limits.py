"""Rate limits as the providers state them: so many requests in a window of seconds. No HTTP."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """So many requests per window."""

    requests: int = 10_000
    window_seconds: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What one request was told: whether it may pass, and what its answer's headers say."""

    is_granted: bool
    limit: int
    remaining: int
    reset_at: int
    """Epoch seconds, rounded up."""
    retry_after_seconds: int


class RateLimiter:
    """Counts requests in fixed windows."""

    def __init__(self, limit: RateLimit | None = None) -> None:
        self._limit = limit or RateLimit()
        self._window = 0.0
        self._used = 0

    def take(self, now: float) -> Allowance:
        """Ask to pass at `now` (epoch seconds)."""
        limit = self._limit
        window = now - now % limit.window_seconds
        if window != self._window:
            self._window, self._used = window, 0
        is_granted = self._used < limit.requests
        self._used += is_granted
        ends_at = window + limit.window_seconds
        return Allowance(
            is_granted=is_granted,
            limit=limit.requests,
            remaining=limit.requests - self._used,
            reset_at=ceil(ends_at),
            retry_after_seconds=max(1, ceil(ends_at - now)),
        )

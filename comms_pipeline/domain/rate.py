"""How fast a provider may be asked."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Requests per second, and how many may go at once after a quiet time."""

    per_second: float
    burst: float

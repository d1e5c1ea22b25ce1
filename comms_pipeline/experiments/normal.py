"""The normal distribution, accurate in its tails. Nothing about tests of variants."""

from dataclasses import dataclass
from math import erfc, sqrt
from statistics import NormalDist

_STANDARD = NormalDist()


@dataclass(frozen=True, kw_only=True)
class Interval:
    """From `low` to `high`, both included."""

    low: float
    high: float


def quantile(share: float) -> float:
    """The point with `share` (0–1, exclusive) of the distribution below it."""
    return _STANDARD.inv_cdf(share)


def two_sided_quantile(level: float) -> float:
    """How many standard errors to either side hold `level` of the distribution: 1.96 for 0.95."""
    return quantile(0.5 + level / 2)


def below(point: float) -> float:
    """The share of the distribution below a point."""
    # erfc keeps its digits where 1 - x would lose them.
    return 0.5 * erfc(-point / sqrt(2))


def two_sided_p_value(z: float) -> float:
    """The share of the distribution at least as far from 0 as `z`."""
    return erfc(abs(z) / sqrt(2))

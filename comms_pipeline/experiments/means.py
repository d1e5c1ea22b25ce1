"""Means and their difference, looked at once, from sums alone: variances may differ. Rates are `rates`' work."""

from dataclasses import dataclass
from math import exp, sqrt

from comms_pipeline.experiments.normal import Interval, two_sided_quantile
from comms_pipeline.experiments.rates import LEVEL


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Contacts, the sum of a value over them, and the sum of its squares; who has none counts 0."""

    contacts: int
    total: float
    squares: float

    @property
    def value(self) -> float | None:
        """The mean; None without contacts."""
        return self.total / self.contacts if self.contacts else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the sample (n − 1); None for fewer than two contacts."""
        if self.contacts < 2:
            return None
        # Rounding may leave a little less than nothing where all values are alike.
        around = max(0.0, self.squares - self.total * self.total / self.contacts)
        return sqrt(around / (self.contacts - 1))

    @property
    def variance(self) -> float:
        """Of the mean as an estimate; for two contacts or more."""
        return (self.deviation or 0.0) ** 2 / self.contacts


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Treated less control: the interval and the two-sided p-value of looking once."""

    interval: Interval
    p_value: float


def welch(treated: Mean, control: Mean, level: float = LEVEL) -> Difference | None:
    """Welch's test and interval, for variances that differ; None for fewer than two contacts or without variance.

    Source: Welch (1947), The generalization of 'Student's' problem when several different population variances are
    involved, Biometrika 34, 28–35; degrees of freedom after Satterthwaite (1946), Biometrics Bulletin 2, 110–114.
    """
    from scipy.special import stdtr, stdtrit

    if min(treated.contacts, control.contacts) < 2:
        return None
    one, other = treated.variance, control.variance
    if one + other == 0:
        return None
    freedom = (one + other) ** 2 / (one**2 / (treated.contacts - 1) + other**2 / (control.contacts - 1))
    difference = treated.total / treated.contacts - control.total / control.contacts
    error = sqrt(one + other)
    reach = float(stdtrit(freedom, 0.5 + level / 2)) * error
    return Difference(
        interval=Interval(low=difference - reach, high=difference + reach),
        p_value=2 * float(stdtr(freedom, -abs(difference) / error)),
    )


def uplift(treated: Mean, control: Mean, level: float = LEVEL) -> Interval | None:
    """The interval of treated over control less 1; None unless both means are above 0.

    Normal on the log scale by the delta method. Source: Deng, Knoblich & Lu (2018), Applying the delta method in
    metric analytics, KDD 2018, section 3.
    """
    if min(treated.contacts, control.contacts) < 2 or min(treated.total, control.total) <= 0:
        return None
    one, other = treated.total / treated.contacts, control.total / control.contacts
    error = sqrt(treated.variance / one**2 + control.variance / other**2)
    reach = two_sided_quantile(level) * error
    return Interval(low=one / other * exp(-reach) - 1, high=one / other * exp(reach) - 1)

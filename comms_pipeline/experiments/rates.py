"""Rates and their difference, looked at once: interval, p-value, ratio. Looking daily is for `sequential`."""

from dataclasses import dataclass
from math import exp, log, sqrt

from comms_pipeline.experiments.normal import Interval, two_sided_p_value, two_sided_quantile

LEVEL = 0.95
"""How sure intervals are."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How many of some contacts did something. 0 ≤ successes ≤ contacts."""

    successes: int
    contacts: int

    @property
    def value(self) -> float | None:
        """Successes over contacts; None without contacts."""
        return self.successes / self.contacts if self.contacts else None

    @property
    def variance(self) -> float:
        """Of the rate as an estimate, never 0: with one success and one failure added.

        Source: Agresti & Caffo (2000), Simple and effective confidence intervals for proportions, The American
        Statistician 54(4), 280–288; there for a difference of two rates, one of each for either rate.
        """
        share = (self.successes + 1) / (self.contacts + 2)
        return share * (1 - share) / (self.contacts + 2)


def wilson(rate: Rate, level: float = LEVEL) -> Interval:
    """The score interval of one rate; `rate` has contacts.

    Source: Wilson (1927), Journal of the American Statistical Association 22, 209–212.
    """
    z = two_sided_quantile(level)
    n, share = rate.contacts, rate.successes / rate.contacts
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # Rounding must not leave 0 or 1 outside, where they are what was seen.
    low = 0.0 if rate.successes == 0 else max(0.0, centre - reach)
    return Interval(low=low, high=1.0 if rate.successes == n else min(1.0, centre + reach))


def newcombe(treated: Rate, control: Rate, level: float = LEVEL) -> Interval:
    """The interval of treated less control: Newcombe's hybrid of two Wilson intervals (his method 10).

    Taken rather than Wald's because it stays within −1 and 1 and keeps its promise for rates near 0, as complaints
    are, and for few contacts. Source: Newcombe (1998), Interval estimation for the difference between independent
    proportions, Statistics in Medicine 17, 873–890.
    """
    one, other = treated.successes / treated.contacts, control.successes / control.contacts
    of_one, of_other = wilson(treated, level), wilson(control, level)
    difference = one - other
    return Interval(
        low=difference - sqrt((one - of_one.low) ** 2 + (of_other.high - other) ** 2),
        high=difference + sqrt((of_one.high - one) ** 2 + (other - of_other.low) ** 2),
    )


def p_value(treated: Rate, control: Rate) -> float:
    """Two-sided, of the z test of two proportions with pooled variance; 1 where nobody or everybody succeeded.

    Source: Fleiss, Levin & Paik (2003), Statistical Methods for Rates and Proportions, section 3.1, without
    continuity correction; its square is Pearson's chi-square of the 2×2 table.
    """
    n, m = treated.contacts, control.contacts
    pooled = (treated.successes + control.successes) / (n + m)
    error = sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    if error == 0:
        return 1.0
    return two_sided_p_value((treated.successes / n - control.successes / m) / error)


def uplift(treated: Rate, control: Rate, level: float = LEVEL) -> Interval | None:
    """The interval of treated over control less 1; None unless both have successes.

    Normal on the log scale. Source: Katz et al. (1978), Obtaining confidence intervals for the risk ratio in cohort
    studies, Biometrics 34, 469–474.
    """
    if not (treated.successes and control.successes):
        return None
    error = sqrt(1 / treated.successes - 1 / treated.contacts + 1 / control.successes - 1 / control.contacts)
    ratio = log(treated.successes / treated.contacts) - log(control.successes / control.contacts)
    reach = two_sided_quantile(level) * error
    return Interval(low=exp(ratio - reach) - 1, high=exp(ratio + reach) - 1)

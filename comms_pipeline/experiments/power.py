"""How many contacts a test needs, and what chance it has to find a difference that is there.

Two-sided at `alpha`. `ratio` is treated contacts for each of the control. `is_sequential` is for who looks again and
again: the chance is that of having found it by then.
"""

from collections.abc import Callable
from math import ceil, sqrt

from comms_pipeline.experiments import sequential
from comms_pipeline.experiments.normal import below, quantile

POWER = 0.8
"""The chance wanted, if nothing else is said."""
MOST_CONTACTS = 10**12
"""Of the control; whoever needs more needs another question."""


def power_of_rates(
    contacts: int,
    control: float,
    treated: float,
    *,
    ratio: float = 1.0,
    alpha: float = sequential.ALPHA,
    is_sequential: bool = False,
) -> float:
    """The chance to find that rates `control` and `treated` (0–1, exclusive) differ, with `contacts` of the control.

    Source: Fleiss, Levin & Paik (2003), Statistical Methods for Rates and Proportions, section 4.2: pooled variance
    under no difference, each rate's own otherwise.
    """
    others = contacts * ratio
    pooled = (control + treated * ratio) / (1 + ratio)
    error = sqrt(control * (1 - control) / contacts + treated * (1 - treated) / others)
    if is_sequential:
        harmonic = contacts * others / (contacts + others)
        return _beyond(
            abs(treated - control),
            sequential.boundary(harmonic * pooled / (1 - pooled), alpha) * error,
            error,
        )
    null_error = sqrt(pooled * (1 - pooled) * (1 / contacts + 1 / others))
    return _beyond(abs(treated - control), quantile(1 - alpha / 2) * null_error, error)


def power_of_means(
    contacts: int,
    difference: float,
    deviation: float,
    *,
    ratio: float = 1.0,
    alpha: float = sequential.ALPHA,
    is_sequential: bool = False,
    share: float = 0.5,
) -> float:
    """The chance to find a difference of means with `contacts` of the control and a common standard deviation.

    `share` (0–1, exclusive) is that of contacts with another value than 0, which sets the clock of a sequential
    reading. Normal approximation, source: Chow, Shao & Wang (2008), Sample Size Calculations in Clinical Research, 3.2.
    """
    others = contacts * ratio
    error = deviation * sqrt(1 / contacts + 1 / others)
    critical = quantile(1 - alpha / 2)
    if is_sequential:
        critical = sequential.boundary(contacts * others / (contacts + others) * share / (1 - share), alpha)
    return _beyond(abs(difference), critical * error, error)


def contacts_needed(power_with: Callable[[int], float], power: float = POWER) -> int | None:
    """The fewest contacts of the control with which `power_with` reaches `power`; None where none do.

    The chance grows with the contacts, so the answer is found by halving.
    """
    low, high = 1, 2
    while power_with(high) < power:
        low, high = high, high * 2
        if high > MOST_CONTACTS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_with(middle) >= power else (middle, high)
    return high


def of_treated(contacts: int, ratio: float) -> int:
    """Contacts of a treated arm for so many of the control."""
    return ceil(contacts * ratio - 1e-9)


def _beyond(difference: float, critical: float, error: float) -> float:
    return below((difference - critical) / error) + below((-difference - critical) / error)

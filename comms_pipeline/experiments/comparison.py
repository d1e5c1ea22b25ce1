"""One arm against another: everything that is said of their difference. Which arms and why is `reading`'s."""

from dataclasses import dataclass
from math import sqrt

from comms_pipeline.experiments import means, rates, sequential
from comms_pipeline.experiments.means import Mean
from comms_pipeline.experiments.normal import Interval
from comms_pipeline.experiments.rates import Rate


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Treated less control. Intervals are of 95 % and for this comparison alone; None: cannot be told.

    `once` and `p_value` hold for who looks once, `always` and `always_p_value` at every look. `uplift` is relative:
    0.1 is a tenth more than control.
    """

    difference: float
    once: Interval | None
    p_value: float
    uplift: float | None
    uplift_interval: Interval | None
    always: Interval | None
    always_p_value: float


def compare_rates(treated: Rate, control: Rate) -> Comparison | None:
    """None where an arm has no contacts."""
    if not (treated.contacts and control.contacts):
        return None
    one, other = treated.successes / treated.contacts, control.successes / control.contacts
    reached = sequential.information(
        treated.contacts, control.contacts, treated.successes + control.successes
    )
    error = sqrt(treated.variance + control.variance)
    return Comparison(
        difference=one - other,
        once=rates.newcombe(treated, control),
        p_value=rates.p_value(treated, control),
        uplift=one / other - 1 if other else None,
        uplift_interval=rates.uplift(treated, control),
        always=sequential.interval(one - other, error, reached),
        always_p_value=sequential.p_value(one - other, error, reached),
    )


def compare_means(treated: Mean, control: Mean, successes: int) -> Comparison | None:
    """`successes`: contacts of both arms whose value is not 0. None where an arm has no contacts."""
    if not (treated.contacts and control.contacts):
        return None
    one, other = treated.total / treated.contacts, control.total / control.contacts
    tested = means.welch(treated, control)
    reached = sequential.information(treated.contacts, control.contacts, successes)
    error = sqrt(treated.variance + control.variance)
    return Comparison(
        difference=one - other,
        once=tested.interval if tested else None,
        p_value=tested.p_value if tested else 1.0,
        uplift=one / other - 1 if other else None,
        uplift_interval=means.uplift(treated, control),
        always=sequential.interval(one - other, error, reached) if tested else None,
        always_p_value=sequential.p_value(one - other, error, reached) if tested else 1.0,
    )

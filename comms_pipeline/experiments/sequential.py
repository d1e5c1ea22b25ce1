"""Reading a test again and again: p-values and intervals that hold at every look. Looking once: `rates`, `means`.

A fixed-horizon p-value looked at daily is below 0.05 at some time far more often than in 5 % of tests of nothing. The
mixture sequential probability ratio test does without that fault: under no difference its likelihood ratio is a
martingale that starts at 1, so it ever exceeds 1/α with a probability of α at most (Ville's inequality), whenever and
however often one looks.

Sources: Robbins (1970), Statistical methods related to the law of the iterated logarithm, Annals of Mathematical
Statistics 41, 1397–1409 (the normal mixture); Johari, Koomen, Pekelis & Walsh (2022), Always valid inference,
Operations Research 70(3), 1806–1821 (A/B tests); Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Time-uniform
central limit theory and asymptotic confidence sequences, Annals of Statistics 52(6), 2613–2640 (estimated variances,
and the choice of the mixture). Like every result from sums alone it is asymptotic: a verdict waits for some successes.
"""

from math import exp, log, sqrt

from comms_pipeline.experiments.normal import Interval

ALPHA = 0.05
"""How often at most a test of nothing may find something."""
TIGHTEST_AT = 100.0
"""The information (see below) at which intervals are tightest: about 200 successes in each of two equal arms. Fixed
beforehand, as the method asks; ten times more or less costs little."""


def information(contacts: int, other_contacts: int, successes: int) -> float:
    """How far a comparison has come: harmonic contacts times the odds of success, over both arms.

    It is the clock of the test. Whether contacts join or the contacts at hand go on to open and buy, the difference
    in units of its standard error moves like a Brownian motion over this clock, as the theory asks: at fixed rates it
    grows with the contacts, and at fixed contacts with F/(1 − F), the clock of an empirical distribution F.
    """
    total = contacts + other_contacts
    return harmonic(contacts, other_contacts) * (successes + 1) / (total - successes + 1)


def harmonic(contacts: int, other_contacts: int) -> float:
    """1 / (1/n + 1/m): contacts as they count for a difference; both above 0."""
    return contacts * other_contacts / (contacts + other_contacts)


def _ratio(reached: float) -> float:
    """The mixture's variance over that of the estimate.

    Waudby-Smith et al., section 2.2: the interval is tightest where it is −2 ln α + ln(1 − 2 ln α).
    """
    return reached / TIGHTEST_AT * (-2 * log(ALPHA) + log(1 - 2 * log(ALPHA)))


def boundary(reached: float, alpha: float = ALPHA) -> float:
    """How many standard errors from 0 are significant at this information, whenever one looks. `reached` > 0."""
    ratio = _ratio(reached)
    return sqrt((1 + ratio) / ratio * (log(1 + ratio) - 2 * log(alpha)))


def p_value(difference: float, error: float, reached: float) -> float:
    """The always-valid p-value of a difference with its standard error: 1 over the mixture likelihood ratio."""
    if error == 0:
        return 1.0
    ratio = _ratio(reached)
    exponent = (difference / error) ** 2 * ratio / (2 * (1 + ratio))
    return min(1.0, sqrt(1 + ratio) * exp(-exponent))


def interval(difference: float, error: float, reached: float, alpha: float = ALPHA) -> Interval:
    """The confidence sequence at this look: all of them together hold the truth with 1 − α."""
    reach = error * boundary(reached, alpha)
    return Interval(low=difference - reach, high=difference + reach)

"""Several comparisons at once, and whether the arms have the sizes they were meant to have."""

from collections.abc import Sequence

MISMATCH = 0.001
"""A sample-ratio p-value below this says that something is broken, not that chance had its way."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value adjusted, so that all at once err no more often than one would; in the same order.

    Holds for always-valid p-values as it does for others: it asks nothing of them but that each is one.
    Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[position] * (len(p_values) - rank)))
        adjusted[position] = highest
    return adjusted


def sample_ratio_p_value(contacts: Sequence[int], shares: Sequence[float]) -> float | None:
    """How likely arms at least so far from their intended `shares` (above 0, of any sum) are by chance.

    Pearson's chi-square of the counts; None for one arm or nobody. Below `MISMATCH` no figure of the test can be
    trusted. Source: Fabijan et al. (2019), Diagnosing sample ratio mismatch in online controlled experiments, KDD.
    """
    from scipy.special import chdtrc

    total = sum(contacts)
    if len(contacts) < 2 or total == 0:
        return None
    expected = [total * share / sum(shares) for share in shares]
    statistic = sum((seen - meant) ** 2 / meant for seen, meant in zip(contacts, expected, strict=True))
    return float(chdtrc(len(contacts) - 1, statistic))

"""What a campaign tests: arms with the shares they were meant to have, and what decides. Counts nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.experiment import HOLDOUT, Metric

UNVARIED = ""
"""The arm of those who get the message of a campaign without variants."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """One test. `shares`: what part of the contacts each arm was meant to have, by name; they sum to 1."""

    campaign_id: str
    organisation_id: str
    versions: tuple[int, ...]
    """The campaign's versions that shared contacts out in the same way; their sends make up the test."""
    shares: Mapping[str, float]
    metric: Metric
    window_days: int
    minimum_uplift: float

    @property
    def variants(self) -> tuple[str, ...]:
        """The arms that get something, as listed in the file; the first is what the others are compared with."""
        return tuple(arm for arm in self.shares if arm != HOLDOUT)

    @property
    def has_holdout(self) -> bool:
        """Whether some contacts get nothing."""
        return HOLDOUT in self.shares

    def deciding_metric(self, control: str) -> Metric:
        """By which metric arms are judged against `control`: of a holdout, opens and clicks are not known."""
        if control == HOLDOUT and not self.metric.is_known_of_holdout:
            return Metric.CONVERSION
        return self.metric


def design_of(versions: Sequence[tuple[int, CampaignSpec]]) -> Design | None:
    """The latest test of a campaign, of all its versions in rising order; None if it never tested anything.

    Versions after the test, without variants, do not end what can be read of it. Others that share contacts out
    differently begin a new one: pooled over changing shares, whatever changes with time would look like an effect.
    """
    tested = [each for each in versions if _is_test(each[1])]
    if not tested:
        return None
    _, spec = tested[-1]
    same = list(takewhile(lambda each: _allocation(each[1]) == _allocation(spec), reversed(tested)))
    arms = [(variant.name, variant.weight) for variant in spec.variants] or [(UNVARIED, 1)]
    whole = sum(weight for _, weight in arms)
    shares = {name: (1 - spec.holdout) * weight / whole for name, weight in arms}
    default = Metric.HUMAN_CLICK if len(arms) > 1 else Metric.CONVERSION
    return Design(
        campaign_id=spec.id,
        organisation_id=spec.organisation,
        versions=tuple(sorted(version for version, _ in same)),
        shares=shares | ({HOLDOUT: spec.holdout} if spec.holdout else {}),
        metric=spec.experiment.metric or default,
        window_days=spec.experiment.window_days,
        minimum_uplift=spec.experiment.minimum_uplift,
    )


def _is_test(spec: CampaignSpec) -> bool:
    return len(spec.variants) > 1 or spec.holdout > 0


def _allocation(spec: CampaignSpec) -> tuple[object, ...]:
    weights = tuple((variant.name, variant.weight) for variant in spec.variants)
    return weights, spec.holdout, spec.experiment.assign_by, dict(spec.experiment.arms)

"""How a test of variants, or against a holdout, is assigned and read, as a campaign file says it. Computes nothing."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from comms_pipeline.domain.fields import Slug
from comms_pipeline.domain.segment import FieldPath
from comms_pipeline.domain.validation import Strict, fault, nearest

HOLDOUT = "holdout"
"""The arm of those who get nothing, to compare with; no variant is called so."""

_ATTRIBUTE = "attributes."


class Metric(StrEnum):
    """What is counted of each contact of a test."""

    HUMAN_OPEN = "human_open"
    HUMAN_CLICK = "human_click"
    CONVERSION = "conversion"
    """Whether it converted within the window, whatever message got the credit."""
    REVENUE = "revenue"
    """The value of its conversions within the window, 0 for most."""
    UNSUBSCRIBE = "unsubscribe"
    COMPLAINT = "complaint"

    @property
    def is_known_of_holdout(self) -> bool:
        """Whether it can be told of contacts who got no message."""
        return self in (Metric.CONVERSION, Metric.REVENUE)

    @property
    def is_guardrail(self) -> bool:
        """Whether less of it is better: no variant wins that has more."""
        return self in (Metric.UNSUBSCRIBE, Metric.COMPLAINT)


def _without_prefix(value: object) -> object:
    # Elsewhere attributes go by their own name; both spellings are understood.
    return value.removeprefix(_ATTRIBUTE) if isinstance(value, str) else value


def _with_text_keys(value: object) -> object:
    """YAML reads `1:` as a number and `yes:` as true; the attribute is compared as text."""
    if not isinstance(value, Mapping):
        return value
    return {str(key).lower() if isinstance(key, bool) else str(key): arm for key, arm in value.items()}


class Experiment(Strict):
    """What decides a test, and, for one that was assigned elsewhere, where the assignment stands."""

    metric: Metric | None = None
    """By which arms are judged. None: `human_click`; `conversion` where only a holdout is compared with."""
    window_days: Annotated[int, Field(ge=1, le=365)] = 7
    """How long after the latest send conversions count, of every arm alike."""
    minimum_uplift: Annotated[float, Field(gt=0, le=10)] = 0.1
    """The smallest relative difference worth finding; says how many contacts a test needs."""
    assign_by: Annotated[FieldPath, BeforeValidator(_without_prefix)] | None = None
    """The attribute that holds each contact's arm, without `attributes.`. None: arms are drawn here."""
    arms: Annotated[Mapping[str, Slug], BeforeValidator(_with_text_keys)] = {}
    """The variant (or `holdout`) for each value of `assign_by`."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.metric is not None and self.metric.is_guardrail:
            raise fault(
                f"'{self.metric}' does not decide a test; every winner is held against it anyway",
                "Use one of: human_open, human_click, conversion, revenue",
            )
        if self.assign_by is not None and not self.arms:
            raise fault("'assign_by' needs 'arms'", "Add 'arms:' with the variant for each value")
        if self.arms and self.assign_by is None:
            raise fault("'arms' needs 'assign_by'", "Add 'assign_by:' with the attribute's name")
        return self

    def require_fit(self, variants: Sequence[str], holdout: float) -> None:
        """Raises a fault where it does not go with the campaign's variants and its holdout share."""
        if self == Experiment():
            return
        if len(variants) < 2 and not holdout:
            raise fault("there is nothing to compare", "Add two 'variants:', or a 'holdout:'")
        is_known = self.metric is None or self.metric.is_known_of_holdout
        if len(variants) < 2 and not is_known:
            raise fault(
                f"'{self.metric}' is not known of who gets no message",
                "Use conversion or revenue, or add variants",
            )
        if self.arms:
            self._require_arms(variants, holdout)

    def _require_arms(self, variants: Sequence[str], holdout: float) -> None:
        if not variants:
            raise fault("'arms' has no variant to lead to", "Add 'variants:', one at least")
        named, known = set(self.arms.values()), {*variants, HOLDOUT}
        for arm in self.arms.values():
            if arm not in known:
                raise fault(f"'{arm}' is neither a variant nor '{HOLDOUT}'", nearest(arm, known))
        for variant in variants:
            if variant not in named:
                raise fault(
                    f"no value of 'arms' leads to variant '{variant}'", "Add the value, or drop the variant"
                )
        if (HOLDOUT in named) != (holdout > 0):
            raise fault(
                "'arms' and 'holdout' disagree on whether contacts are held out",
                "Write the intended share under 'holdout:' and the value for it under 'arms:', or neither",
            )

"""The rows of `mart.experiments`: every arm with its figures, and against whom it is compared. From counts alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from comms_pipeline.domain.experiment import HOLDOUT, Metric
from comms_pipeline.experiments import power
from comms_pipeline.experiments.comparison import Comparison, compare_means, compare_rates
from comms_pipeline.experiments.design import Design
from comms_pipeline.experiments.means import Mean
from comms_pipeline.experiments.rates import Rate
from comms_pipeline.experiments.sequential import ALPHA
from comms_pipeline.experiments.several import MISMATCH, holm, sample_ratio_p_value
from comms_pipeline.experiments.verdicts import (
    FEWEST_SPENDERS,
    FEWEST_SUCCESSES,
    HARM,
    Evidence,
    Verdict,
    verdict,
)

EVERY_CHANNEL = "all"
"""The channel of a campaign as a whole. Holdouts are compared here alone: they have no channel."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What is counted of one arm: contacts, those who did what `metric` says, and of revenue the sums in `currency`."""

    channel: str
    variant: str
    metric: Metric
    currency: str | None = None
    contacts: int
    successes: int
    total: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arm, one metric, against one control (None: it is what others are compared with). Columns of the mart."""

    channel: str
    variant: str
    control: str | None
    metric: Metric
    currency: str | None
    contacts: int
    successes: int
    rate: float | None
    mean: float | None
    standard_deviation: float | None
    control_contacts: int | None = None
    control_successes: int | None = None
    control_rate: float | None = None
    control_mean: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    uplift: float | None = None
    uplift_low: float | None = None
    uplift_high: float | None = None
    sequential_low: float | None = None
    sequential_high: float | None = None
    sequential_p_value: float | None = None
    adjusted_sequential_p_value: float | None = None
    expected_share: float
    sample_ratio_p_value: float | None
    is_sample_ratio_off: bool
    is_deciding: bool = False
    verdict: Verdict | None = None
    contacts_needed: int | None = None


def read(design: Design, counted: Iterable[Statistics]) -> list[Row]:
    """Everything the mart says of one test, by channel, metric, currency, control and arm, in the file's order.

    An arm without contacts is there with zeros. What is counted of arms that the design does not know is left out.
    """
    by_channel: dict[str, list[Statistics]] = {}
    for each in counted:
        if each.variant in design.shares:
            by_channel.setdefault(each.channel, []).append(each)
    # The campaign as a whole first.
    channels = sorted(by_channel, key=lambda channel: (channel != EVERY_CHANNEL, channel))
    return [row for channel in channels for row in _Channel(design, channel, by_channel[channel]).rows()]


class _Channel:
    """The rows of one channel."""

    def __init__(self, design: Design, channel: str, counted: Sequence[Statistics]) -> None:
        self._design = design
        self._channel = channel
        self._found = {(each.metric, each.currency, each.variant): each for each in counted}
        # Who gets nothing has no channel.
        self._arms = [arm for arm in design.shares if arm != HOLDOUT or channel == EVERY_CHANNEL]
        self._contacts = {each.variant: each.contacts for each in counted}
        shares = [design.shares[arm] for arm in self._arms]
        self._shares = {arm: share / sum(shares) for arm, share in zip(self._arms, shares, strict=True)}
        self._sample_ratio = sample_ratio_p_value([self._contacts.get(arm, 0) for arm in self._arms], shares)

    def rows(self) -> Iterator[Row]:
        for metric in Metric:
            currencies = {currency for kind, currency, _ in self._found if kind is metric}
            for currency in sorted(currencies, key=lambda each: each or ""):
                yield from self._of_metric(metric, currency)

    def _of_metric(self, metric: Metric, currency: str | None) -> Iterator[Row]:
        arms = [arm for arm in self._arms if arm != HOLDOUT or metric.is_known_of_holdout]
        variants = [arm for arm in arms if arm != HOLDOUT]
        controls = [HOLDOUT] if HOLDOUT in arms else []
        controls += variants[:1] if len(variants) > 1 else []
        compared: set[str] = set()
        for control in controls:
            treated = [arm for arm in variants if arm != control]
            compared.update(treated)
            yield from self._against(control, treated, metric, currency)
        for arm in arms:
            if arm not in compared:
                yield self._alone(self._of(arm, metric, currency))

    def _against(
        self, control: str, treated: Sequence[str], metric: Metric, currency: str | None
    ) -> Iterator[Row]:
        """The rows of one family of comparisons: those that are adjusted for one another."""
        other = self._of(control, metric, currency)
        pairs = [
            (each, _compare(each, other)) for each in (self._of(arm, metric, currency) for arm in treated)
        ]
        known = [comparison for _, comparison in pairs if comparison is not None]
        once = iter(holm([each.p_value for each in known]))
        always = iter(holm([each.always_p_value for each in known]))
        for each, comparison in pairs:
            row = self._beside(self._alone(each), other)
            if comparison is not None:
                row = _compared(row, comparison, next(once), next(always))
            yield self._judged(row, each, other, comparisons=len(treated))

    def _of(self, arm: str, metric: Metric, currency: str | None) -> Statistics:
        nothing = Statistics(
            channel=self._channel,
            variant=arm,
            metric=metric,
            currency=currency,
            contacts=self._contacts.get(arm, 0),
            successes=0,
        )
        return self._found.get((metric, currency, arm), nothing)

    def _alone(self, counted: Statistics) -> Row:
        is_money = counted.metric is Metric.REVENUE
        mean = _mean(counted)
        return Row(
            channel=self._channel,
            variant=counted.variant,
            control=None,
            metric=counted.metric,
            currency=counted.currency,
            contacts=counted.contacts,
            successes=counted.successes,
            rate=None if is_money else _rate(counted).value,
            mean=mean.value if is_money else None,
            standard_deviation=mean.deviation if is_money else None,
            expected_share=self._shares[counted.variant],
            sample_ratio_p_value=self._sample_ratio,
            is_sample_ratio_off=self._sample_ratio is not None and self._sample_ratio < MISMATCH,
        )

    def _beside(self, row: Row, control: Statistics) -> Row:
        shown = self._alone(control)
        return replace(
            row,
            control=control.variant,
            control_contacts=shown.contacts,
            control_successes=shown.successes,
            control_rate=shown.rate,
            control_mean=shown.mean,
            is_deciding=row.metric is self._design.deciding_metric(control.variant),
        )

    def _judged(self, row: Row, treated: Statistics, control: Statistics, *, comparisons: int) -> Row:
        if not row.is_deciding:
            return row
        is_money = row.metric is Metric.REVENUE
        found = verdict(
            Evidence(
                contacts=min(treated.contacts, control.contacts),
                successes=treated.successes + control.successes,
                fewest_successes=FEWEST_SPENDERS if is_money else FEWEST_SUCCESSES,
                difference=row.difference or 0.0,
                p_value=1.0 if row.adjusted_sequential_p_value is None else row.adjusted_sequential_p_value,
                sample_ratio_p_value=self._sample_ratio,
                is_harmful=self._is_harmful(treated.variant, control.variant),
            )
        )
        needed = None
        if found in (Verdict.UNDECIDED, Verdict.TOO_FEW):
            needed = more_contacts(treated, control, self._design.minimum_uplift, ALPHA / comparisons)
        return replace(row, verdict=found, contacts_needed=needed)

    def _is_harmful(self, arm: str, control: str) -> bool:
        """More unsubscribes or complaints than the control; a holdout, who cannot, gives way to the first variant."""
        first = self._design.variants[0] if control == HOLDOUT else control
        if arm == first:
            return False
        pairs = [
            _compare(self._of(arm, metric, None), self._of(first, metric, None))
            for metric in Metric
            if metric.is_guardrail
        ]
        return any(each is not None and each.difference > 0 and each.p_value < HARM for each in pairs)


def more_contacts(treated: Statistics, control: Statistics, uplift: float, alpha: float) -> int | None:
    """How many more contacts the treated arm needs, both growing alike, to find `uplift` over the control's figure.

    Looked at again and again, with the usual chance of 80 %. 0: there are enough. None: the control did nothing yet.
    """
    if not (treated.contacts and control.contacts and control.successes):
        return None
    ratio = treated.contacts / control.contacts
    share = control.successes / control.contacts
    if control.metric is Metric.REVENUE:
        mean = _mean(control)
        if not mean.value or not mean.deviation or share >= 1:
            return None
        chance = partial(
            power.power_of_means,
            difference=mean.value * uplift,
            deviation=mean.deviation,
            share=share,
            ratio=ratio,
            alpha=alpha,
            is_sequential=True,
        )
    else:
        wanted = share * (1 + uplift)
        if wanted >= 1:
            return None
        chance = partial(
            power.power_of_rates, control=share, treated=wanted, ratio=ratio, alpha=alpha, is_sequential=True
        )
    needed = power.contacts_needed(chance)
    if needed is None:
        return None
    return max(0, power.of_treated(needed, ratio) - treated.contacts)


def _compare(treated: Statistics, control: Statistics) -> Comparison | None:
    if treated.metric is Metric.REVENUE:
        return compare_means(_mean(treated), _mean(control), treated.successes + control.successes)
    return compare_rates(_rate(treated), _rate(control))


def _compared(row: Row, comparison: Comparison, once: float, always: float) -> Row:
    return replace(
        row,
        difference=comparison.difference,
        difference_low=comparison.once.low if comparison.once else None,
        difference_high=comparison.once.high if comparison.once else None,
        p_value=comparison.p_value,
        adjusted_p_value=once,
        uplift=comparison.uplift,
        uplift_low=comparison.uplift_interval.low if comparison.uplift_interval else None,
        uplift_high=comparison.uplift_interval.high if comparison.uplift_interval else None,
        sequential_low=comparison.always.low if comparison.always else None,
        sequential_high=comparison.always.high if comparison.always else None,
        sequential_p_value=comparison.always_p_value,
        adjusted_sequential_p_value=always,
    )


def _rate(counted: Statistics) -> Rate:
    return Rate(successes=counted.successes, contacts=counted.contacts)


def _mean(counted: Statistics) -> Mean:
    return Mean(contacts=counted.contacts, total=counted.total, squares=counted.squares)

"""The section on a campaign's experiment: a sentence, a picture, a table. Judges nothing."""

from collections.abc import Sequence

from comms_pipeline.domain.experiment import HOLDOUT, Metric
from comms_pipeline.experiments.conclusions import METRIC_NAMES, arm_name, conclusions
from comms_pipeline.experiments.reading import EVERY_CHANNEL
from comms_pipeline.experiments.reading import Row as Arm
from comms_pipeline.loader.experiments import Reading
from comms_pipeline.reports.charts.dots import Dot, Dots
from comms_pipeline.reports.charts.svg import Tone
from comms_pipeline.reports.document import Row, Section, Table, table
from comms_pipeline.reports.phrases import NOTHING, percent, plural, points


def experiment_section(test: Reading | None) -> Section | None:
    """All sends of the campaign that share contacts out alike, together; None without any test."""
    if test is None:
        return None
    arms = [row for row in test.rows if row.channel == EVERY_CHANNEL]
    found = conclusions(test.design, test.rows)
    return Section(
        heading="Experiment",
        lead=" ".join(f"{sentence}." for sentence in found) or "Nobody is in the test yet.",
        charts=tuple(_charts(arms)),
        tables=(_table(arms),),
        notes=(
            "Over all sends of the campaign that share contacts out alike, by whoever was meant to get the message. "
            f"{_sizes(arms)}. Differences are 95% intervals that hold however often one looks.",
        ),
    )


def _sizes(arms: Sequence[Arm]) -> str:
    sizes = {arm.variant: arm.contacts for arm in arms}
    return ", ".join(f"{arm_name(arm)}: {plural(size, 'contact')}" for arm, size in sizes.items())


def _charts(arms: Sequence[Arm]) -> list[Dots]:
    """One for each control: how far the others are from it in what decides."""
    deciding = [arm for arm in arms if arm.is_deciding and arm.metric is not Metric.REVENUE]
    controls = list(dict.fromkeys(arm.control for arm in deciding))
    return [
        chart
        for control in controls
        if (chart := _chart([arm for arm in deciding if arm.control == control]))
    ]


def _chart(arms: Sequence[Arm]) -> Dots | None:
    dots = tuple(
        Dot(
            name=arm_name(arm.variant),
            value=arm.difference,
            low=arm.sequential_low,
            high=arm.sequential_high,
            text=points(arm.difference),
            tone=_tone(arm.sequential_low, arm.sequential_high),
        )
        for arm in arms
        if arm.difference is not None and arm.sequential_low is not None and arm.sequential_high is not None
    )
    if not dots:
        return None
    against = "the holdout" if arms[0].control == HOLDOUT else arm_name(arms[0].control or "")
    metric = METRIC_NAMES[arms[0].metric]
    return Dots(
        title=f"Difference in {metric} from {against}",
        description=". ".join(
            f"{dot.name}: {dot.text}, between {points(dot.low)} and {points(dot.high)}" for dot in dots
        ),
        dots=dots,
        reference=0.0,
    )


def _tone(low: float, high: float) -> Tone:
    if low <= 0 <= high:
        return Tone.PLAIN
    return Tone.GOOD if low > 0 else Tone.BAD


def _table(arms: Sequence[Arm]) -> Table:
    rows = tuple(
        Row(
            cells=(
                METRIC_NAMES[arm.metric].capitalize(),
                f"{arm_name(arm.variant)} against {arm_name(arm.control or '')}",
                f"{_measured(arm.metric, arm.rate, arm.mean, arm.currency)} against "
                f"{_measured(arm.metric, arm.control_rate, arm.control_mean, arm.currency)}",
                _interval(arm),
                NOTHING
                if arm.adjusted_sequential_p_value is None
                else f"{arm.adjusted_sequential_p_value:.3f}",
            )
        )
        for arm in arms
        if arm.control is not None
    )
    return table("Arms", ("Metric", "Arms"), ("Measured", "Difference", "p"), rows)


def _measured(metric: Metric, rate: float | None, mean: float | None, currency: str | None) -> str:
    if metric is Metric.REVENUE:
        return NOTHING if mean is None else f"{mean:,.2f} {currency or ''}".rstrip()
    return percent(rate)


def _p_value(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _interval(arm: Arm) -> str:
    low, high = arm.sequential_low, arm.sequential_high
    if low is None or high is None:
        return NOTHING
    if arm.metric is Metric.REVENUE:
        return f"{low:+,.2f} to {high:+,.2f}".replace("-", "−")
    return f"{points(low).removesuffix(' points')} to {points(high)}"

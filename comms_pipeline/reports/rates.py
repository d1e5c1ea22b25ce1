"""The rates that headline a report, and what is usual for them. `docs/metrics.md` says what is counted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from comms_pipeline.reports.charts.svg import Tone
from comms_pipeline.reports.document import Figure
from comms_pipeline.reports.phrases import percent, points, share
from comms_pipeline.reports.reading import Values

_TREND_LENGTH = 13


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of messages: `part` of `whole`, columns of counts."""

    name: str
    part: str
    whole: str
    is_welcome: bool = True
    """More of it is better."""

    def of(self, counts: Values) -> float | None:
        """Null where there is nothing to take a share of."""
        return share(counts[self.part], counts[self.whole])


HEADLINES = (
    Rate(name="Delivered", part="delivered", whole="accepted"),
    Rate(name="Opened by people", part="human_opened", whole="delivered"),
    Rate(name="Clicked by people", part="human_clicked", whole="delivered"),
    Rate(name="Unsubscribed", part="unsubscribed", whole="delivered", is_welcome=False),
    Rate(name="Complained", part="complained", whole="delivered", is_welcome=False),
    Rate(name="Bounced", part="bounced", whole="accepted", is_welcome=False),
)


def total(rows: Sequence[Values], name: str) -> int:
    """A count over all rows."""
    return sum(row[name] or 0 for row in rows)


def totals(rows: Sequence[Values]) -> dict[str, int]:
    """Every count that headlines need, over all rows."""
    return {name: total(rows, name) for rate in HEADLINES for name in (rate.part, rate.whole)}


def figure(rate: Rate, counts: Values, earlier: Sequence[Values], of: str) -> Figure:
    """The rate beside the median of `earlier` counts, which `of` names: "12 earlier sends".

    Its tone tells better from worse only where the distance is more than chance would make of so few messages: two
    standard errors of the usual rate.
    """
    value = rate.of(counts)
    usual = [known for known in map(rate.of, earlier) if known is not None]
    if value is None:
        return Figure(name=rate.name, value=percent(None))
    if not usual:
        return Figure(name=rate.name, value=percent(value), note="nothing earlier to compare with")
    middle = median(usual)
    noise = 2 * math.sqrt(middle * (1 - middle) / counts[rate.whole])
    is_other = abs(value - middle) > noise
    better = Tone.GOOD if (value > middle) == rate.is_welcome else Tone.BAD
    distance = f"{points(value - middle)} from" if is_other else "as usual:"
    return Figure(
        name=rate.name,
        value=percent(value),
        note=f"{distance} the median of {of}, {percent(middle)}",
        tone=better if is_other else Tone.PLAIN,
        trend=(*usual, value)[-_TREND_LENGTH:],
    )

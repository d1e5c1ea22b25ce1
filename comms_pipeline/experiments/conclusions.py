"""One sentence on a test, for people: who wins, or what is missing to tell. Reads rows, decides nothing anew."""

from collections.abc import Iterator, Sequence
from math import isclose

from comms_pipeline.domain.experiment import HOLDOUT, Metric
from comms_pipeline.experiments.design import UNVARIED, Design
from comms_pipeline.experiments.reading import EVERY_CHANNEL, Row
from comms_pipeline.experiments.verdicts import Verdict

METRIC_NAMES = {
    Metric.HUMAN_OPEN: "opens",
    Metric.HUMAN_CLICK: "clicks",
    Metric.CONVERSION: "conversions",
    Metric.REVENUE: "revenue",
    Metric.UNSUBSCRIBE: "unsubscribes",
    Metric.COMPLAINT: "complaints",
}
"""What people call them."""
_ALIKE = 0.02


def arm_name(arm: str) -> str:
    """What an arm is called in a sentence."""
    return "the message" if arm == UNVARIED else arm


def conclusions(design: Design, rows: Sequence[Row], channel: str = EVERY_CHANNEL) -> list[str]:
    """A sentence for each question a test answers: which variant is best, and whether sending pays at all.

    One if the arms' sizes are off, for then nothing else may be said. None before anybody is in the test.
    """
    deciding = [row for row in rows if row.channel == channel and row.is_deciding]
    if any(row.is_sample_ratio_off for row in deciding):
        return [
            "Sample ratio off: do not trust these figures. The arms do not have the sizes they were meant to have"
        ]
    return list(_sentences(design, deciding))


def _sentences(design: Design, rows: Sequence[Row]) -> Iterator[str]:
    against_first = [row for row in rows if row.control != HOLDOUT]
    against_nothing = [row for row in rows if row.control == HOLDOUT]
    currencies = sorted({row.currency or "" for row in rows})
    for currency in currencies:
        note = f", in {currency}" if len(currencies) > 1 and currency else ""
        for family, sentence in ((against_first, _best), (against_nothing, _worth)):
            of_currency = [row for row in family if (row.currency or "") == currency]
            if of_currency:
                yield sentence(design, of_currency) + note


def _best(design: Design, rows: Sequence[Row]) -> str:
    """Which variant is best, against the first."""
    first = str(rows[0].control)
    metric = METRIC_NAMES[rows[0].metric]
    winners = [row for row in rows if row.verdict is Verdict.WINS]
    if winners:
        best = max(winners, key=lambda row: row.difference or 0.0)
        others = (
            f"; {_listed([row.variant for row in winners if row is not best])} too"
            if len(winners) > 1
            else ""
        )
        return f"{best.variant} wins: {_change(best)} {metric} than {first}{others}"
    harmful = [row for row in rows if row.verdict is Verdict.HARMFUL]
    if harmful:
        best = max(harmful, key=lambda row: row.difference or 0.0)
        gain = f"{best.variant} has {_change(best)} {metric} than {first}"
        return f"{gain}, but more unsubscribes or complaints: no winner"
    if all(row.verdict is Verdict.LOSES for row in rows):
        return f"{first} wins: more {metric} than {_listed([row.variant for row in rows])}"
    worse = [row.variant for row in rows if row.verdict is Verdict.LOSES]
    also = f"; {_listed(worse)} {'is' if len(worse) == 1 else 'are'} worse than {first}" if worse else ""
    return _undecided(design, rows) + also


def _worth(design: Design, rows: Sequence[Row]) -> str:
    """Whether those who get something do better than those who get nothing."""
    metric = METRIC_NAMES[rows[0].metric]
    decided = [row for row in rows if row.verdict in (Verdict.WINS, Verdict.HARMFUL, Verdict.LOSES)]
    if not decided:
        return f"Against the holdout: {_lowered(_undecided(design, rows))}"
    told = [f"{_change(row)} {metric} with {arm_name(row.variant)}" for row in decided]
    return f"Against the holdout: {_listed(told)}"


def _undecided(design: Design, rows: Sequence[Row]) -> str:
    open_rows = [row for row in rows if row.verdict in (Verdict.UNDECIDED, Verdict.TOO_FEW)]
    needed = [row.contacts_needed for row in open_rows if row.contacts_needed is not None]
    wanted = f"an uplift of {_percent(design.minimum_uplift)}"
    if not needed:
        return "No difference detected yet; too little has happened to say how many more contacts it takes"
    if max(needed) == 0:
        return f"No difference detected, though the test is large enough for {wanted}"
    shares = [design.shares[arm] for row in open_rows for arm in (row.variant, str(row.control))]
    if isclose(max(shares), min(shares), rel_tol=_ALIKE):
        return f"No difference detected yet; about {_rounded(max(needed))} more per arm would show {wanted}"
    largest = max(open_rows, key=lambda row: row.contacts_needed or 0)
    everybody = sum({row.variant: row.contacts for row in rows}.values()) + (largest.control_contacts or 0)
    whole = max(needed) * everybody / largest.contacts
    return (
        f"No difference detected yet; about {_rounded(round(whole))} more contacts in all would show {wanted}"
    )


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _change(row: Row) -> str:
    """How much more, relative to the control where that can be told."""
    if row.uplift is None:
        return "more"
    less = "less" if row.metric is Metric.REVENUE else "fewer"
    return f"{_percent(abs(row.uplift))} {'more' if row.uplift > 0 else less}"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def _rounded(count: int) -> str:
    """Two digits are as many as such an estimate has."""
    return f"{float(f'{count:.2g}'):,.0f}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

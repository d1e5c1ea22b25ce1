"""`comms experiments`: how a campaign's test stands, and how many contacts a test needs."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from comms_pipeline.cli.console import out, table
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.errors import CommsError, NotFound

if TYPE_CHECKING:
    from comms_pipeline.experiments.reading import Row


class NoSuchTest(CommsError):
    """A test with such figures makes no sense."""


def show(campaign: Annotated[str, typer.Argument(help="The campaign's id.")]) -> None:
    """How a test of variants, or against a holdout, stands now: figures, and one sentence on what they allow to say."""
    from comms_pipeline.experiments.conclusions import METRIC_NAMES, arm_name, conclusions
    from comms_pipeline.experiments.reading import EVERY_CHANNEL
    from comms_pipeline.ledger.sends import get_campaign
    from comms_pipeline.loader.experiments import readings

    stores = open_stores()
    with stores.ledger() as ledger:
        get_campaign(ledger, campaign)
    found = readings(stores, campaign)
    if not found:
        raise NotFound(
            f"campaign {campaign}",
            "it compares nothing, or no send of it was due yet",
            "Give it two variants or a holdout, and send it",
        )
    [reading] = found
    whole = [row for row in reading.rows if row.channel == EVERY_CHANNEL]
    arms = {row.variant: row for row in whole}
    table(
        None,
        ["arm", "contacts", "share", "meant to be"],
        [
            (arm_name(row.variant), row.contacts, _percent(_share(row, arms)), _percent(row.expected_share))
            for row in (arms[arm] for arm in reading.design.shares)
        ],
    )
    table(
        "Differences, with intervals of 95 % that hold however often you look",
        ["metric", "arm", "figure", "compared with", "figure", "difference", "from", "to", "p", "verdict"],
        [
            (
                f"{METRIC_NAMES[row.metric]}{f' ({row.currency})' if row.currency else ''}",
                arm_name(row.variant),
                _figure(row.rate, row.mean),
                arm_name(row.control),
                _figure(row.control_rate, row.control_mean),
                _change(row, row.difference),
                _change(row, row.sequential_low),
                _change(row, row.sequential_high),
                _p_value(row.adjusted_sequential_p_value),
                row.verdict,
            )
            for row in whole
            if row.control is not None
        ],
    )
    for sentence in conclusions(reading.design, reading.rows):
        out.print(sentence, markup=False)
    still = "count until" if stores.now() < reading.ends_at else "counted until"
    out.print(f"Conversions {still} {reading.ends_at:%Y-%m-%d %H:%M} UTC")


def size(
    baseline: Annotated[
        float | None, typer.Option(help="The rate that is expected of the control: 0.05 is 5 %.")
    ] = None,
    mean: Annotated[float | None, typer.Option(help="Instead: the mean that is expected of it.")] = None,
    deviation: Annotated[float | None, typer.Option(help="The standard deviation, with --mean.")] = None,
    buyers: Annotated[
        float, typer.Option(help="The share of contacts that spend anything, with --mean.")
    ] = 0.01,
    uplift: Annotated[float, typer.Option(help="Worth finding, relative: 0.1 is a tenth more.")] = 0.1,
    arms: Annotated[int, typer.Option(min=2, help="Arms in all, the control among them.")] = 2,
    control_share: Annotated[
        float | None,
        typer.Option(help="The control's share of the contacts; without it, all arms are alike."),
    ] = None,
    power: Annotated[float, typer.Option(help="The chance wanted to find it.")] = 0.8,
    contacts: Annotated[
        int | None, typer.Option(min=20, help="Say instead what chance so many contacts in all give.")
    ] = None,
) -> None:
    """How many contacts a test needs to find an uplift, or what chance it has with those you have."""
    from comms_pipeline.experiments.power import contacts_needed, of_treated

    _require_sense(uplift, power, control_share)
    ratio = 1.0 if control_share is None else (1 - control_share) / control_share / (arms - 1)
    chances = _chances(baseline, mean, deviation, buyers, uplift, ratio, 0.05 / (arms - 1))
    rows = []
    for reading, chance in chances.items():
        if contacts is not None:
            of_control = max(2, round(contacts / (1 + ratio * (arms - 1))))
            rows.append(
                (reading, of_control, of_treated(of_control, ratio), contacts, _percent(chance(of_control)))
            )
        elif (needed := contacts_needed(chance, power)) is not None:
            treated = of_treated(needed, ratio)
            rows.append((reading, needed, treated, needed + treated * (arms - 1), _percent(power)))
    if not rows:
        raise NoSuchTest("--uplift", "no number of contacts would find it", "Look for a greater one")
    columns = ["you look", "control", "each other arm", "contacts in all", "chance"]
    table(f"To find an uplift of {_percent(uplift)}", columns, rows)


def _require_sense(uplift: float, power: float, control_share: float | None) -> None:
    if not (uplift > -1 and uplift != 0):
        raise NoSuchTest(
            "--uplift", f"{uplift} is no change", "Write 0.1 for a tenth more, -0.1 for a tenth less"
        )
    if not 0.05 < power < 1:
        raise NoSuchTest("--power", f"{power} is no such chance", "Write e.g. 0.8")
    if control_share is not None and not 0 < control_share < 1:
        raise NoSuchTest("--control-share", f"{control_share} is no share", "Write e.g. 0.1 for a tenth")


def _chances(
    baseline: float | None,
    mean: float | None,
    deviation: float | None,
    buyers: float,
    uplift: float,
    ratio: float,
    alpha: float,
) -> dict[str, Callable[[int], float]]:
    """The chance by contacts of the control, for who looks once at the end and for who looks daily."""
    from comms_pipeline.experiments.power import power_of_means, power_of_rates

    if (baseline is None) == (mean is None):
        raise NoSuchTest(
            "size", "it must be clear what is measured", "Pass --baseline RATE, or --mean and --deviation"
        )
    if baseline is not None:
        treated = baseline * (1 + uplift)
        if not (0 < baseline < 1 and 0 < treated < 1):
            raise NoSuchTest(
                "--baseline", "rates lie between 0 and 1, with and without the uplift", "Write e.g. 0.05"
            )
        of_rates = partial(power_of_rates, control=baseline, treated=treated, ratio=ratio, alpha=alpha)
        return {"once, at the end": of_rates, "as often as you like": partial(of_rates, is_sequential=True)}
    if not mean or deviation is None or deviation <= 0 or not 0 < buyers < 1:
        raise NoSuchTest(
            "--mean",
            "it needs a mean other than 0, a --deviation above 0 and --buyers below 1",
            "Pass all three",
        )
    of_means = partial(
        power_of_means, difference=mean * uplift, deviation=deviation, share=buyers, ratio=ratio, alpha=alpha
    )
    return {"once, at the end": of_means, "as often as you like": partial(of_means, is_sequential=True)}


def _share(row: "Row", arms: "dict[str, Row]") -> float | None:
    everybody = sum(each.contacts for each in arms.values())
    return row.contacts / everybody if everybody else None


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.4g} %"


def _figure(rate: float | None, mean: float | None) -> str:
    if rate is not None:
        return f"{rate * 100:.2f} %"
    return "" if mean is None else f"{mean:,.4f}"


def _change(row: "Row", value: float | None) -> str:
    """Rates differ by points of a percentage, means by money."""
    if value is None:
        return ""
    return f"{value * 100:+.2f} pt" if row.mean is None else f"{value:+,.4f}"


def _p_value(value: float | None) -> str:
    return "" if value is None else "<0.0001" if value < 0.0001 else f"{value:.4f}"

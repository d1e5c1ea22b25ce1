"""Prints the dry run of a campaign. What is printed is found out in `planning.dry_run`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from comms_pipeline.cli.console import out, step, table
from comms_pipeline.cli.opened import open_stores

if TYPE_CHECKING:
    from comms_pipeline.planning.dry_run import DryRun

_HOURS_SHOWN = 24


def plan(campaign: Annotated[str, typer.Argument(help="The campaign's id.")]) -> None:
    """Dry run: who would get what and when, why others would not, what it costs. Writes and sends nothing."""
    from comms_pipeline.planning.dry_run import dry_run

    stores = open_stores()
    with step(f"Planning {campaign}"):
        result = dry_run(stores, campaign)
    _print_funnel(campaign, result)
    _print_messages(result)
    _print_later(result)
    _print_limits(result)
    for line in (*_caps(result), *_costs(result), *_compliance(campaign, result), _finish(result)):
        out.print(line, markup=False, soft_wrap=True)
    for warning in result.planned.warnings:
        out.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)


def _print_funnel(campaign: str, result: "DryRun") -> None:
    by_channel = result.planned.by_channel.select("channel", "messages").iter_rows()
    table(
        f"{campaign}: {result.audience:,} contacts in the audience",
        ["", "contacts"],
        [
            ("excluded", result.excluded),
            *((f"message by {channel}", count) for channel, count in by_channel),
        ],
    )
    if result.exclusions:
        table("Why excluded", ["rule", "evidence", "contacts"], result.exclusions)
    if result.planned.missing.height:
        table(
            "What templates read and contacts lack",
            ["variable", "contacts without", "filled by a fallback"],
            result.planned.missing.iter_rows(),
        )


def _print_messages(result: "DryRun") -> None:
    if result.messages.height > 1:
        columns = ["channel", "variant", "language", "messages", "segments"]
        table("Messages", columns, result.messages.select(columns).iter_rows())
    if segments := result.planned.by_channel["segments"].sum():
        out.print(f"SMS segments: {segments:,}")


def _print_later(result: "DryRun") -> None:
    if not result.later:
        return
    shown = result.later[:_HOURS_SHOWN]
    table(
        "Going out later, by the hour on the recipients' clocks",
        ["hour", "messages", "deferred by rules"],
        [(f"{each.hour:%Y-%m-%d %H:%M}", each.messages, each.deferred) for each in shown],
    )
    rest = result.later[_HOURS_SHOWN:]
    if rest:
        out.print(f"… and {sum(each.messages for each in rest):,} messages in {len(rest):,} later hours")


def _print_limits(result: "DryRun") -> None:
    if result.through:
        table(
            "Quotas",
            ["of", "per", "allowed", "used", "last message by this one alone"],
            [
                (
                    each.allowance.name,
                    each.allowance.period,
                    each.allowance.allowed,
                    each.allowance.used,
                    _moment(each.finish_at),
                )
                for each in result.through
            ],
        )


def _caps(result: "DryRun") -> Iterator[str]:
    """What tier and frequency caps make of it."""
    if result.most_recipients is not None:
        verdict = "too many" if result.planned.messages > result.most_recipients else "within it"
        yield (
            f"Tier {result.tier}: at most {result.most_recipients:,} recipients of one campaign; "
            f"this plan has {result.planned.messages:,}, {verdict}"
        )
    if result.capped:
        yield f"Excluded by frequency caps: {result.capped:,}"


def _costs(result: "DryRun") -> Iterator[str]:
    from comms_pipeline.planning.costs import totals

    sums = totals(result.costs)
    if sums:
        yield f"Estimated cost: {' + '.join(map(str, sums))}"
    unpriced = [each.lane for each in result.costs if each.cost is None]
    if unpriced:
        yield f"No price set: COMMS_PRICES ({', '.join(unpriced)})"


def _compliance(campaign: str, result: "DryRun") -> Iterator[str]:
    check = result.check
    failed = (
        f"{len(check.failed)} of {len(check.items)} checks failed, see `comms campaigns check {campaign}`"
    )
    yield f"Compliance score: {check.score} of 100; {failed if check.failed else 'every check passed'}"
    for item in check.blocking:
        yield f"Stops the send: {item.found} ({item.rule.id}). {item.rule.fix}"


def _finish(result: "DryRun") -> str:
    if not result.planned.messages:
        return "Nothing would be sent"
    bound = f"What it waits for longest: {result.forecast.bound_by}"
    if result.forecast.finish_at is None:
        return f"The last message would not go within a year. {bound}"
    return f"The last message would go {_moment(result.forecast.finish_at)}. {bound}"


def _moment(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else "not within a year"

"""`comms campaigns check`: the compliance score of a campaign, and what costs it points. The checks are elsewhere."""

from typing import Annotated

import typer

from comms_pipeline.cli.console import out, step, table
from comms_pipeline.cli.opened import open_stores


def check(campaign: Annotated[str, typer.Argument(help="The campaign's id.")]) -> None:
    """Hold a campaign against the rules before it goes out: score, what fails, and what mends it. Sends nothing.

    Exits with 1 when something stops the send.
    """
    from comms_pipeline.planning.campaign_check import check_campaign

    stores = open_stores()
    with step(f"Checking {campaign}"):
        result = check_campaign(stores, campaign)
    table(
        f"{campaign}: {result.score} of 100 points",
        ["", "rule", "points", "found", "fix", "source"],
        [
            (
                "ok" if item.is_passed else str(item.rule.severity),
                item.rule.id,
                -item.points,
                item.found,
                "" if item.is_passed else item.rule.fix,
                "" if item.is_passed else item.rule.source,
            )
            for item in result.items
        ],
    )
    if result.blocking:
        stops = ", ".join(item.rule.id for item in result.blocking)
        out.print(f"[red]not sendable:[/red] {stops}")
        raise typer.Exit(1)
    out.print(f"[green]sendable[/green], {len(result.failed)} of {len(result.items)} rules have a remark")

"""`comms campaigns …` and `comms send`. Planning lives in `planning`, runs in Dagster, plans print in `plans`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comms_pipeline.cli.console import err, out, step, table
from comms_pipeline.cli.installation import dagster_home
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.cli.plans import plan  # also offered as `campaigns plan`
from comms_pipeline.domain.errors import InvalidCampaign
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import sends
from comms_pipeline.ledger.sends import Send
from comms_pipeline.stores import Stores


def apply(
    folder: Annotated[Path, typer.Argument(help="A folder with organisation.yaml, campaigns and templates.")],
) -> None:
    """Store the campaigns of a folder, all or none. Unchanged ones keep their version."""
    from comms_pipeline.campaign_files import InvalidCampaignFiles
    from comms_pipeline.planning.applying import apply_folder
    from comms_pipeline.planning.templates import TemplateProblems

    stores = open_stores()
    try:
        applied = apply_folder(stores, folder)
    except (InvalidCampaignFiles, TemplateProblems) as error:
        # The last is printed like any other error.
        for problem in error.problems[:-1]:
            err.print(f"[red]error:[/red] {escape(str(problem))}")
        raise error.problems[-1] from None
    table(
        None,
        ["campaign", "version", "change", "due"],
        [(a.campaign_id, a.version, "new version" if a.is_new else "unchanged", a.due) for a in applied],
    )


def list_campaigns() -> None:
    """The latest version of every campaign."""
    stores = open_stores()
    with stores.ledger() as ledger:
        found = sends.campaigns(ledger)
    table(
        None,
        ["campaign", "organisation", "version", "class", "channels", "applied"],
        [
            (
                c.campaign_id,
                c.organisation_id,
                c.version,
                c.spec.get("class", "marketing"),
                ", ".join(c.spec["channels"]),
                f"{c.applied_at:%Y-%m-%d %H:%M}",
            )
            for c in found
        ],
    )


def send(
    campaign: Annotated[str, typer.Argument(help="The campaign's id.")],
    at: Annotated[str | None, typer.Option(help="When, e.g. 2026-12-01T09:00-05:00; otherwise now.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only plan; write and send nothing.")] = False,
    occurrence: Annotated[
        str | None, typer.Option(help="Send the campaign once more under this name, to everybody again.")
    ] = None,
) -> None:
    """Send a campaign. Again is safe: a campaign has one send, and only those who got nothing yet get it."""
    if dry_run:
        plan(campaign)
        return
    stores = open_stores()
    created = create_send(stores, campaign, due_at=_moment(at) if at else None, occurrence=occurrence)
    if created.due_at > stores.now():
        out.print(f"{created.send_id} is due {_words(created.due_at)}; `comms up` will start it")
        return
    with step(f"Sending {created.send_id}"):
        run_send(stores, created.send_id)
    print_funnel(stores, [created.send_id])


def create_send(
    stores: Stores, campaign_id: str, *, due_at: datetime | None = None, occurrence: str | None = None
) -> Send:
    """The send, created unless it exists. Without `due_at` it is due now, and the caller runs it.

    Raises `NotFound`, `ProviderMisconfigured` for a channel of it, and `InvalidCampaign` when a send of this
    name is due at another time than asked for.
    """
    from comms_pipeline.planning.occurrences import send_id_of

    now = stores.now()
    with stores.ledger() as ledger, ledger.transaction():
        found = sends.get_campaign(ledger, campaign_id)
        for channel in found.spec["channels"]:
            stores.providers.lane_for(Channel(channel))
        send_id = send_id_of(campaign_id, occurrence or "")
        wanted = due_at or now
        sends.create_send(
            ledger,
            send_id=send_id,
            campaign_id=campaign_id,
            version=found.version,
            due_at=wanted,
            # One that is due now is not the sensor's business.
            requested_run_at=now if wanted <= now else None,
        )
        send = sends.get_send(ledger, send_id)
    if max(send.due_at, wanted) > now and send.due_at != wanted:
        raise InvalidCampaign(
            f"send {send_id}",
            f"it exists already and {'is' if send.due_at > now else 'was'} due {_words(send.due_at)}",
            "Pass --occurrence NAME to send the campaign once more, to everybody again",
        )
    return send


def run_send(stores: Stores, send_id: str) -> None:
    """Run the send's job here; it shows in the Dagster UI like any other run."""
    from comms_pipeline.cli.runs import Runs

    with Runs.recorded_in(stores, dagster_home(stores.settings)) as runs:
        runs.run("send_campaign", send_id=send_id)


def print_funnel(stores: Stores, send_ids: list[str]) -> None:
    """Where everybody of these sends ended up."""
    with stores.lake.reader() as cursor:
        rows = cursor.execute(
            "select send_id, audience, excluded, messages, accepted, refused, deferred, unknown, waiting "
            "from mart.send_funnel where send_id in (select unnest($ids)) order by send_id",
            {"ids": send_ids},
        ).fetchall()
    names = [
        "send",
        "audience",
        "excluded",
        "messages",
        "accepted",
        "refused",
        "deferred",
        "unknown",
        "waiting",
    ]
    table(None, names, rows)


def _words(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidCampaign(
            "--at", f"'{text}' is not a time", "Write e.g. 2026-12-01T09:00-05:00"
        ) from None
    if moment.tzinfo is None:
        raise InvalidCampaign("--at", f"'{text}' has no offset", "Add the offset from UTC, e.g. -05:00 or Z")
    return moment.astimezone(UTC)

"""`comms status`: the installation, a message, or a contact. What is told is put together in `planning.following`."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comms_pipeline.cli import health
from comms_pipeline.cli.actor import actor
from comms_pipeline.cli.console import out, table
from comms_pipeline.cli.opened import open_stores

if TYPE_CHECKING:
    from datetime import datetime

    from comms_pipeline.planning.following import ContactStory, MessageStory


class Format(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"


def status(
    what: Annotated[
        str | None,
        typer.Argument(
            help="A message id; or a contact's id, external id, e-mail address, or phone number with +. "
            "Nothing: the installation."
        ),
    ] = None,
    organisation: Annotated[
        str | None, typer.Option(help="Whose contact; needed for an external id where there are several.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows of each kind, the latest.")] = 50,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
) -> None:
    """How things stand: latest sends and queue, or the whole story of a message or a contact. Prints no address."""
    if what is None:
        standing = health.standing(open_stores(), limit)
        if output is Format.JSON:
            _print_json(standing)
        else:
            health.print_standing(standing)
        return
    from comms_pipeline.planning.following import MessageStory, follow

    story = follow(open_stores(), what, organisation_id=organisation, limit=limit, actor=actor())
    if output is Format.JSON:
        _print_json(story)
    elif isinstance(story, MessageStory):
        _print_message(story)
    else:
        _print_contact(story)


def _print_message(story: "MessageStory") -> None:
    variant = f", variant {story.variant}" if story.variant else ""
    table(
        f"Message {story.message_id} is {story.status}: {story.channel} by {story.lane}{variant}, "
        f"of send {story.send_id} (campaign {story.campaign_id}) to contact {story.contact_id}",
        ["step", "first made, UTC"],
        [(each.step, _time(each.at)) for each in story.steps],
    )
    table(
        "Everything on record",
        ["", "when, UTC", "what", "on record in"],
        [(line.chapter, _time(line.at), line.text, line.source) for line in story.lines],
    )
    out.print(story.answer, markup=False, soft_wrap=True)
    out.print(f"Next: {story.next}", markup=False, soft_wrap=True)


def _print_contact(story: "ContactStory") -> None:
    table(
        f"Contact {story.contact_id} of {story.organisation_id}: its latest messages",
        ["message", "campaign", "channel", "status", "due, UTC", "delivered", "opened", "clicked"],
        [
            (
                row["message_id"],
                row["campaign_id"],
                row["channel"],
                row["status"],
                _time(row["due_at"]),
                _time(row["delivered_at"]),
                _time(row["first_human_opened_at"]),
                _time(row["first_human_clicked_at"]),
            )
            for row in story.messages
        ],
    )
    table(
        "The latest that happened",
        ["when, UTC", "what", "detail", "message", "on record in"],
        [
            (_time(row["occurred_at"]), row["what"], row["detail"], row["message_id"], row["source"])
            for row in story.timeline
        ],
    )


def _time(at: "datetime | None") -> str:
    from datetime import UTC

    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if at else ""


def _print_json(told: "MessageStory | ContactStory | health.Standing") -> None:
    from dataclasses import asdict

    import orjson

    as_told: dict[str, Any] = asdict(told)
    typer.echo(orjson.dumps(as_told, option=orjson.OPT_INDENT_2).decode())

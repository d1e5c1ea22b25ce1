"""`comms why`: the whole story of one person and one send. It is put together in `planning.story`."""

from typing import TYPE_CHECKING, Annotated

import typer

from comms_pipeline.cli.actor import actor
from comms_pipeline.cli.console import out, table
from comms_pipeline.cli.opened import open_stores

if TYPE_CHECKING:
    from comms_pipeline.planning.story import Story


def why(
    contact: Annotated[
        str, typer.Argument(help="Contact id, external id, e-mail address, or phone number with +.")
    ],
    send: Annotated[str, typer.Argument(help="The send's id; see `comms sends list`.")],
    organisation: Annotated[
        str | None, typer.Option(help="Whose contact it is; the send's organisation unless given.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Why somebody got a message of a send, or none: everything on record, and one sentence. Prints no address."""
    from comms_pipeline.planning.story import tell

    story = tell(open_stores(), contact, send, organisation_id=organisation, actor=actor())
    if json:
        _print_json(story)
        return
    table(
        f"{story.send_id}, contact {story.contact_id}",
        ["", "when, UTC", "what", "on record in"],
        [
            (line.chapter, f"{line.at:%Y-%m-%d %H:%M:%S}" if line.at else "", line.text, line.source)
            for line in story.lines
        ],
    )
    out.print(story.answer, markup=False, soft_wrap=True)


def _print_json(story: "Story") -> None:
    from dataclasses import asdict

    import orjson

    typer.echo(orjson.dumps(asdict(story), option=orjson.OPT_INDENT_2).decode())

"""`comms templates …`: what comes with us, what is wrong with a template, how a message looks. Logic in `previews`."""

import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from comms_pipeline.builtin_templates import TextChannel, builtin_templates
from comms_pipeline.cli.console import err, out, table
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.ledger import sends
from comms_pipeline.previews.drafts import Draft, campaign_drafts, drafts_of

_NAMED = "A built-in template, a template file, a campaign file, or a folder of campaigns."


class NothingToPreview(CommsError):
    """Nothing was named, or what was named holds no message."""


def list_templates() -> None:
    """The built-in templates."""
    table(
        None,
        ["name", "channels", "class", "description"],
        [
            (each.name, ", ".join(each.channels), each.message_class, each.description)
            for each in builtin_templates()
        ],
    )


def check(
    named: Annotated[list[str] | None, typer.Argument(help=f"{_NAMED} All built-in ones by default.")] = None,
) -> None:
    """Find what is wrong with templates, before any contact is involved. Fails if there are errors."""
    from rich.markup import escape

    from comms_pipeline.previews.checks import Severity
    from comms_pipeline.previews.checks import check as check_draft

    names = named or [each.name for each in builtin_templates()]
    drafts = [draft for name in names for draft in drafts_of(name)]
    findings = list(dict.fromkeys(finding for draft in drafts for finding in check_draft(draft)))
    for finding in findings:
        colour = "red" if finding.severity is Severity.ERROR else "yellow"
        err.print(f"[{colour}]{finding.severity}:[/{colour}] {escape(str(finding))}")
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    _print_lengths(drafts)
    counts = [(len(drafts), "message"), (errors, "error"), (len(findings) - errors, "warning")]
    out.print(", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts))
    if errors:
        raise typer.Exit(1)


def preview(
    named: Annotated[
        str | None, typer.Argument(help=f"{_NAMED} With --campaign alone, the campaign's own templates.")
    ] = None,
    contact: Annotated[str | None, typer.Option(help="A contact's id; else example values.")] = None,
    campaign: Annotated[str | None, typer.Option(help="An applied campaign, for its fallbacks.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where to write; a new folder of yours by default.")
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Also a picture, by a headless Chromium.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    dark: Annotated[bool, typer.Option("--dark", help="As it looks in dark mode.")] = False,
) -> None:
    """Write a message as it would arrive: HTML, text, picture. Sends nothing; its links do nothing."""
    from comms_pipeline.previews.contacts import find_reader
    from comms_pipeline.previews.pictures import photograph
    from comms_pipeline.previews.rendering import example_frame, render, write

    stores = open_stores() if contact or campaign else None
    version = None
    if stores and campaign:
        with stores.ledger() as ledger:
            version = sends.get_campaign(ledger, campaign)
    drafts = _drafts(named, version)
    reader = find_reader(stores, contact, version) if stores and contact else None
    # Only its owner may read what a contact's record holds.
    folder = folder or Path(tempfile.mkdtemp(prefix="comms-preview-"))
    pages: list[Path] = []
    names = {draft.name for draft in drafts}
    for draft in drafts:
        frame = reader.frame(stores, draft) if stores and reader else example_frame(draft)
        message = render(draft, frame)
        # Of a real contact nothing is printed: a subject may hold a name.
        if message.subject and reader is None:
            out.print(f"{draft.name}: {message.subject}", markup=False, soft_wrap=True)
        stem = "preview" if len(names) == 1 else draft.name.replace("/", "-")
        for path in write(message, folder, stem=stem, is_dark=dark):
            note = message.summary if path.suffix == ".txt" else ""
            out.print(f"{path}  {note}".rstrip(), markup=False, soft_wrap=True)
            if path.suffix == ".html":
                pages.append(path)
    for page in pages:
        if png:
            photograph(page, page.with_suffix(".png"))
            out.print(str(page.with_suffix(".png")), markup=False, soft_wrap=True)
        if open_page:
            webbrowser.open(page.absolute().as_uri())


def _drafts(named: str | None, version: sends.CampaignVersion | None) -> list[Draft]:
    """What is named; with a campaign alone, its own messages."""
    from comms_pipeline.domain.campaign import CampaignSpec

    spec = CampaignSpec.model_validate(version.spec) if version else None
    if named is None and spec is None:
        raise NothingToPreview("preview", "nothing is named", "Name a template or --campaign")
    if named is not None:
        return drafts_of(named)
    return campaign_drafts(spec, version.templates) if spec and version else []


def _print_lengths(drafts: Sequence[Draft]) -> None:
    """How long the text messages are that can be rendered from examples."""
    from comms_pipeline.previews.rendering import example_frame, render

    rows = []
    for draft in drafts:
        if draft.channel is TextChannel.EMAIL or draft.declared is None:
            continue
        try:
            message = render(draft, example_frame(draft))
        except CommsError:
            continue  # among the findings
        rows.append((draft.name, draft.channel, message.summary))
    if rows:
        table("Text messages, with example values", ["template", "channel", "length"], rows)

"""`comms segments …`: saved segments, and how many and whom they find. The work is done in `planning.segments`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from comms_pipeline.cli.actor import actor
from comms_pipeline.cli.console import err, out, table
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.behaviour import SegmentReference
from comms_pipeline.domain.errors import NotFound
from comms_pipeline.stores import Stores

Name = Annotated[str, typer.Argument(help="The segment's name.")]
Folder = Annotated[Path, typer.Argument(help="A folder with segments/NAME.yaml, beside its campaigns.")]
OrganisationOption = Annotated[
    str | None,
    typer.Option("--organisation", help="Whose segment; not needed where there is one organisation."),
]


def apply(folder: Folder) -> None:
    """Store the segments of a folder, all or none. Unchanged ones keep their version."""
    from comms_pipeline.campaign_files import InvalidCampaignFiles
    from comms_pipeline.planning.segments import apply_segments

    stores = open_stores()
    try:
        applied = apply_segments(stores, folder, actor=actor())
    except InvalidCampaignFiles as error:
        # The last is printed like any other error.
        for problem in error.problems[:-1]:
            err.print(f"[red]error:[/red] {escape(str(problem))}")
        raise error.problems[-1] from None
    table(
        None,
        ["segment", "organisation", "version", "change"],
        [
            (each.name, each.organisation_id, each.version, "new version" if each.is_new else "unchanged")
            for each in applied
        ],
    )


def list_segments(organisation: OrganisationOption = None) -> None:
    """The latest version of every saved segment."""
    from comms_pipeline.ledger import segments

    with open_stores().ledger() as ledger:
        found = segments.segments(ledger, organisation)
    table(
        None,
        ["segment", "organisation", "version", "applied", "description"],
        [
            (
                each.name,
                each.organisation_id,
                each.version,
                f"{each.applied_at:%Y-%m-%d %H:%M}",
                each.description,
            )
            for each in found
        ],
    )


def show(name: Name, organisation: OrganisationOption = None) -> None:
    """What a segment means, and every version there was."""
    from comms_pipeline.ledger import segments
    from comms_pipeline.planning.conditions import in_words
    from comms_pipeline.planning.saved import as_saved
    from comms_pipeline.planning.segments import find_segment

    stores = open_stores()
    owner = _owner(stores, organisation)
    find_segment(stores, owner, name)
    with stores.ledger() as ledger:
        found = segments.versions(ledger, owner, name)
    out.print(found[-1].description or name, markup=False)
    table(
        None,
        ["version", "applied", "by", "whom"],
        [
            (
                each.version,
                f"{each.applied_at:%Y-%m-%d %H:%M}",
                each.applied_by,
                in_words(as_saved(each).definition),
            )
            for each in reversed(found)
        ],
    )


def count(name: Name, organisation: OrganisationOption = None) -> None:
    """How many contacts a segment finds now."""
    from comms_pipeline.planning.segments import count_contacts, find_segment

    stores = open_stores()
    owner = _owner(stores, organisation)
    segment = find_segment(stores, owner, name)
    contacts = count_contacts(stores, owner, _reference(name))
    out.print(f"{name}, version {segment.version}: {contacts:,} contacts", markup=False)


def sample(
    name: Name,
    organisation: OrganisationOption = None,
    size: Annotated[int, typer.Option("--size", help="At most so many contacts.", min=1, max=1_000)] = 10,
    columns: Annotated[
        str, typer.Option(help="Contact columns and attributes to show as they are, with commas between.")
    ] = "",
) -> None:
    """Some contacts a segment finds now, addresses masked unless asked for. Looking is noted in the audit trail."""
    from comms_pipeline.planning.segments import find_segment, sample_contacts

    stores = open_stores()
    owner = _owner(stores, organisation)
    segment = find_segment(stores, owner, name)
    found = sample_contacts(
        stores,
        owner,
        _reference(name),
        size=size,
        columns=[each.strip() for each in columns.split(",") if each.strip()],
        actor=actor(),
        subject=f"segment:{owner}/{name}@{segment.version}",
    )
    table(f"{name}, version {segment.version}", found.columns, found.rows())


def check(folder: Folder) -> None:
    """Try the segments of a folder as they stand: whom they find now, and how long it takes. Stores nothing."""
    from comms_pipeline.planning.segments import check_segments

    checked = check_segments(open_stores(), folder)
    table(
        None,
        ["segment", "contacts", "seconds"],
        [(each.name, each.contacts, round(each.seconds, 3)) for each in checked],
    )


def _owner(stores: Stores, organisation: str | None) -> str:
    from comms_pipeline.ledger import sends
    from comms_pipeline.ledger.organisations import only_organisation

    with stores.ledger() as ledger:
        if organisation is not None:
            return sends.get_organisation(ledger, organisation).organisation_id
        found = only_organisation(ledger)
    if found is None:
        raise NotFound("--organisation", "there is not exactly one organisation", "Name the organisation")
    return found.organisation_id


def _reference(name: str) -> SegmentReference:
    return SegmentReference.model_construct(segment=name)

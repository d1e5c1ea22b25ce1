"""`comms privacy …`: a copy of everything about a person, and erasure with proof. The work lives in `privacy`."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comms_pipeline.cli.console import err, out, step, table
from comms_pipeline.cli.opened import open_stores

if TYPE_CHECKING:
    from comms_pipeline.privacy.erase import Erased

Contact = Annotated[
    str,
    typer.Argument(
        help="A contact id, an e-mail address, a number in +… form, or an id of the organisation's own."
    ),
]
Organisation = Annotated[
    str | None, typer.Option(help="Whose contact; needed for an id of the organisation's own.")
]
Actor = Annotated[
    str | None, typer.Option(help="Who looks, for the audit trail; the user of this session by default.")
]


def export(
    contact: Contact,
    organisation: Organisation = None,
    path: Annotated[
        Path | None, typer.Option("--out", help="A .zip file, or a new folder; in the home by default.")
    ] = None,
    actor: Actor = None,
) -> None:
    """Write everything kept about a person: one JSON document and a CSV file per table."""
    from comms_pipeline.people import unknown_person
    from comms_pipeline.privacy.export import collect, write
    from comms_pipeline.privacy.home_files import exports_folder
    from comms_pipeline.privacy.people import find_contact

    stores = open_stores()
    found = find_contact(
        stores, contact, organisation=organisation, actor=actor or getpass.getuser(), purpose="export"
    )
    if found is None:
        raise unknown_person(organisation)
    now = stores.now()
    name = f"{found.contact_id}-{now:%Y%m%dT%H%M%S}.zip"
    path = path or exports_folder(stores.settings) / name
    tables = collect(stores, found, contact)
    write(tables, found.contact_id, path, now=now)
    table(None, ["table", "rows"], [(name, len(rows)) for name, rows in tables.items()])
    out.print(f"{path} holds personal data; only you can read it", markup=False, soft_wrap=True)


def erase(
    contact: Contact,
    organisation: Organisation = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Actor = None,
) -> None:
    """Erase a person from every store and prove it. There is no way back. Fails if anything is left."""
    from comms_pipeline.people import Asked, unknown_person
    from comms_pipeline.privacy.erase import erase as run
    from comms_pipeline.privacy.people import find_contact

    stores = open_stores()
    who = actor or getpass.getuser()
    found = find_contact(stores, contact, organisation=organisation, actor=who, purpose="erase")
    if found is None and not Asked.read(contact).is_address:
        raise unknown_person(organisation)
    name = f"contact {found.contact_id} of {found.organisation_id}" if found else "an address no contact has"
    if not yes:
        typer.confirm(f"Erase {name} from every store? There is no way back.", abort=True)
    with step(f"Erasing {name}"):
        erased = run(stores, found, contact, organisation=organisation, actor=who)
    table(None, ["store", "rows", "what became of them"], [(x.store, x.rows, x.fate) for x in erased.lines])
    _print_providers(erased)
    _print_proof(erased)


def _print_providers(erased: "Erased") -> None:
    providers = erased.providers
    out.print(
        f"Providers: {providers.done:,} erasures carried out, {providers.failed:,} failed and due again, "
        f"{providers.waiting:,} waiting"
    )


def _print_proof(erased: "Erased") -> None:
    proof = erased.proof
    if proof is None:
        out.print("It was erased before: no address is known to search for")
        return
    left = sum(count for _, count in proof.found)
    out.print(
        f"Proof: searched {proof.files:,} files and {proof.rows:,} rows of {proof.tables:,} tables "
        f"for the address in every spelling: {left:,} found"
    )
    if left:
        table("Still there", ["place", "rows"], proof.found)
        err.print(
            "[red]error:[/red] the address is still kept; see docs/guides/privacy.md for what may hold it"
        )
        raise typer.Exit(1)

"""`comms import contacts`. The import itself lives in `loader.contacts`."""

from pathlib import Path
from typing import Annotated

import typer

from comms_pipeline.cli.console import out, step, table
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.consent import ConsentKind

_REASONS_SHOWN = 12


def import_contacts(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or NDJSON.")],
    mapping: Annotated[Path | None, typer.Option("--map", help="YAML: what becomes of which column.")] = None,
    organisation: Annotated[
        str | None, typer.Option(help="Whose contacts these are; needed without a mapping.")
    ] = None,
    consent: Annotated[
        str | None, typer.Option(help="Where their consent comes from; needed without a mapping.")
    ] = None,
    consent_kind: Annotated[
        ConsentKind, typer.Option(help="What kind of consent that is; rules ask for it.")
    ] = ConsentKind.UNSTATED,
) -> None:
    """Import contacts, whole or not at all. Importing the same file again changes nothing."""
    from comms_pipeline.loader.contacts import import_contacts as run

    stores = open_stores()
    done = 0

    def show(rows: int) -> None:
        nonlocal done
        done += rows
        progress.update(progress.task_ids[0], note=f"{done:,} rows")

    with step(f"Importing {file.name}") as progress:
        report = run(
            stores,
            file,
            mapping,
            organisation=organisation,
            consent_source=consent,
            consent_kind=consent_kind,
            progress=show,
        )
    out.print(
        f"{report.rows:,} rows: {report.written:,} contacts new or changed, {report.unchanged:,} unchanged, "
        f"{report.rejected_rows:,} rows rejected"
    )
    if report.reject_reasons:
        table(
            "Rejects (raw.contact_rejects)",
            ["column", "reason", "rows"],
            report.reject_reasons[:_REASONS_SHOWN],
        )

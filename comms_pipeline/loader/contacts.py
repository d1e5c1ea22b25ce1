"""Writes imported contacts and their rejects into the lake: a file is imported whole or not at all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import polars as pl

from comms_pipeline.contacts.importer import read_contacts
from comms_pipeline.contacts.mapping import Consent, ContactMapping, load_mapping
from comms_pipeline.domain.consent import ConsentKind
from comms_pipeline.domain.errors import InvalidContactFile
from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.ledger import sends
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/contacts.sql"


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did. `rows` = contacts of the file (written or unchanged) + `rejected_rows`."""

    import_id: str
    rows: int
    written: int
    unchanged: int
    rejected_rows: int
    reject_reasons: list[tuple[str | None, str, int]]
    """(column, reason, rows), most frequent first; also of columns whose row was kept. No column: a broken row."""
    contacts_after: int


def import_contacts(
    stores: Stores,
    path: Path,
    mapping_path: Path | None = None,
    *,
    organisation: str | None = None,
    consent_source: str | None = None,
    consent_kind: ConsentKind = ConsentKind.UNSTATED,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Read, map, normalise and upsert a file of contacts in one lake transaction.

    Importing the same file again changes nothing. Raises `InvalidContactFile`, `NotFound` for an unknown
    organisation.
    """
    mapping = (
        load_mapping(mapping_path)
        if mapping_path
        else _without_mapping(organisation, consent_source, consent_kind)
    )
    with stores.ledger() as ledger:
        sends.get_organisation(ledger, mapping.organisation)
    import_id = uuid4().hex
    rows = written = 0
    rejects: list[pl.DataFrame] = []
    with stores.lake.writer() as writer:
        for batch in read_contacts(path, mapping, secret=stores.secret, progress=progress):
            contacts = batch.contacts.with_columns(consent_kind=pl.lit(str(mapping.consent.kind)))
            written += _upsert(writer, contacts, stores)
            rows += batch.contacts.height
            rejects.append(batch.rejects)
            writer.append("raw.contact_rejects", _reject_rows(batch.rejects, import_id))
        found = pl.concat(rejects)
        rejected_rows = found.filter(severity="row")["source_row"].n_unique()
        writer.append(
            "raw.contact_imports",
            pl.DataFrame(
                {
                    "import_id": [import_id],
                    "organisation_id": [mapping.organisation],
                    "source_name": [path.name],
                    "row_count": [rows + rejected_rows],
                    "contact_count": [rows],
                    "rejected_rows": [rejected_rows],
                    "imported_at": [stores.now()],
                }
            ),
        )
        total = writer.cursor.execute("select count(*) from core.contacts where not is_erased").fetchone()
    return ImportReport(
        import_id=import_id,
        rows=rows + rejected_rows,
        written=written,
        unchanged=rows - written,
        rejected_rows=rejected_rows,
        reject_reasons=_reasons(found),
        contacts_after=total[0] if total else 0,
    )


def _without_mapping(
    organisation: str | None, consent_source: str | None, consent_kind: ConsentKind
) -> ContactMapping:
    """What a mapping file must say anyhow: whose contacts these are, and why we may write to them."""
    if organisation is None or consent_source is None:
        raise InvalidContactFile(
            "import",
            "nothing says whose contacts these are and where their consent comes from",
            "Pass --organisation and --consent, or --map with 'organisation:' and 'consent:'",
        )
    consent = Consent(source=consent_source, kind=consent_kind)
    return ContactMapping(organisation=organisation, consent=consent)


def _upsert(writer: LakeWriter, contacts: pl.DataFrame, stores: Stores) -> int:
    """Write the contacts that are new or differ; returns how many."""
    writer.cursor.register("imported", contacts.to_arrow())
    changed = writer.cursor.execute(named_queries(_QUERIES)["new_or_changed"], {"now": stores.now()}).pl()
    writer.cursor.unregister("imported")
    return writer.replace_keys("core.contacts", "contact_id", changed)


def _reject_rows(rejects: pl.DataFrame, import_id: str) -> pl.DataFrame:
    return rejects.select(
        "source_row", "reason", "severity", import_id=pl.lit(import_id), column_name=pl.col("column")
    )


def _reasons(rejects: pl.DataFrame) -> list[tuple[str | None, str, int]]:
    # Reasons that name another row say the same thing of different rows.
    general = rejects.with_columns(pl.col("reason").str.replace(r"row \d+", "another row"))
    counted = general.group_by("column", "reason").len()
    return counted.sort("len", "column", "reason", descending=[True, False, False]).rows()

"""`core/contacts`: an imported file becomes contacts. Reading and writing live in `loader.contacts`."""

from pathlib import Path

import dagster as dg

from comms_pipeline import vocabulary
from comms_pipeline.domain.consent import ConsentKind
from comms_pipeline.loader.contacts import import_contacts
from comms_pipeline.metadata import bars, rows_table
from comms_pipeline.resources.stores import StoresResource


class ContactFile(dg.Config):
    """What to import. Without a mapping, columns are recognised by name, and the other two are needed."""

    path: str
    mapping: str | None = None
    organisation: str | None = None
    consent: str | None = None
    consent_kind: str = ConsentKind.UNSTATED.value


@dg.asset(
    key=vocabulary.CONTACTS,
    group_name=vocabulary.CONTACTS_GROUP,
    owners=vocabulary.OPERATIONS,
    kinds=vocabulary.LAKE_KINDS,
    description="Everybody we may know how to reach, one row per contact. Imports upsert; rejected rows are kept "
    "with row number, column and reason in raw.contact_rejects.",
)
def contacts(
    context: dg.AssetExecutionContext, config: ContactFile, stores: StoresResource
) -> dg.MaterializeResult:
    """Import one file, whole or not at all."""
    report = import_contacts(
        stores,
        Path(config.path),
        Path(config.mapping) if config.mapping else None,
        organisation=config.organisation,
        consent_source=config.consent,
        consent_kind=ConsentKind(config.consent_kind),
        progress=lambda rows: context.log.info(f"{rows:,} rows read"),
    )
    rows = {
        "new or changed": report.written,
        "unchanged": report.unchanged,
        "rejected": report.rejected_rows,
    }
    return dg.MaterializeResult(
        metadata={
            "import_chart": bars(rows, "What became of the file's rows"),
            "dagster/row_count": report.contacts_after,
            "rows_read": report.rows,
            "contacts_new_or_changed": report.written,
            "contacts_unchanged": report.unchanged,
            "rows_rejected": report.rejected_rows,
            "rejects": rows_table(
                {"column": column, "reason": reason, "rows": rows}
                for column, reason, rows in report.reject_reasons
            ),
            "import_id": report.import_id,
        }
    )

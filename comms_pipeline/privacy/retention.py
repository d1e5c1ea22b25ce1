"""How long personal data of each kind is kept, and deleting what is older.

What runs dry by itself (queue payloads, landed webhooks, reply windows, counted messages) is `ops.maintenance`' work.

Data is kept as long as somebody needs it and law asks for it; the reason stands beside each term.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from comms_pipeline.ledger import erasure
from comms_pipeline.privacy.home_files import delete_old_exports
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores


class DataClass(StrEnum):
    """Kinds of personal data that age."""

    CONSENTS = "consents"
    AUDIT = "audit"
    PROVIDER_ERASURES = "provider_erasures"
    CONTACT_REJECTS = "contact_rejects"
    EXPORTS = "exports"


@dataclass(frozen=True, kw_only=True)
class Term:
    """How many days, counted from what, and why."""

    days: int
    counted_from: str
    why: str


RETENTION: dict[DataClass, Term] = {
    DataClass.CONSENTS: Term(
        days=1826,
        counted_from="its withdrawal",
        why="proof that what was sent before was allowed (GDPR Art 7(1))",
    ),
    DataClass.AUDIT: Term(days=2557, counted_from="the change", why="claims may come up years later"),
    DataClass.PROVIDER_ERASURES: Term(
        days=1096, counted_from="the provider's answer", why="proof that it was asked; holds nothing personal"
    ),
    DataClass.CONTACT_REJECTS: Term(days=90, counted_from="the import", why="time to mend the file"),
    DataClass.EXPORTS: Term(days=30, counted_from="the export", why="whoever asked has fetched it by then"),
}
"""What `apply` deletes. docs/guides/privacy.md tells of everything else."""

_IN_LEDGER = (DataClass.CONSENTS, DataClass.AUDIT, DataClass.PROVIDER_ERASURES)


def apply(stores: Stores) -> dict[DataClass, int]:
    """Delete what is older than its term; rows (files, of exports) by class."""
    with stores.ledger() as ledger, ledger.transaction():
        purged = erasure.purge(ledger, {str(each): RETENTION[each].days for each in _IN_LEDGER})
        deleted = {each: purged[str(each)] for each in _IN_LEDGER}
    deleted[DataClass.CONTACT_REJECTS] = _purge_rejects(stores)
    before = stores.now() - timedelta(days=RETENTION[DataClass.EXPORTS].days)
    deleted[DataClass.EXPORTS] = delete_old_exports(stores.settings, before=before.timestamp())
    return deleted


def _purge_rejects(stores: Stores) -> int:
    before = stores.now() - timedelta(days=RETENTION[DataClass.CONTACT_REJECTS].days)
    query = named_queries("lake/queries/privacy.sql")["purge_contact_rejects"]
    with stores.lake.writer() as writer:
        row = writer.cursor.execute(query, {"before": before}).fetchone()
    return int(row[0]) if row else 0

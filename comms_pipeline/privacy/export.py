"""A copy of everything kept about one person (GDPR Art 15 and 20): one JSON document, and a CSV file per table.

The format is described in docs/guides/privacy.md and keeps its number as long as readers need not change.
"""

import csv
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.ledger import audit, erasure
from comms_pipeline.people import Asked, Person
from comms_pipeline.privacy import in_lake
from comms_pipeline.privacy.people import person_of
from comms_pipeline.privacy.queued import queued_messages
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

FORMAT = "comms-pipeline/contact-export/1"
_QUERIES = "lake/queries/privacy.sql"
_LAKE_TABLES = (
    "contact",
    "imports",
    "audiences",
    "decisions",
    "messages",
    "outcomes",
    "events",
    "provider_events",
    "message_status",
    "business_events",
    "conversions",
    "contact_scores",
    "channel_affinity",
    "send_hours",
)
_JSON_COLUMNS = ("attributes", "payload", "properties")
_HIDDEN = "address_key"

Row = Mapping[str, Any]


class ExportExists(CommsError):
    """There is something where the export should go."""


def collect(stores: Stores, contact: Person, text: str) -> dict[str, Sequence[Row]]:
    """Every row about the contact, by table, JSON-ready but for times. `text` is what was asked for."""
    tables: dict[str, Sequence[Row]] = {}
    with stores.lake.reader() as cursor:
        for table in _LAKE_TABLES:
            query = named_queries(_QUERIES)[f"export_{table}"]
            frame = cursor.execute(query, {"contact_id": contact.contact_id}).pl()
            tables[table] = [_readable(row) for row in frame.iter_rows(named=True)]
    person = person_of(contact, Asked.read(text), stores.secret)
    messages, _ = in_lake.messages_of(stores.lake, contact.contact_id)
    with stores.ledger() as ledger:
        tables.update(erasure.records_of(ledger, person))
        found = audit.of_subject(ledger, contact.organisation_id, person.subjects)
        tables["audit"] = [asdict(entry) for entry in found]
        tables["queued"] = [
            {"batch_id": batch_id, "status": status, **_without_keys(row)}
            for batch_id, status, rows in queued_messages(
                ledger, messages["send_id"].unique().to_list(), messages["message_id"].to_list()
            )
            for row in rows.iter_rows(named=True)
        ]
    return tables


def write(tables: Mapping[str, Sequence[Row]], contact_id: str, path: Path, *, now: datetime) -> None:
    """Write the export: a zip archive when `path` ends in .zip, else a folder. Only its owner may read it.

    Raises `ExportExists` when there is something already, or it cannot be written.
    """
    head = {"format": FORMAT, "exported_at": now, "contact_id": contact_id}
    document = orjson.dumps({**head, "tables": tables}, option=orjson.OPT_INDENT_2)
    files = {"contact.json": document} | {f"{name}.csv": _csv(rows) for name, rows in tables.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.suffix == ".zip":
            _write_privately(path, _zipped(files))
        else:
            path.mkdir(mode=0o700)
            for name, content in files.items():
                _write_privately(path / name, content)
    except FileExistsError:
        raise ExportExists(str(path), "it exists already", "Choose another place with --out") from None
    except OSError as error:
        problem = (error.strerror or "it cannot be written").lower()
        raise ExportExists(str(path), problem, "Choose another place with --out") from None


def _readable(row: Row) -> Row:
    """JSON that is kept as text, as what it says."""
    return {
        name: _loaded(value) if name in _JSON_COLUMNS and isinstance(value, str) else value
        for name, value in row.items()
    }


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _without_keys(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != _HIDDEN}


def _csv(rows: Sequence[Row]) -> bytes:
    """One line per row after a line of names; lists and structures as JSON, times in ISO 8601. Empty without rows."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | dict):
        return orjson.dumps(value).decode()
    return value


def _zipped(files: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return archive.getvalue()


def _write_privately(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)

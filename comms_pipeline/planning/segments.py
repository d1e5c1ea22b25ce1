"""Saved segments: applied from files, counted, sampled, checked. Finding the contacts is `audience`'s."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import psycopg
from pydantic import ValidationError

from comms_pipeline.audience.references import SavedSegment, segments_used
from comms_pipeline.campaign_files import SEGMENT_FOLDER, load_segments
from comms_pipeline.domain.behaviour import SegmentReference
from comms_pipeline.domain.errors import CommsError, InvalidSegment, NotFound
from comms_pipeline.domain.saved_segment import SegmentSpec
from comms_pipeline.domain.segment import CONTACT_FIELDS, Audience, Comparison, Operator
from comms_pipeline.ledger import audit, segments, sends
from comms_pipeline.planning.audience import ask, compiled, require_known_fields
from comms_pipeline.planning.saved import saved_segments
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

QUERIES = "lake/queries/segments.sql"
MAX_SAMPLE = 1_000


@dataclass(frozen=True, kw_only=True)
class AppliedSegment:
    """What applying did to one segment."""

    organisation_id: str
    name: str
    version: int
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class CheckedSegment:
    """How many contacts a segment of a folder finds now, and how long that took."""

    name: str
    contacts: int
    seconds: float


def apply_segments(stores: Stores, folder: Path, *, actor: str) -> list[AppliedSegment]:
    """Store the segments of a folder, all or none.

    Raises `InvalidCampaignFiles` with the problems of every file, `InvalidSegment` for what names a segment that is
    neither in the folder nor saved, or comes back to itself.
    """
    specs = _loaded(folder)
    with stores.ledger() as ledger, ledger.transaction():
        return put_segments(ledger, specs, actor=actor)


def put_segments(
    ledger: psycopg.Connection, specs: Mapping[str, SegmentSpec], *, actor: str
) -> list[AppliedSegment]:
    """`apply_segments` of what is read already, within an open transaction."""
    applied = []
    for spec in specs.values():
        sends.get_organisation(ledger, spec.organisation)
        segments_used(_reference(spec.name), _with(ledger, spec.organisation, specs))
        version, is_new = segments.apply_segment(
            ledger,
            organisation_id=spec.organisation,
            name=spec.name,
            digest=spec.digest,
            description=spec.description,
            definition=spec.model_dump(mode="json", by_alias=True)["audience"],
            actor=actor,
        )
        applied.append(
            AppliedSegment(organisation_id=spec.organisation, name=spec.name, version=version, is_new=is_new)
        )
    return applied


def require_saved(ledger: psycopg.Connection, organisation_id: str, definition: Audience) -> None:
    """Check that every segment a definition names is saved. Raises `InvalidSegment`."""
    segments_used(definition, saved_segments(ledger, organisation_id))


def check_segments(stores: Stores, folder: Path) -> list[CheckedSegment]:
    """Find the contacts of every segment of a folder, as it stands there; stores nothing.

    Raises what `apply_segments` raises, and `InvalidSegment` for fields nobody has and for SQL that does not run.
    """
    specs = _loaded(folder)
    checked = []
    with stores.ledger() as ledger, stores.lake.reader() as cursor:
        for spec in specs.values():
            saved = _with(ledger, spec.organisation, specs)
            require_known_fields(cursor, spec.organisation, _reference(spec.name), saved)
            started = time.perf_counter()
            contacts = _count(cursor, stores, spec.organisation, _reference(spec.name), saved)
            checked.append(
                CheckedSegment(name=spec.name, contacts=contacts, seconds=time.perf_counter() - started)
            )
    return checked


def find_segment(stores: Stores, organisation_id: str, name: str) -> SavedSegment:
    """The latest version. Raises `InvalidSegment`, with the nearest name, when there is none."""
    with stores.ledger() as ledger:
        saved = saved_segments(ledger, organisation_id)
    segments_used(_reference(name), saved)
    return saved[name]


def count_contacts(stores: Stores, organisation_id: str, definition: Audience) -> int:
    """How many contacts of the organisation a definition fits now. Raises `InvalidSegment`."""
    with stores.ledger() as ledger:
        saved = saved_segments(ledger, organisation_id)
    with stores.lake.reader() as cursor:
        require_known_fields(cursor, organisation_id, definition, saved)
        return _count(cursor, stores, organisation_id, definition, saved)


def sample_contacts(
    stores: Stores,
    organisation_id: str,
    definition: Audience,
    *,
    size: int,
    columns: Sequence[str] = (),
    actor: str,
    subject: str,
) -> pl.DataFrame:
    """Up to `size` contacts whom a definition fits now, the same ones every time.

    Without `columns` there are ids, masked addresses, language and country; else the ids and these contact columns
    or attributes as they are. Who looked at what is noted in the audit trail. Raises `InvalidSegment`.
    """
    if not 1 <= size <= MAX_SAMPLE:
        raise CommsError("sample", f"{size} contacts are asked for", f"Ask for 1 to {MAX_SAMPLE}")
    with stores.ledger() as ledger:
        saved = saved_segments(ledger, organisation_id)
        with stores.lake.reader() as cursor:
            for each in (definition, *map(_about, columns)):
                require_known_fields(cursor, organisation_id, each, saved)
            query = compiled(cursor, stores, organisation_id, definition, saved)
            selected, values = _columns(columns)
            statement = named_queries(QUERIES)["sample"].replace("{columns}", selected)
            found = ask(cursor, stores, query, statement, {**values, "size": size})
        audit.note(
            ledger,
            actor=actor,
            action="pii-access",
            subject=subject,
            details={"for": "segment sample", "columns": list(columns), "found": found.height},
        )
    return found


def _columns(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What to select, and its parameters: paths of attributes."""
    if not names:
        masked = {name: named_queries(QUERIES)[f"masked_{name}"] for name in ("email", "phone")}
        shown = [*(f"{sql} as {name}" for name, sql in masked.items()), "contact.language", "contact.country"]
        return ", ".join(["contact.contact_id", *shown]), {}
    selected, values = ["contact.contact_id"], {}
    for position, name in enumerate(dict.fromkeys(names)):
        if name in CONTACT_FIELDS:
            selected.append(f"contact.{name}")
            continue
        values[f"path{position}"] = "/" + name.replace(".", "/")
        # A field name holds no quotation mark: `_about` has seen to it.
        selected.append(f'json_extract_string(contact.attributes, $path{position}::varchar) as "{name}"')
    return ", ".join(selected), values


def _about(name: str) -> Comparison:
    """A condition on a field, to have its name checked."""
    try:
        return Comparison(field=name, op=Operator.EQ, value="")
    except ValidationError:
        raise InvalidSegment(
            "columns", f"'{name[:80]}' is not a field name", "Name contact columns and attributes"
        ) from None


def _reference(name: str) -> SegmentReference:
    return SegmentReference.model_construct(segment=name)


def _count(
    cursor: duckdb.DuckDBPyConnection,
    stores: Stores,
    organisation_id: str,
    definition: Audience,
    saved: Mapping[str, SavedSegment],
) -> int:
    query = compiled(cursor, stores, organisation_id, definition, saved)
    return int(ask(cursor, stores, query, named_queries(QUERIES)["count"]).item())


def _loaded(folder: Path) -> dict[str, SegmentSpec]:
    specs = load_segments(folder)
    if not specs:
        raise NotFound(
            str(folder), f"it has no {SEGMENT_FOLDER}/ with YAML files", "Write one segment per file"
        )
    return specs


def _with(
    ledger: psycopg.Connection, organisation_id: str, specs: Mapping[str, SegmentSpec]
) -> dict[str, SavedSegment]:
    """What is saved, with the segments of a folder in place of their stored versions."""
    drafts = {
        name: SavedSegment(name=name, version=0, definition=spec.audience)
        for name, spec in specs.items()
        if spec.organisation == organisation_id
    }
    return saved_segments(ledger, organisation_id) | drafts

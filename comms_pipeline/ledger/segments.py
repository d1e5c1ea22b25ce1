"""Saved segments by organisation and name, every version kept. What a definition means is `audience`'s."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/segments.sql"


@dataclass(frozen=True, kw_only=True)
class SegmentVersion:
    """A segment as it was applied; a version never changes once stored. `definition` is an audience as JSON."""

    organisation_id: str
    name: str
    version: int
    digest: str
    description: str
    definition: dict[str, Any]
    applied_by: str
    applied_at: datetime


def apply_segment(
    connection: psycopg.Connection[Any],
    *,
    organisation_id: str,
    name: str,
    digest: str,
    description: str,
    definition: dict[str, Any],
    actor: str,
) -> tuple[int, bool]:
    """Store a version; returns (version, whether it is new). The latest content applied again adds none."""
    # One apply at a time per segment: two would otherwise number the same version.
    connection.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"segment {organisation_id} {name}",))
    key = {"organisation_id": organisation_id, "name": name}
    latest = connection.execute(named_queries(_SQL)["latest_version"], key).fetchone()
    if latest and latest[1] == digest:
        return latest[0], False
    version = latest[0] + 1 if latest else 1
    connection.execute(
        named_queries(_SQL)["put_version"],
        {
            **key,
            "version": version,
            "digest": digest,
            "description": description,
            "definition": Jsonb(definition),
            "actor": actor,
        },
    )
    return version, True


def segments(connection: psycopg.Connection[Any], organisation_id: str | None = None) -> list[SegmentVersion]:
    """The latest version of every segment, of one organisation or of all, by organisation and name."""
    with connection.cursor(row_factory=class_row(SegmentVersion)) as cursor:
        return cursor.execute(
            named_queries(_SQL)["segments"], {"organisation_id": organisation_id}
        ).fetchall()


def versions(connection: psycopg.Connection[Any], organisation_id: str, name: str) -> list[SegmentVersion]:
    """Every version of a segment, oldest first; none for an unknown one."""
    with connection.cursor(row_factory=class_row(SegmentVersion)) as cursor:
        parameters = {"organisation_id": organisation_id, "name": name}
        return cursor.execute(named_queries(_SQL)["versions"], parameters).fetchall()

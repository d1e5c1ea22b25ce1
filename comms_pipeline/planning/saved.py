"""An organisation's saved segments as values. Storing them is `segments`'."""

from typing import Any

import psycopg
from pydantic import TypeAdapter

from comms_pipeline.audience.references import SavedSegment
from comms_pipeline.domain.segment import Audience
from comms_pipeline.ledger import segments

_AUDIENCE: TypeAdapter[Audience] = TypeAdapter(Audience)


def saved_segments(ledger: psycopg.Connection[Any], organisation_id: str) -> dict[str, SavedSegment]:
    """The latest version of every segment, by name."""
    return {each.name: as_saved(each) for each in segments.segments(ledger, organisation_id)}


def as_saved(version: segments.SegmentVersion) -> SavedSegment:
    """A stored version as a value."""
    return SavedSegment(
        name=version.name,
        version=version.version,
        definition=_AUDIENCE.validate_python(version.definition),
    )

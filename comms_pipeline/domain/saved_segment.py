"""A segment that people save under a name, as its file says it. Reads no file."""

import hashlib
import json
from typing import Annotated

from pydantic import Field

from comms_pipeline.domain.fields import Slug
from comms_pipeline.domain.segment import SEGMENT_KEYS, Audience
from comms_pipeline.domain.validation import KnownKeys, Strict, keys_of


class SegmentSpec(Strict):
    """Whom a name stands for, in one organisation."""

    name: Slug
    organisation: Slug
    description: Annotated[str, Field(max_length=1_000)] = ""
    audience: Audience

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the whole content; the same for the same content on every machine."""
        canonical = json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


SEGMENT_FILE_KEYS: KnownKeys = {"": keys_of(SegmentSpec), **SEGMENT_KEYS}
"""For `validation.faults`."""

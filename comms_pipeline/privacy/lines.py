"""What an erasure tells of each store. Values only."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Line:
    """What became of the rows of one store, in words for the person and the auditor."""

    store: str
    rows: int
    fate: str

"""What the answer to "why?" hangs on: one person, one send, and what is on record of both. Values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from comms_pipeline.ledger.sends import Send
from comms_pipeline.people import Person
from comms_pipeline.planning.conditions import Condition
from comms_pipeline.planning.whereabouts import Place, Planned, Told


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The audience as it was selected last; `member_since` None: the contact is not in it."""

    selected_at: datetime | None
    contacts: int
    member_since: datetime | None
    conditions: Sequence[Condition] = ()

    @property
    def unmet(self) -> list[Condition]:
        return [each for each in self.conditions if not each.is_met]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One channel's decision. `rules`: id, version, evidence of each that spoke."""

    channel: str
    decision: str
    decided_at: datetime
    not_before: datetime | None
    hours: str | None
    rules: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Journey:
    """One message of the plan, and what became of it."""

    planned: Planned
    place: Place | None
    outcomes: list[Told] = field(default_factory=list)
    events: list[Told] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All there is to tell."""

    person: Person
    send: Send
    selection: Selection
    decisions: list[Decision]
    journeys: list[Journey]

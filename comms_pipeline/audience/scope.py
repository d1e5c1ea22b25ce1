"""What compiling a definition carries along: values on their way into the query, and the segments it may name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from comms_pipeline.domain.segment import Audience, Scalar

Parameter = Scalar | datetime | list[Scalar]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Values, each under a name of its own; saved definitions by name; and what time it is.

    `now` None is the database's own clock, at the beginning of its transaction. `has_steps`: the steps in
    `core.contact_scores` know of every message.
    """

    values: dict[str, Parameter] = field(default_factory=dict)
    saved: Mapping[str, Audience] = field(default_factory=dict)
    now: datetime | None = None
    has_steps: bool = False

    def add(self, value: Parameter) -> str:
        """Keep a value; gives back how SQL refers to it."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"${name}"

    def now_sql(self) -> str:
        """How SQL refers to the present."""
        return "now()" if self.now is None else f"{self.add(self.now)}::timestamptz"

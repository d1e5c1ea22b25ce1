"""Reads and validates the rule rows. What a check does lives in `checks`."""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from comms_pipeline.compliance.checks import CHECKS
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.message import Channel, MessageClass


class InvalidRule(CommsError):
    """A rule row is not valid; nothing may be sent on a rule set that cannot be read."""


class Rule(BaseModel):
    """One rule row: to what it applies, which check it runs, and on whose word."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    version: Annotated[int, Field(ge=1)]
    jurisdiction: str
    channels: frozenset[Channel]
    classes: frozenset[MessageClass]
    check: str
    source: Annotated[str, Field(min_length=1)]
    verified_on: date


@cache
def load_rules(folder: Path = Path(__file__).parent / "rules") -> tuple[Rule, ...]:
    """Every rule of every file in `folder`, by id. Raises `InvalidRule` naming file, row and field."""
    rules: dict[str, Rule] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            rows = TypeAdapter(list[Rule]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidRule(f"{path.name}: row {where}", first["msg"], "Correct the row") from None
        for rule in rows:
            if rule.check not in CHECKS:
                raise InvalidRule(
                    f"{path.name}: {rule.id}", f"unknown check '{rule.check}'", f"Known: {', '.join(CHECKS)}"
                )
            if rule.id in rules:
                raise InvalidRule(
                    f"{path.name}: {rule.id}", "this id is used twice", "Give each rule its own id"
                )
            rules[rule.id] = rule
    return tuple(rules[key] for key in sorted(rules))

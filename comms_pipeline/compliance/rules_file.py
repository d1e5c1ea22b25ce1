"""Reads and validates the rule rows. What a check does lives in `checks`."""

from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from comms_pipeline.compliance.checks import CHECKS
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.validation import Strict, fault, faults, keys_of, nearest
from comms_pipeline.domain.yaml_marks import YamlSyntaxError, parse_yaml


class InvalidRule(CommsError):
    """A rule row is not valid; nothing may be sent on a rule set that cannot be read."""


def _known_check(value: str) -> str:
    if value not in CHECKS:
        raise fault(f"unknown check '{value}'", nearest(value, CHECKS))
    return value


class Rule(Strict):
    """One rule row: to what it applies, which check it runs, and on whose word."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    version: Annotated[int, Field(ge=1)]
    jurisdiction: Annotated[str, Field(min_length=1)]
    # A rule for no channel or no class would never run, and nobody would notice.
    channels: Annotated[frozenset[Channel], Field(min_length=1)]
    classes: Annotated[frozenset[MessageClass], Field(min_length=1)]
    check: Annotated[str, AfterValidator(_known_check)]
    source: Annotated[str, Field(min_length=1)]
    verified_on: date


@cache
def load_rules(folder: Path = Path(__file__).parent / "rules") -> tuple[Rule, ...]:
    """Every rule of every file in `folder`, by id. Raises `InvalidRule`; culprits are `file:line`."""
    rules: dict[str, Rule] = {}
    for path in sorted(folder.glob("*.yaml")):
        for line, rule in _rows(path):
            if rule.id in rules:
                raise InvalidRule(
                    f"{path.name}:{line}", f"the id '{rule.id}' is used twice", "Give each rule its own id"
                )
            rules[rule.id] = rule
    if not rules:
        # No rule excludes nobody: a missing file must not read as permission.
        raise InvalidRule(str(folder), "it holds no rule", "Install comms-pipeline again")
    return tuple(rules[key] for key in sorted(rules))


def _rows(path: Path) -> Iterator[tuple[int, Rule]]:
    """The rules of one file, each with the line it begins in."""
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except YamlSyntaxError as error:
        raise InvalidRule(f"{path.name}:{error.line}", error.problem, error.fix) from None
    try:
        rows = TypeAdapter(list[Rule]).validate_python(document.value)
    except ValidationError as error:
        first = faults(error, {"": keys_of(Rule)})[0]
        raise InvalidRule(f"{path.name}:{document.line(first.path)}", first.problem, first.fix) from None
    for position, rule in enumerate(rows):
        yield document.line([position]), rule

"""Reads and validates the rules of verdicts. What a check does lives in `checks`, what follows from it in `judge`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.event import EventKind
from comms_pipeline.domain.validation import Fault, Strict, fault, faults, keys_of, nearest
from comms_pipeline.domain.yaml_marks import MarkedYaml, YamlSyntaxError, parse_yaml
from comms_pipeline.verdicts.checks import CHECKS, Check, NoOpen, SharedAddress

_RULES = Path(__file__).parent / "rules.yaml"


class Verdict(StrEnum):
    """Who did it. The words of `core.events.verdict`."""

    HUMAN = "human"
    MACHINE = "machine"
    PROXY = "proxy"
    """Somebody's mail program, through a relay, whether or not the person ever looked."""
    UNKNOWN = "unknown"


class InvalidVerdictRule(CommsError):
    """A rule of verdicts is not valid; nothing is judged by a rule set that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class VerdictRule:
    """One kind of evidence: of which events, what it asks, how much it weighs (0–1), for whom it speaks."""

    id: str
    kinds: frozenset[EventKind]
    check: Check
    weight: float
    speaks_for: Verdict
    source: str
    verified_on: date


@dataclass(frozen=True, kw_only=True)
class VerdictRules:
    """A rule set. `version` grows with every change: verdicts of an older one are judged anew."""

    version: int
    unknown_from: float
    machine_from: float
    rules: tuple[VerdictRule, ...]

    @property
    def crowd_seconds(self) -> int:
        """How far apart in time clicks of different messages can be evidence against each other."""
        return max((int(check.seconds) + 1 for check in self._crowds), default=1)

    @property
    def crowd_recipients(self) -> int:
        """How few messages with clicks of one client can be evidence against each other; huge when none ever are."""
        return min((check.recipients for check in self._crowds), default=2**31 - 1)

    @property
    def _crowds(self) -> list[SharedAddress]:
        return [rule.check for rule in self.rules if isinstance(rule.check, SharedAddress)]


def _known_check(value: str) -> str:
    if value not in CHECKS:
        raise fault(f"unknown check '{value}'", nearest(value, CHECKS))
    return value


class _Row(Strict):
    """A rule as it is written."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    kinds: Annotated[frozenset[Literal[EventKind.OPENED, EventKind.CLICKED]], Field(min_length=1)]
    check: Annotated[str, AfterValidator(_known_check)]
    with_: Annotated[dict[str, object], Field(alias="with")]
    weight: Annotated[float, Field(gt=0, le=1)]
    speaks_for: Literal[Verdict.MACHINE, Verdict.PROXY, Verdict.HUMAN]
    source: Annotated[str, Field(min_length=1)]
    verified_on: date


class _Thresholds(Strict):
    """Scores from which nobody knows, and from which it was no person."""

    unknown_from: Annotated[float, Field(gt=0, lt=1)]
    machine_from: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _in_order(self) -> "_Thresholds":
        if self.unknown_from > self.machine_from:
            raise fault("'unknown_from' is above 'machine_from'", "Lower it, or make them equal")
        return self


class _File(Strict):
    """The file as it is written."""

    version: Annotated[int, Field(ge=1)]
    thresholds: _Thresholds
    rules: Annotated[tuple[_Row, ...], Field(min_length=1)]


_KEYS: Mapping[str, frozenset[str]] = {
    "": keys_of(_File),
    "thresholds": keys_of(_Thresholds),
    "rules": keys_of(_Row),
}


@cache
def load_verdict_rules(path: Path = _RULES) -> VerdictRules:
    """The rule set of a file. Raises `InvalidVerdictRule`; culprits are `file:line`."""
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except YamlSyntaxError as error:
        raise InvalidVerdictRule(f"{path.name}:{error.line}", error.problem, error.fix) from None
    try:
        read = _File.model_validate(document.value)
    except ValidationError as error:
        raise _invalid(path, document, faults(error, _KEYS)[0]) from None
    rules: dict[str, VerdictRule] = {}
    for position, row in enumerate(read.rules):
        if row.id in rules:
            raise InvalidVerdictRule(
                f"{path.name}:{document.line(['rules', position])}",
                f"the id '{row.id}' is used twice",
                "Give each rule its own id",
            )
        rules[row.id] = _rule(path, document, position, row)
    return VerdictRules(
        version=read.version,
        unknown_from=read.thresholds.unknown_from,
        machine_from=read.thresholds.machine_from,
        rules=tuple(rules.values()),
    )


def _rule(path: Path, document: MarkedYaml, position: int, row: _Row) -> VerdictRule:
    model = CHECKS[row.check]
    above = ("rules", position, "with")
    try:
        check = model.model_validate(row.with_)
    except ValidationError as error:
        first = faults(error, {"": keys_of(model)})[0]
        raise _invalid(path, document, first, above) from None
    if isinstance(check, NoOpen) and EventKind.OPENED in row.kinds:
        # Opens are judged first: whether one was a person's is what this check goes by.
        found = Fault(path=(), problem="only clicks can lack an open", fix="Write 'kinds: [clicked]'")
        raise _invalid(path, document, found, above)
    return VerdictRule(
        id=row.id,
        kinds=row.kinds,
        check=check,
        weight=row.weight,
        speaks_for=row.speaks_for,
        source=row.source,
        verified_on=row.verified_on,
    )


def _invalid(
    path: Path, document: MarkedYaml, found: Fault, above: tuple[str | int, ...] = ()
) -> InvalidVerdictRule:
    line = document.line([*above, *found.path])
    return InvalidVerdictRule(f"{path.name}:{line}", found.problem, found.fix)

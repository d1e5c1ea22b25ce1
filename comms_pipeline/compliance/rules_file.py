"""Reads and validates the rule rows. What a check does lives in `checks` and `windows`."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from comms_pipeline.compliance.checks import CHECKS, Check, WithinCaps
from comms_pipeline.compliance.windows import Window
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.fields import Slug
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.validation import Fault, Strict, fault, faults, keys_of, nearest
from comms_pipeline.domain.yaml_marks import MarkedYaml, YamlSyntaxError, parse_yaml

ANYWHERE = "any"
"""The jurisdiction that covers everybody."""
UNKNOWN = "unknown"
"""The jurisdiction of those of whom no place is known; `US-unknown` is in the US, nobody knows in which state."""


class InvalidRule(CommsError):
    """A rule row is not valid; nothing may be sent on a rule set that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule: whom and what it covers, which check it runs, and on whose word."""

    id: str
    version: int
    jurisdictions: frozenset[str]
    channels: frozenset[Channel]
    classes: frozenset[MessageClass]
    topics: frozenset[str] | None
    """None: every type of message."""
    check: Check | WithinCaps | Window
    source: str
    verified_on: date

    def concerns(self, channel: Channel, message_class: MessageClass, topic: str) -> bool:
        """Whether the rule speaks of such messages at all."""
        is_of_topic = self.topics is None or topic in self.topics
        return channel in self.channels and message_class in self.classes and is_of_topic

    def covers(self, places: Collection[str]) -> bool:
        """Whether the rule holds for somebody who may be in all of these jurisdictions; none: nobody knows where."""
        return any(_is_among(code, places) for code in self.jurisdictions)


def _is_among(code: str, places: Collection[str]) -> bool:
    country, _, part = code.partition("-")
    if code in (ANYWHERE, UNKNOWN):
        return code == ANYWHERE or not places
    if part == UNKNOWN:
        return country in places and not any(place.startswith(f"{country}-") for place in places)
    return code in places


def _known_check(value: str) -> str:
    if value not in CHECKS:
        raise fault(f"unknown check '{value}'", nearest(value, CHECKS))
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Jurisdiction = Annotated[str, Field(pattern=r"^(any|unknown|[A-Z]{2}(-([A-Z0-9]{1,3}|unknown))?)$")]


class _Row(Strict):
    """A rule as it is written."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    version: Annotated[int, Field(ge=1)]
    # A rule for nobody or nothing would never run, and nobody would notice.
    jurisdiction: Annotated[frozenset[Jurisdiction], BeforeValidator(_listed), Field(min_length=1)]
    channels: Annotated[frozenset[Channel], Field(min_length=1)]
    classes: Annotated[frozenset[MessageClass], Field(min_length=1)]
    topics: Annotated[frozenset[Slug], Field(min_length=1)] | None = None
    check: Annotated[str, AfterValidator(_known_check)]
    with_: Annotated[dict[str, object], Field(alias="with", default_factory=dict)]
    source: Annotated[str, Field(min_length=1)]
    verified_on: date


@cache
def load_rules(folder: Path = Path(__file__).parent / "rules") -> tuple[Rule, ...]:
    """Every rule of every file in `folder`, by id. Raises `InvalidRule`; culprits are `file:line`."""
    rules: dict[str, Rule] = {}
    for path in sorted(folder.glob("*.yaml")):
        for line, rule in _rules(path):
            if rule.id in rules:
                raise InvalidRule(
                    f"{path.name}:{line}", f"the id '{rule.id}' is used twice", "Give each rule its own id"
                )
            rules[rule.id] = rule
    if not rules:
        # No rule excludes nobody: a missing file must not read as permission.
        raise InvalidRule(str(folder), "it holds no rule", "Install comms-pipeline again")
    return tuple(rules[key] for key in sorted(rules))


def _rules(path: Path) -> Iterator[tuple[int, Rule]]:
    """The rules of one file, each with the line it begins in."""
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except YamlSyntaxError as error:
        raise InvalidRule(f"{path.name}:{error.line}", error.problem, error.fix) from None
    try:
        rows = TypeAdapter(list[_Row]).validate_python(document.value)
    except ValidationError as error:
        raise _invalid(path, document, faults(error, {"": keys_of(_Row)})[0]) from None
    for position, row in enumerate(rows):
        yield document.line([position]), _rule(path, document, position, row)


def _rule(path: Path, document: MarkedYaml, position: int, row: _Row) -> Rule:
    model = CHECKS[row.check]
    try:
        check = model.model_validate(row.with_)
    except ValidationError as error:
        first = faults(error, {"": keys_of(model)})[0]
        raise _invalid(path, document, first, (position, "with")) from None
    return Rule(
        id=row.id,
        version=row.version,
        jurisdictions=row.jurisdiction,
        channels=row.channels,
        classes=row.classes,
        topics=row.topics,
        check=check,
        source=row.source,
        verified_on=row.verified_on,
    )


def _invalid(
    path: Path, document: MarkedYaml, found: Fault, above: tuple[str | int, ...] = ()
) -> InvalidRule:
    return InvalidRule(f"{path.name}:{document.line([*above, *found.path])}", found.problem, found.fix)

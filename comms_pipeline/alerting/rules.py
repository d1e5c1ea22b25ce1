"""The rules of alerts: reads and validates them. What a metric measures lives in `metrics`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from comms_pipeline.alerting.metrics import METRICS
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.validation import Strict, fault, faults, keys_of, nearest
from comms_pipeline.domain.yaml_marks import MarkedYaml, YamlSyntaxError, parse_yaml

_RULES = Path(__file__).parent / "rules.yaml"
_Model = TypeVar("_Model", bound=Strict)


class Severity(StrEnum):
    """How grave, the gravest first."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


AGAIN_SECONDS: Mapping[Severity, float] = {
    Severity.P0: 15 * 60,
    Severity.P1: 60 * 60,
    Severity.P2: 4 * 60 * 60,
    Severity.P3: 24 * 60 * 60,
}
"""Within this time somebody should have reacted; what lasts longer is told again."""


class InvalidAlertRule(CommsError):
    """A file of alert rules is not valid. The rules that came with the product hold on."""


def _known_metric(value: str) -> str:
    if value not in METRICS:
        raise fault(f"unknown metric '{value}'", nearest(value, METRICS))
    return value


def _sayable(value: str) -> str:
    try:
        value.format(value=0.5, rest=0.5, sample=1)
    except (KeyError, IndexError, ValueError, AttributeError):
        raise fault(
            f"'{value[:80]}' cannot be filled in", "Use {value}, {rest} (1 - value) and {sample} only"
        ) from None
    return value


class Rule(Strict):
    """Something to tell when a metric is above its bound; see `rules.yaml`."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    metric: Annotated[str, AfterValidator(_known_metric)]
    above: Annotated[float, Field(ge=0)]
    window_seconds: Annotated[int, Field(ge=10, le=30 * 86_400)]
    least_sample: Annotated[int, Field(ge=1)] = 1
    severity: Severity
    says: Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_sayable)]
    fix: Annotated[str, Field(min_length=1, max_length=300)]


class _File(Strict):
    rules: tuple[Rule, ...]


class _Change(Strict):
    """What one's own file may say of a rule."""

    above: Annotated[float | None, Field(ge=0)] = None
    window_seconds: Annotated[int | None, Field(ge=10, le=30 * 86_400)] = None
    least_sample: Annotated[int | None, Field(ge=1)] = None
    severity: Severity | None = None
    enabled: bool = True


class _OwnFile(Strict):
    """One's own file: changes by rule id, and rules of one's own."""

    change: dict[str, _Change] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Read:
    path: Path
    document: MarkedYaml

    def invalid(self, place: list[str | int], problem: str, fix: str) -> NoReturn:
        raise InvalidAlertRule(f"{self.path.name}:{self.document.line(place)}", problem, fix)


def load_rules(own: Path | None = None) -> tuple[Rule, ...]:
    """The rules in force: those that came with the product, changed by the file `own`.

    Raises `InvalidAlertRule`; culprits are `file:line`.
    """
    rules = {rule.id: rule for rule in _validated(_read(_RULES), _File).rules}
    if own is None:
        return tuple(rules.values())
    read = _read(own)
    file = _validated(read, _OwnFile)
    for rule_id, change in file.change.items():
        if rule_id not in rules:
            read.invalid(["change", rule_id], f"there is no rule '{rule_id}'", nearest(rule_id, rules))
        if change.enabled:
            values = change.model_dump(exclude={"enabled"}, exclude_none=True)
            rules[rule_id] = rules[rule_id].model_copy(update=values)
        else:
            del rules[rule_id]
    for position, rule in enumerate(file.rules):
        if rule.id in rules:
            read.invalid(
                ["rules", position],
                f"the id '{rule.id}' is used already",
                "Change that rule under 'change:', or give this one another id",
            )
        rules[rule.id] = rule
    return tuple(rules.values())


def _read(path: Path) -> _Read:
    try:
        return _Read(path=path, document=parse_yaml(path.read_text(encoding="utf-8")))
    except YamlSyntaxError as error:
        raise InvalidAlertRule(f"{path.name}:{error.line}", error.problem, error.fix) from None
    except (OSError, UnicodeDecodeError):
        raise InvalidAlertRule(str(path), "it cannot be read", "Set COMMS_ALERTS to a UTF-8 file") from None


def _validated(read: _Read, model: type[_Model]) -> _Model:
    value: Any = read.document.value
    try:
        return model.model_validate(value)
    except ValidationError as error:
        keys = {"": keys_of(model), "rules": keys_of(Rule), "change": keys_of(_Change)}
        first = faults(error, keys)[0]
        read.invalid(list(first.path), first.problem, first.fix)

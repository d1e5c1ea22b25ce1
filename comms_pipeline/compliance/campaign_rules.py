"""Reads the rule rows for whole campaigns (`campaign_rules.yaml`) and runs them. What a check does is elsewhere."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from comms_pipeline.compliance.campaign_checks import CHECKS
from comms_pipeline.compliance.campaign_facts import CampaignFacts, Case
from comms_pipeline.compliance.rules_file import InvalidRule
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.validation import KnownKeys, Strict, fault, faults, keys_of, nearest
from comms_pipeline.domain.yaml_marks import YamlSyntaxError, parse_yaml

_FULL_SCORE = 100
_NAMED = 2
"""Findings of one rule that are told; the rest are counted."""


class Severity(StrEnum):
    """What a failed rule does to the send."""

    BLOCKING = "blocking"
    """Nothing goes out."""
    WARNING = "warning"


def _known_check(value: str) -> str:
    if value not in CHECKS:
        raise fault(f"unknown check '{value}'", nearest(value, CHECKS))
    return value


class CampaignRule(Strict):
    """One rule row: to what it applies, which check it runs, what failing costs, on whose word, and what mends it."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    version: Annotated[int, Field(ge=1)]
    severity: Severity
    weight: Annotated[int, Field(ge=0, le=_FULL_SCORE)]
    """Points off a score of 100."""
    # A rule for no channel or no class would never run, and nobody would notice.
    channels: Annotated[frozenset[Channel], Field(min_length=1)]
    classes: Annotated[frozenset[MessageClass], Field(min_length=1)]
    check: Annotated[str, AfterValidator(_known_check)]
    limit: Annotated[int, Field(ge=0)] = 0
    phrases: str | None = None
    """The name of a list of the same file."""
    fix: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    verified_on: date


class RuleBook(Strict):
    """The whole file: lists of phrases with their weights, by name, and the rules that use them."""

    phrases: Mapping[str, Mapping[str, Annotated[int, Field(ge=1)]]] = {}
    rules: Annotated[tuple[CampaignRule, ...], Field(min_length=1)]

    @field_validator("rules")
    @classmethod
    def _whole(cls, value: tuple[CampaignRule, ...], info: ValidationInfo) -> tuple[CampaignRule, ...]:
        known = info.data.get("phrases", {})
        seen: set[str] = set()
        for rule in value:
            if rule.id in seen:
                raise fault(f"the id '{rule.id}' is used twice", "Give each rule its own id")
            if rule.phrases is not None and rule.phrases not in known:
                problem = f"rule '{rule.id}' names the unknown phrases '{rule.phrases}'"
                raise fault(problem, nearest(rule.phrases, known))
            seen.add(rule.id)
        return value

    def case(self, rule: CampaignRule, facts: CampaignFacts) -> Case:
        """What a rule looks at of a campaign."""
        return Case(
            facts=facts,
            samples=[sample for sample in facts.samples if sample.channel in rule.channels],
            limit=rule.limit,
            phrases=self.phrases[rule.phrases] if rule.phrases else {},
        )


_KEYS: KnownKeys = {"": keys_of(RuleBook), "rules": keys_of(CampaignRule)}


@dataclass(frozen=True, kw_only=True)
class CheckedItem:
    """What became of one rule. `found` is "" where it passed."""

    rule: CampaignRule
    found: str

    @property
    def is_passed(self) -> bool:
        """Whether nothing was found."""
        return not self.found

    @property
    def is_blocking(self) -> bool:
        """Whether the send must not go out because of it."""
        return not self.is_passed and self.rule.severity is Severity.BLOCKING

    @property
    def points(self) -> int:
        """What it takes off the score."""
        return 0 if self.is_passed else self.rule.weight


@dataclass(frozen=True, kw_only=True)
class CampaignCheck:
    """Every rule that applies to a campaign: failed ones first, blocking ones before all."""

    items: tuple[CheckedItem, ...]

    @cached_property
    def score(self) -> int:
        """0 to 100: a hundred less what failed items cost."""
        return max(0, _FULL_SCORE - sum(item.points for item in self.items))

    @property
    def failed(self) -> tuple[CheckedItem, ...]:
        """Items with something found."""
        return tuple(item for item in self.items if not item.is_passed)

    @property
    def blocking(self) -> tuple[CheckedItem, ...]:
        """Failed items that stop the send."""
        return tuple(item for item in self.items if item.is_blocking)


@cache
def load_rule_book(path: Path = Path(__file__).parent / "campaign_rules.yaml") -> RuleBook:
    """Read and validate the file. Raises `InvalidRule`; the culprit is `file:line`."""
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
        return RuleBook.model_validate(document.value)
    except YamlSyntaxError as error:
        raise InvalidRule(f"{path.name}:{error.line}", error.problem, error.fix) from None
    except ValidationError as error:
        first = faults(error, _KEYS)[0]
        raise InvalidRule(f"{path.name}:{document.line(first.path)}", first.problem, first.fix) from None


def check_facts(facts: CampaignFacts, book: RuleBook) -> CampaignCheck:
    """Run every rule that applies to the campaign's class and any of its channels."""
    items = [
        CheckedItem(rule=rule, found=_told(CHECKS[rule.check](book.case(rule, facts))))
        for rule in book.rules
        if facts.message_class in rule.classes and not rule.channels.isdisjoint(facts.channels)
    ]
    # Sorting keeps the file's order among equals.
    return CampaignCheck(items=tuple(sorted(items, key=lambda item: (not item.is_blocking, -item.points))))


def _told(found: Iterator[str]) -> str:
    """The first findings and how many more; samples of the same message often say the same."""
    distinct = list(dict.fromkeys(found))
    more = f"; and {len(distinct) - _NAMED} more" if len(distinct) > _NAMED else ""
    return "; ".join(distinct[:_NAMED]) + more

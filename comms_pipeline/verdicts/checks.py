"""What rules can ask of opens and clicks, over columns. Rules name these by key and say the rest under `with:`.

The columns at hand are those of `judge`, of events of one kind, and what it adds of their messages:
`seconds_after_delivery` (Float64; null: nobody knows when it was delivered), `seconds_from_trap` (Float64; null: nobody
fell into one), `fell_into_trap` (Boolean; null: nobody did) and `has_open` (Boolean: somebody who may be a person
opened the message).
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from comms_pipeline.domain.validation import Strict, fault
from comms_pipeline.verdicts.agents import crawler_patterns, matching
from comms_pipeline.verdicts.windows import crowded

Seconds = Annotated[float, Field(gt=0, le=86_400)]


def _pattern(value: str) -> str:
    try:
        re.compile(value)
        pl.Series([""]).str.contains(value)
    except (re.error, pl.exceptions.PolarsError):
        raise fault(
            f"'{value[:80]}' is no regular expression", "Correct it; no look-around, no \\1"
        ) from None
    return value


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]


class Check(Strict, ABC):
    """One thing to ask of each event."""

    @abstractmethod
    def holds(self, events: pl.DataFrame) -> pl.Series:
        """Boolean without nulls, one for each row of `events`: what is unknown speaks for nothing."""


class Flag(Check):
    """Who told of the event, or the request itself, says so."""

    column: Literal["is_told_machine", "is_head", "is_prefetch"]

    def holds(self, events: pl.DataFrame) -> pl.Series:
        """See `Check`."""
        return events[self.column].fill_null(False)


class AfterDelivery(Check):
    """It happened less than `seconds` after the message was delivered, or up to `seconds_before` before that."""

    seconds: Seconds
    seconds_before: Annotated[float, Field(ge=0, le=86_400)] = 0

    def holds(self, events: pl.DataFrame) -> pl.Series:
        """See `Check`."""
        passed = events["seconds_after_delivery"]
        return ((passed >= -self.seconds_before) & (passed < self.seconds)).fill_null(False)


class NearTrap(Check):
    """A link of the same message that no person can see was followed within `seconds`, before or after."""

    seconds: Seconds

    def holds(self, events: pl.DataFrame) -> pl.Series:
        """See `Check`."""
        return (events["seconds_from_trap"] <= self.seconds).fill_null(False)


class TrappedClient(Check):
    """The same client, by its address and its user agent, followed that link of the same message, at any time."""

    def holds(self, events: pl.DataFrame) -> pl.Series:
        """See `Check`."""
        return events["fell_into_trap"].fill_null(False)


class ManyLinks(Check):
    """One of at least so many different links of one message within `seconds`."""

    links: Annotated[int, Field(ge=2)]
    seconds: Seconds

    def holds(self, events: pl.DataFrame) -> pl.Series:
        """See `Check`."""
        return crowded(events, group="message_id", of="url", at_least=self.links, seconds=self.seconds)


class SharedAddress(Check):
    """One client, by its address, did so to messages of at least so many contacts within `seconds`."""

    recipients: Annotated[int, Field(ge=2)]
    seconds: Seconds

    def holds(self, events: pl.DataFrame) -> pl.Series:
        """See `Check`."""
        people = events.with_columns(recipient=pl.coalesce("contact_id", "message_id"))
        return crowded(people, group="ip_key", of="recipient", at_least=self.recipients, seconds=self.seconds)


class Agent(Check):
    """The user agent matches one of the patterns, or the list of crawlers, and none of the exceptions."""

    patterns: tuple[Pattern, ...] = ()
    crawlers: bool = False
    except_: Annotated[tuple[Pattern, ...], Field(alias="except")] = ()

    @model_validator(mode="after")
    def _not_empty(self) -> "Agent":
        if not self.patterns and not self.crawlers:
            raise fault("it names no agent", "Add 'patterns:' or 'crawlers: true'")
        return self

    def holds(self, events: pl.DataFrame) -> pl.Series:
        """See `Check`."""
        patterns = (*self.patterns, *(crawler_patterns() if self.crawlers else ()))
        return matching(events["user_agent"], patterns, self.except_)


class NoOpen(Check):
    """Nobody who may be a person ever opened the message."""

    def holds(self, events: pl.DataFrame) -> pl.Series:
        """See `Check`."""
        return ~events["has_open"]


CHECKS: Mapping[str, type[Check]] = {
    "flag": Flag,
    "after_delivery": AfterDelivery,
    "near_trap": NearTrap,
    "trapped_client": TrappedClient,
    "many_links": ManyLinks,
    "shared_address": SharedAddress,
    "agent": Agent,
    "no_open": NoOpen,
}
"""Every check, by the name rules give it."""

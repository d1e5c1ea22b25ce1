"""What rules can check, as column expressions: true where the check is failed. Rules name these by key.

The columns at hand, per contact and channel, are the facts that `decide` takes, and `go_at` (Datetime UTC): when the
message may go at the earliest. Each check is a model of what a rule may write under `with:`. Checks that open and
close instead of excluding are in `windows`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import polars as pl
from pydantic import Field

from comms_pipeline.compliance.windows import NotDayOff, NotQuiet, OpeningHours, OwnHours, Window
from comms_pipeline.domain.cap import Cap
from comms_pipeline.domain.consent import ConsentKind
from comms_pipeline.domain.message import EVERY_TOPIC
from comms_pipeline.domain.validation import Strict

WEEK_HOURS = 7 * 24
_MICROS_OF_HOUR = 3_600_000_000


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`is_failed` is a Boolean expression (null counts as failed); `evidence` a String one that says why."""

    is_failed: pl.Expr
    evidence: pl.Expr


class Check(Strict, ABC):
    """A check that excludes whoever fails it."""

    @abstractmethod
    def verdict(self) -> Verdict:
        """The check as expressions."""


_KIND = (
    pl.when(pl.col("consent_kind").is_in([kind for kind in ConsentKind if kind is not ConsentKind.UNSTATED]))
    .then(pl.col("consent_kind"))
    .otherwise(pl.lit(str(ConsentKind.IMPLIED)))
)
_IS_GIVEN = pl.col("consent_state").eq_missing("given")
_STANDING = (
    pl.when(_IS_GIVEN)
    .then(_KIND)
    .when(pl.col("consent_state") == "pending")
    .then(pl.lit("not confirmed yet"))
    .when(pl.col("consent_state") == "withdrawn")
    .then(pl.lit("withdrawn"))
    .otherwise(pl.lit("none"))
)
"""The consent on record in one or two words."""


def _is_given_as(kinds: frozenset[ConsentKind]) -> pl.Expr:
    return _IS_GIVEN & _KIND.is_in([str(kind) for kind in sorted(kinds)])


class HasAddress(Check):
    """There is somewhere to send to."""

    def verdict(self) -> Verdict:
        return Verdict(
            is_failed=pl.col("address").is_null(), evidence=pl.lit("no valid address for this channel")
        )


class NotSuppressed(Check):
    """Nobody has forbidden this address."""

    def verdict(self) -> Verdict:
        reason = pl.col("suppression_reason")
        return Verdict(is_failed=reason.is_not_null(), evidence=pl.format("suppressed: {}", reason))


class FirstWithAddress(Check):
    """No other contact of the audience keeps this address."""

    def verdict(self) -> Verdict:
        holder = pl.col("holder")
        return Verdict(
            is_failed=holder.is_not_null(), evidence=pl.format("same address as contact {}", holder)
        )


class HasConsent(Check):
    """Consent is on record, and neither pending nor withdrawn."""

    def verdict(self) -> Verdict:
        evidence = (
            pl.when(pl.col("consent_state").is_null())
            .then(pl.lit("no consent on record"))
            .otherwise(pl.format("consent is {}", _STANDING))
        )
        return Verdict(is_failed=~_IS_GIVEN, evidence=evidence)


class ConsentOfKind(Check):
    """Consent is on record, and of a kind that is enough here."""

    kinds: Annotated[frozenset[ConsentKind], Field(min_length=1)]

    def verdict(self) -> Verdict:
        needed = " or ".join(kind for kind in ConsentKind if kind in self.kinds)
        return Verdict(
            is_failed=~_is_given_as(self.kinds),
            evidence=pl.format("needs consent of the kind {}; on record: {}", pl.lit(needed), _STANDING),
        )


class ConsentNotExpired(Check):
    """Consent of some kinds lapses so many months after it was given. One without a date has lapsed."""

    months: Annotated[Mapping[ConsentKind, Annotated[int, Field(ge=1)]], Field(min_length=1)]

    def verdict(self) -> Verdict:
        ends = [
            pl.when(_KIND.is_in([kind])).then(pl.col("consent_at").dt.offset_by(f"{months}mo"))
            for kind, months in self.months.items()
        ]
        is_alive = (pl.col("go_at") < pl.coalesce(ends)).fill_null(False)
        lapse = [
            pl.when(_KIND.is_in([kind])).then(
                pl.when(pl.col("consent_at").is_null())
                .then(pl.lit(f"{kind} consent without a date"))
                .otherwise(pl.lit(f"{kind} consent lapsed after {months} months"))
            )
            for kind, months in self.months.items()
        ]
        return Verdict(
            is_failed=_is_given_as(frozenset(self.months)) & ~is_alive, evidence=pl.coalesce(lapse)
        )


class IsWanted(Check):
    """The contact has not said no to this type of message on this channel."""

    def verdict(self) -> Verdict:
        return Verdict(
            is_failed=pl.col("is_wanted").eq_missing(False),
            evidence=pl.lit("the contact does not want this type of message"),
        )


class NotPaused(Check):
    """The contact has not asked for a pause that still runs when the message may go."""

    def verdict(self) -> Verdict:
        until = pl.col("paused_until")
        return Verdict(
            is_failed=(until > pl.col("go_at")).fill_null(False),
            evidence=pl.format("paused until {} UTC", until.dt.strftime("%Y-%m-%d %H:%M")),
        )


class AtMost(Check):
    """So many messages on this channel within so many hours, whoever asked for them."""

    messages: Annotated[int, Field(ge=1)]
    hours: Annotated[int, Field(ge=1, le=744)]

    def verdict(self) -> Verdict:
        return _cap_verdict(pl.lit(self.messages), self.hours)


class WithinWeeklyCap(Check):
    """No more messages within seven days than the contact asked for."""

    def verdict(self) -> Verdict:
        return _cap_verdict(pl.col("weekly_cap"), WEEK_HOURS)


class WithinCaps(Strict):
    """No more messages than the organisation allows itself: a check that first needs to be told the caps."""

    def verdict_on(self, caps: Sequence[Cap]) -> Verdict:
        """The check as expressions. `caps` are those that concern the channel and topic."""
        verdicts = [
            _cap_verdict(pl.lit(cap.messages), cap.hours, None if cap.topic == EVERY_TOPIC else cap.topic)
            for cap in caps
        ]
        if not verdicts:
            return Verdict(is_failed=pl.lit(False), evidence=pl.lit(""))
        reasons = [pl.when(each.is_failed).then(each.evidence) for each in verdicts]
        return Verdict(
            is_failed=pl.any_horizontal([each.is_failed for each in verdicts]),
            evidence=pl.concat_str(reasons, separator="; ", ignore_nulls=True),
        )


def _cap_verdict(messages: pl.Expr, hours: int, topic: str | None = None) -> Verdict:
    """Counts both ways from the message: one that is planned for later fills the same window."""
    apart = pl.col("recent_at").cast(pl.List(pl.Int64)) - pl.col("go_at").cast(pl.Int64)
    is_near = apart.list.eval((pl.element().abs() < hours * _MICROS_OF_HOUR).cast(pl.UInt32))
    count = is_near.list.sum()
    if topic is not None:
        is_of_topic = pl.col("recent_topics").list.eval((pl.element() == topic).cast(pl.UInt32))
        count = (is_near * is_of_topic).list.sum()
    return Verdict(
        is_failed=(count >= messages).fill_null(False),
        evidence=pl.format("{} of {} messages within {} hours", count, messages, pl.lit(hours)),
    )


class OldEnough(Check):
    """Not known to be younger than so many years, on the last place on earth where the day begins."""

    under: Annotated[int, Field(ge=1, le=99)]

    def verdict(self) -> Verdict:
        # Twelve hours behind UTC is as late as clocks go: there, the birthday has begun everywhere.
        born_by = pl.col("go_at").dt.offset_by("-12h").dt.date().dt.offset_by(f"-{self.under}y")
        return Verdict(
            is_failed=(pl.col("birth_date") > born_by).fill_null(False),
            evidence=pl.lit(f"younger than {self.under}"),
        )


class NotMinor(Check):
    """Nobody has marked the contact as a minor."""

    def verdict(self) -> Verdict:
        return Verdict(is_failed=pl.col("is_minor").eq_missing(True), evidence=pl.lit("marked as a minor"))


class NotListed(Check):
    """Not on a do-not-call list, unless consent of such a kind outweighs it."""

    unless_kinds: frozenset[ConsentKind] = frozenset()

    def verdict(self) -> Verdict:
        return Verdict(
            is_failed=pl.col("is_do_not_call").fill_null(True) & ~_is_given_as(self.unless_kinds),
            evidence=pl.lit("the number is on a do-not-call list"),
        )


class NotPlusOne(Check):
    """The number is none of the North American plan."""

    def verdict(self) -> Verdict:
        return Verdict(
            is_failed=pl.col("address").str.starts_with("+1").fill_null(False),
            evidence=pl.lit("the number begins with +1"),
        )


class NotHeldOut(Check):
    """Not in the share of contacts that a campaign leaves out, to compare with."""

    def verdict(self) -> Verdict:
        share = pl.col("holdout")
        return Verdict(
            is_failed=share.is_not_null(),
            evidence=pl.format("held out: {} of contacts, to compare with", share),
        )


CHECKS: Mapping[str, type[Check] | type[WithinCaps] | type[Window]] = {
    "has_address": HasAddress,
    "not_suppressed": NotSuppressed,
    "first_with_address": FirstWithAddress,
    "has_consent": HasConsent,
    "consent_of_kind": ConsentOfKind,
    "consent_not_expired": ConsentNotExpired,
    "is_wanted": IsWanted,
    "not_paused": NotPaused,
    "at_most": AtMost,
    "within_weekly_cap": WithinWeeklyCap,
    "within_caps": WithinCaps,
    "old_enough": OldEnough,
    "not_minor": NotMinor,
    "not_listed": NotListed,
    "not_plus_one": NotPlusOne,
    "not_held_out": NotHeldOut,
    "opening_hours": OpeningHours,
    "campaign_hours": OwnHours,
    "not_quiet": NotQuiet,
    "not_day_off": NotDayOff,
}
"""Checks by the name rules use."""

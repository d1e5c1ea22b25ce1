"""Rules × contacts → decisions: every rule over the whole audience, as columns. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from comms_pipeline.compliance.checks import Check, Verdict, WithinCaps
from comms_pipeline.compliance.opening import SPOKEN, openings
from comms_pipeline.compliance.rules_file import Rule
from comms_pipeline.compliance.windows import Window
from comms_pipeline.domain.cap import Cap
from comms_pipeline.domain.message import EVERY_TOPIC, GENERAL_TOPIC, Channel, MessageClass
from comms_pipeline.domain.sending_hours import SendingHours

_ROW = "row"
_FINDINGS = pl.Schema(
    {
        _ROW: pl.UInt32,
        "rule_id": pl.String,
        "version": pl.Int32,
        "evidence": pl.String,
        "is_excluding": pl.Boolean,
    }
)


def decide(
    facts: pl.DataFrame,
    rules: Sequence[Rule],
    *,
    channel: Channel,
    message_class: str | None,
    at: datetime,
    topic: str = GENERAL_TOPIC,
    hours: SendingHours | None = None,
    caps: Sequence[Cap] = (),
) -> pl.DataFrame:
    """One row per row of `facts`, in order: who may get a message of this kind that is due at `at`, and when.

    `hours` are those that the campaign asks for, `caps` all of its organisation's.

    Returns `contact_id`; `channel`; `decision`: `excluded` if any check fails or no window opens within 14 days, else
    `deferred` if a window is closed at `at`, else `allowed`; `not_before` (UTC; of what is deferred: the first minute
    open in every zone where the contact may be); `hours` (text of `Hours`, null: at any time); `rules` (every rule
    that spoke, by id, each with version and evidence).

    `facts` has, per contact: `contact_id`, `address`, `holder` (the contact that keeps a shared address),
    `suppression_reason`, `consent_kind`, `consent_state`, `consent_at`, `is_wanted`, `paused_until`, `quiet_from` and
    `quiet_until` (minutes), `weekly_cap`, `date_off`, `recent_at` (list: when other marketing messages of this channel
    reached or will reach the contact), `recent_topics` (their topics, in the same order), `birth_date`, `is_minor`,
    `is_do_not_call`, `holdout`, `zones`, `jurisdictions`.

    Everything is judged by the moment at which the message may go, not by that at which the rules run. A class that
    is none of ours counts as marketing.
    """
    if at.tzinfo is None:
        raise ValueError("'at' needs a time zone")
    known_class = next((each for each in MessageClass if each == message_class), MessageClass.MARKETING)
    applicable = sorted(
        (rule for rule in rules if rule.concerns(channel, known_class, topic)), key=lambda rule: rule.id
    )
    covered = _coverage(facts, applicable)
    opened = openings(facts, covered, applicable, at=at, campaign_hours=hours)
    asked = facts.with_row_index(_ROW).with_columns(
        opened, go_at=opened["opens_at"].fill_null(at.astimezone(UTC))
    )
    concerned = [cap for cap in caps if cap.channel == channel and cap.topic in (topic, EVERY_TOPIC)]
    failed = _failures(asked, covered, applicable, concerned)
    spoken = pl.concat([failed, _closed(asked)]).sort(_ROW, "rule_id")
    said = spoken.group_by(_ROW, maintain_order=True).agg(
        rules=pl.struct("rule_id", "version", "evidence"), is_excluded=pl.col("is_excluding").any()
    )
    is_excluded = pl.col("is_excluded").fill_null(False) | pl.col("never_opens")
    is_deferred = ~is_excluded & pl.col("opens_at").is_not_null()
    return asked.join(said, on=_ROW, how="left", maintain_order="left").select(
        "contact_id",
        channel=pl.lit(str(channel)),
        decision=pl.when(is_excluded)
        .then(pl.lit("excluded"))
        .when(is_deferred)
        .then(pl.lit("deferred"))
        .otherwise(pl.lit("allowed")),
        not_before=pl.when(is_deferred).then("opens_at"),
        hours="hours",
        rules=pl.col("rules").fill_null(pl.lit([], pl.List(SPOKEN))),
    )


def _coverage(facts: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """Whom each rule's jurisdictions take in: a Boolean column for each rule, by id. Rows as in `facts`."""
    places = facts.select(places=pl.col("jurisdictions").list.join(" ").fill_null(""))
    distinct = places.unique().with_row_index(_ROW)
    kind = places.join(distinct, on="places", how="left", maintain_order="left")[_ROW]
    known = [frozenset(text.split()) for text in distinct["places"]]
    return pl.DataFrame(
        {
            rule.id: pl.Series([rule.covers(each) for each in known], dtype=pl.Boolean).gather(kind)
            for rule in rules
        }
    )


def _failures(
    asked: pl.DataFrame, covered: pl.DataFrame, rules: Sequence[Rule], caps: Sequence[Cap]
) -> pl.DataFrame:
    """One row per contact and check failed. Evidence is written only for these, for most fail nothing."""
    verdicts = {rule.id: verdict for rule in rules if (verdict := _verdict(rule, caps)) is not None}
    is_failed = asked.select(
        **{
            # A fact that is unknown to a check never allows.
            rule_id: pl.lit(covered[rule_id]) & verdict.is_failed.fill_null(True)
            for rule_id, verdict in verdicts.items()
        },
    )
    found = [
        asked.filter(is_failed[rule.id]).select(
            _ROW,
            rule_id=pl.lit(rule.id),
            version=pl.lit(rule.version, pl.Int32),
            evidence=verdicts[rule.id].evidence,
            is_excluding=pl.lit(True),
        )
        for rule in rules
        if rule.id in verdicts and is_failed[rule.id].any()
    ]
    return pl.concat([_FINDINGS.to_frame(), *found])


def _verdict(rule: Rule, caps: Sequence[Cap]) -> Verdict | None:
    match rule.check:
        case Check() as check:
            return check.verdict()
        case WithinCaps() as check:
            return check.verdict_on(caps)
        case Window():
            return None


def _closed(asked: pl.DataFrame) -> pl.DataFrame:
    """One row per contact and window that is closed, in the shape of `_failures`."""
    return (
        asked.filter(pl.col("closed").list.len() > 0)
        .select(_ROW, "closed")
        .explode("closed")
        .unnest("closed")
        .with_columns(is_excluding=pl.lit(False))
    )

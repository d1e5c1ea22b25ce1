"""Events of whole messages in, a verdict for each open and click out. Decides nothing else, and drops no event.

Evidence adds up as independent chances do: with weights 0.5 and 0.2 for a machine the chance of one is
1 − 0.5 · 0.8 = 0.6. What speaks for a person scales that down.
"""

from collections.abc import Iterable, Mapping

import polars as pl

from comms_pipeline.domain.event import EventKind
from comms_pipeline.verdicts.rules_file import Verdict, VerdictRule, VerdictRules

EVENTS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "event_id": pl.String,
    "message_id": pl.String,
    "contact_id": pl.String,
    "kind": pl.String,
    "occurred_at": pl.Datetime("us", "UTC"),
    "received_at": pl.Datetime("us", "UTC"),
    "url": pl.String,
    "user_agent": pl.String,
    "ip_key": pl.String,
    "is_head": pl.Boolean,
    "is_prefetch": pl.Boolean,
    "is_told_machine": pl.Boolean,
}
"""What must be known of each event; the first, the kind and the times are never null."""

VERDICTS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "event_id": pl.String,
    "verdict": pl.String,
    "verdict_score": pl.Float64,
    "verdict_reasons": pl.List(pl.String),
    "verdict_version": pl.Int32,
}
"""What is said of each."""

# An office shares its address with the gateway before it, so the program must be the same as well.
_CLIENT = ("ip_key", "user_agent")
_DECIMALS = 6
_MICROS = 1_000_000


def judge(events: pl.DataFrame, rules: VerdictRules) -> pl.DataFrame:
    """`VERDICTS` of `EVENTS`, one row per row, in their order.

    `events` holds whole messages, all their deliveries, opens, clicks and traps; and, for what one client does to many
    recipients, the clicks of other messages by the same `ip_key` nearby in time. The order of rows does not matter.
    What is neither an open nor a click is `unknown`, with nulls.
    """
    # What matches no message of ours is a message of its own.
    alone = events.select(list(EVENTS)).with_columns(
        pl.coalesce("message_id", "event_id").alias("message_id")
    )
    known = _with_traps(_with_delivery(alone.with_row_index("row")))
    opened = known.filter(kind=EventKind.OPENED.value)
    opens = _judged(opened, EventKind.OPENED, rules)
    by_people = opened.filter(opens["verdict_score"] < rules.machine_from)["message_id"].unique()
    clicked = known.filter(kind=EventKind.CLICKED.value).with_columns(
        has_open=pl.col("message_id").is_in(by_people.implode())
    )
    clicks = _judged(clicked, EventKind.CLICKED, rules)
    return (
        events.select("event_id")
        .with_row_index("row")
        .join(pl.concat([opens, clicks]), on="row", how="left", maintain_order="left")
        .with_columns(pl.col("verdict").fill_null(Verdict.UNKNOWN.value))
        .select(list(VERDICTS))
    )


def _with_delivery(events: pl.DataFrame) -> pl.DataFrame:
    # Where a provider tells no time its word's arrival stands in, and that may be late by hours.
    is_timed = (pl.col("kind") == EventKind.DELIVERED.value) & (
        pl.col("occurred_at") != pl.col("received_at")
    )
    delivered = events.filter(is_timed).group_by("message_id").agg(delivered_at=pl.col("occurred_at").min())
    passed = (pl.col("occurred_at") - pl.col("delivered_at")).dt.total_microseconds() / _MICROS
    return events.join(delivered, on="message_id", how="left").with_columns(seconds_after_delivery=passed)


def _with_traps(events: pl.DataFrame) -> pl.DataFrame:
    trapped = pl.col("occurred_at").alias("trapped_at"), pl.col(*_CLIENT).name.prefix("trapped_")
    traps = events.filter(kind=EventKind.TRAP.value).select("message_id", *trapped)
    between = (pl.col("occurred_at") - pl.col("trapped_at")).dt.total_microseconds().abs() / _MICROS
    # Unknown to both is no likeness.
    is_same = pl.all_horizontal(pl.col(column) == pl.col(f"trapped_{column}") for column in _CLIENT)
    nearest = (
        events.select("row", "message_id", "occurred_at", *_CLIENT)
        .join(traps, on="message_id")
        .group_by("row")
        .agg(seconds_from_trap=between.min(), fell_into_trap=is_same.fill_null(False).any())
    )
    return events.join(nearest, on="row", how="left")


def _judged(events: pl.DataFrame, kind: EventKind, rules: VerdictRules) -> pl.DataFrame:
    """`row` and what is said of it, of events of one kind."""
    asked = [rule for rule in rules.rules if kind in rule.kinds]
    found = events.select("row").with_columns(rule.check.holds(events).alias(rule.id) for rule in asked)
    machine = _chance(asked, Verdict.MACHINE)
    proxy = _chance(asked, Verdict.PROXY)
    human = _chance(asked, Verdict.HUMAN)
    score = (1 - (1 - machine) * (1 - proxy)) * (1 - human)
    reasons = pl.concat_list(
        [pl.when(rule.id).then(pl.lit(rule.id)).otherwise(None) for rule in asked]
        or [pl.lit(None, pl.String)]
    )
    # The reasons are few and alike: each combination is put together once.
    combinations = (
        found.drop("row")
        .unique()
        .with_columns(
            verdict_score=score.round(_DECIMALS),
            is_proxy=proxy > machine,
            verdict_reasons=reasons.list.drop_nulls(),
            verdict_version=pl.lit(rules.version, pl.Int32),
        )
    )
    said = (
        pl.when(pl.col("verdict_score") < rules.unknown_from)
        .then(pl.lit(Verdict.HUMAN.value))
        .when(pl.col("verdict_score") < rules.machine_from)
        .then(pl.lit(Verdict.UNKNOWN.value))
        .when("is_proxy")
        .then(pl.lit(Verdict.PROXY.value))
        .otherwise(pl.lit(Verdict.MACHINE.value))
    )
    told = combinations.with_columns(verdict=said)
    return found.join(
        told, on=[rule.id for rule in asked], how="left", maintain_order="left", nulls_equal=True
    ).select("row", *list(VERDICTS)[1:])


def _chance(rules: Iterable[VerdictRule], verdict: Verdict) -> pl.Expr:
    """How likely `verdict` is by the evidence for it alone."""
    none = pl.lit(1.0)
    for rule in rules:
        if rule.speaks_for is verdict:
            none = none * pl.when(rule.id).then(1 - rule.weight).otherwise(1.0)
    return 1 - none

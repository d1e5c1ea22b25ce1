"""Rules × contacts → decisions: every rule over the whole audience, as columns. Pure."""

from collections.abc import Sequence

import polars as pl

from comms_pipeline.compliance.checks import CHECKS
from comms_pipeline.compliance.rules_file import Rule
from comms_pipeline.domain.message import Channel, MessageClass

_RULE_FIELDS = pl.Struct({"rule_id": pl.String, "version": pl.Int32, "evidence": pl.String})


def decide(
    contacts: pl.DataFrame, rules: Sequence[Rule], *, channel: Channel, message_class: MessageClass
) -> pl.DataFrame:
    """One row per contact: `contact_id`, `channel`, `decision` (allowed, excluded), `rules` (all those failed).

    `contacts` has the columns named in `checks`. A rule that does not cover this channel or class is not run.
    """
    applicable = [rule for rule in rules if channel in rule.channels and message_class in rule.classes]
    failures = [
        pl.when(CHECKS[rule.check].is_failed).then(
            pl.struct(
                rule_id=pl.lit(rule.id),
                version=pl.lit(rule.version, pl.Int32),
                evidence=CHECKS[rule.check].evidence,
            )
        )
        for rule in applicable
    ]
    failed = pl.concat_list(failures).list.drop_nulls() if failures else pl.lit([], pl.List(_RULE_FIELDS))
    return contacts.select(
        "contact_id",
        channel=pl.lit(str(channel)),
        rules=failed.cast(pl.List(_RULE_FIELDS)),
    ).with_columns(
        decision=pl.when(pl.col("rules").list.len() == 0)
        .then(pl.lit("allowed"))
        .otherwise(pl.lit("excluded"))
    )

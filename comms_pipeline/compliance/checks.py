"""What rules can check, as column expressions: true where the check is failed. Rules name these by key.

Columns at hand, per contact and channel: `address` (String, null when unusable), `address_key` (Binary),
`suppression_reason` (String, null when not suppressed), `consent_source` (String), `holdout` (String, the
campaign's share of contacts held out; null when this one is not), `contact_id`, `precedence` (small integer: of
those who share an address, the lowest keeps it).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, kw_only=True)
class Check:
    """`is_failed` is a Boolean expression without nulls; `evidence` a String expression saying why."""

    is_failed: pl.Expr
    evidence: pl.Expr


# The same contact must hold a shared address in every plan: lowest precedence first, then smallest id.
_HOLDER = pl.col("contact_id").sort_by("precedence", "contact_id").first().over("address_key")

CHECKS: Mapping[str, Check] = {
    "has_address": Check(
        is_failed=pl.col("address").is_null(), evidence=pl.lit("no valid address for this channel")
    ),
    "not_suppressed": Check(
        is_failed=pl.col("suppression_reason").is_not_null(),
        evidence=pl.format("suppressed: {}", pl.col("suppression_reason")),
    ),
    "first_with_address": Check(
        is_failed=pl.col("address_key").is_not_null() & (pl.col("contact_id") != _HOLDER),
        evidence=pl.format("same address as contact {}", _HOLDER),
    ),
    "has_consent": Check(
        is_failed=pl.col("consent_source").is_null(), evidence=pl.lit("no consent on record")
    ),
    "not_plus_one": Check(
        is_failed=pl.col("address").str.starts_with("+1").fill_null(False),
        evidence=pl.lit("the number begins with +1"),
    ),
    "not_held_out": Check(
        is_failed=pl.col("holdout").is_not_null(),
        evidence=pl.format("held out: {} of contacts, to compare with", pl.col("holdout")),
    ),
}

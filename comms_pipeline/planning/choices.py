"""Stable choices per contact: which variant. A choice never drifts when the audience grows. Pure."""

from collections.abc import Sequence
from hashlib import blake2b

import polars as pl

from comms_pipeline.domain.campaign import Variant

ONLY_VARIANT = ""
"""The variant of a campaign without variants."""
_BUCKETS = 1_000_000


def variant_column(contact_ids: pl.Series, campaign_id: str, variants: Sequence[Variant]) -> pl.Series:
    """Variant names, shared out by weight: a hash salted with the campaign picks a bucket, buckets belong to variants.

    The same contact always gets the same variant of a campaign, whoever else is in the audience.
    """
    if not variants:
        return pl.repeat(ONLY_VARIANT, len(contact_ids), dtype=pl.String, eager=True).alias("variant")
    salted = blake2b(f"variant\x1f{campaign_id}\x1f".encode(), digest_size=8)
    buckets = []
    for contact_id in contact_ids.to_list():
        digest = salted.copy()
        digest.update(contact_id.encode())
        buckets.append(int.from_bytes(digest.digest()) % _BUCKETS)
    total = sum(variant.weight for variant in variants)
    bounds, reached = [], 0
    for variant in variants:
        reached += variant.weight
        bounds.append(reached * _BUCKETS / total)
    # Each bucket's variant is the first whose upper bound lies above it.
    choice = pl.lit(variants[-1].name)
    for variant, bound in reversed(list(zip(variants, bounds, strict=True))):
        choice = pl.when(pl.col("bucket") < bound).then(pl.lit(variant.name)).otherwise(choice)
    return pl.DataFrame({"bucket": buckets}, schema={"bucket": pl.UInt32}).select(variant=choice)["variant"]

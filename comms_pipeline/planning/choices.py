"""Choices per contact: which variant, which language. A choice never drifts when the audience grows. Pure."""

from collections.abc import Sequence
from hashlib import blake2b

import polars as pl

from comms_pipeline.domain.campaign_templates import Variant
from comms_pipeline.domain.fields import normal_language

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


def language_column(tags: pl.Series, languages: Sequence[str]) -> pl.Series:
    """The language of each contact's message, of those there are; the first is for all who read none of them.

    `pt-BR` is looked for as `pt-br`, then as `pt`.
    """
    chosen = {tag: _nearest_language(tag, languages) for tag in tags.drop_nulls().unique().to_list()}
    column = pl.col("tag").replace_strict(chosen, default=languages[0], return_dtype=pl.String)
    return pl.DataFrame({"tag": tags.cast(pl.String)}).select(language=column)["language"]


def _nearest_language(tag: str, languages: Sequence[str]) -> str:
    subtags = normal_language(tag).split("-")
    prefixes = ("-".join(subtags[:length]) for length in range(len(subtags), 0, -1))
    return next((prefix for prefix in prefixes if prefix in languages), languages[0])

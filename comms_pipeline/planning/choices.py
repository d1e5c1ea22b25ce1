"""Choices per contact: held out or not, variant, channel, language. Pure; send times live in `personalization`.

A choice by chance never drifts: it is a position between 0 and 1 that follows from contact and campaign alone,
whoever else is in the audience.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b

import polars as pl

from comms_pipeline.domain.campaign import ChannelChoice
from comms_pipeline.domain.campaign_templates import Variant
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.experiment import HOLDOUT
from comms_pipeline.domain.fields import normal_language
from comms_pipeline.domain.message import Channel

ONLY_VARIANT = ""
"""The variant of a campaign without variants."""
ENOUGH_MESSAGES = 5
"""Messages a contact must have got by a channel before its affinity to it counts."""
UNTOLD_AFFINITY = 0.2
"""The affinity to a channel of which too little is known: what `core.channel_affinity` gives for no message."""

# Multipliers and shifts of Stafford's mix 13, the finaliser of SplitMix64: every bit of the input moves every bit
# of the output. Polars' own hash may change with its version.
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31
_POSITION_BITS = 53


class Unassigned(CommsError):
    """Contacts are in no arm of an experiment that was assigned elsewhere; nothing was planned for anybody."""


class Purpose(StrEnum):
    """What a position is drawn for; each is independent of the other, in every campaign."""

    VARIANT = "variant"
    HOLDOUT = "holdout"


def positions(contact_ids: pl.Series, campaign_id: str, purpose: Purpose) -> pl.Series:
    """Where each contact stands in [0, 1): evenly spread, the same for ever.

    Contact ids are 32 hex digits and keyed hashes themselves.
    """
    digest = blake2b(f"{purpose}\x1f{campaign_id}".encode(), digest_size=16).digest()
    first, second = (_constant(int.from_bytes(half)) for half in (digest[:8], digest[8:]))
    bits = contact_ids.str.slice(16).str.to_integer(base=16, dtype=pl.UInt64)
    # Salted twice: with one salt, positions in two campaigns would hang together where salts are alike.
    mixed = _mixed(_mixed(bits ^ first) + second)
    # A double has room for so many bits.
    return (_shifted(mixed, 64 - _POSITION_BITS).cast(pl.Float64) / 2.0**_POSITION_BITS).alias("position")


def _mixed(bits: pl.Series) -> pl.Series:
    for shift, multiplier in _MIX:
        # Unsigned products wrap around.
        bits = (bits ^ _shifted(bits, shift)) * _constant(multiplier)
    return bits ^ _shifted(bits, _LAST_SHIFT)


def _shifted(bits: pl.Series, count: int) -> pl.Series:
    return bits // _constant(1 << count)


def _constant(value: int) -> pl.Series:
    return pl.Series([value], dtype=pl.UInt64)


def is_held_out(contact_ids: pl.Series, campaign_id: str, share: float) -> pl.Series:
    """Whether each contact is among the `share` (0–1) that gets nothing, to compare with.

    Who is held out stays so when the audience or the share grows.
    """
    if not share:
        return pl.repeat(False, len(contact_ids), dtype=pl.Boolean, eager=True)
    return positions(contact_ids, campaign_id, Purpose.HOLDOUT) < share


def variant_column(contact_ids: pl.Series, campaign_id: str, variants: Sequence[Variant]) -> pl.Series:
    """Variant names, shared out by weight; the same contact always gets the same variant of a campaign."""
    if not variants:
        return pl.repeat(ONLY_VARIANT, len(contact_ids), dtype=pl.String, eager=True).alias("variant")
    total = sum(variant.weight for variant in variants)
    bounds, reached = [], 0
    for variant in variants:
        reached += variant.weight
        bounds.append(reached / total)
    # A contact's variant is the first whose upper bound lies above its position.
    choice = pl.lit(variants[-1].name)
    for variant, bound in reversed(list(zip(variants, bounds, strict=True))):
        choice = pl.when(pl.col("position") < bound).then(pl.lit(variant.name)).otherwise(choice)
    drawn = positions(contact_ids, campaign_id, Purpose.VARIANT)
    return drawn.to_frame("position").select(variant=choice)["variant"]


def is_assigned_holdout(assigned: pl.Series, arms: Mapping[str, str]) -> pl.Series:
    """Whether each contact is held out by an assignment made elsewhere: `assigned` are values of its attribute."""
    return assigned.is_in([value for value, arm in arms.items() if arm == HOLDOUT]).fill_null(False)


def assigned_variant_column(assigned: pl.Series, arms: Mapping[str, str], campaign_id: str) -> pl.Series:
    """The variant for each value of `assigned`. Raises `Unassigned` for contacts whose value leads to none.

    Drawing an arm for them would mix two experiments, and leaving them out in silence would lose them.
    """
    variants = {value: arm for value, arm in arms.items() if arm != HOLDOUT}
    chosen = assigned.replace_strict(
        list(variants), list(variants.values()), default=None, return_dtype=pl.String
    )
    if lost := chosen.null_count():
        raise Unassigned(
            f"campaign {campaign_id}",
            f"at least {lost:,} contacts of its audience are in no arm of the experiment",
            "Add their values under experiment: arms:, or narrow the audience to those it names",
        )
    return chosen.alias("variant")


def channel_column(
    contacts: pl.DataFrame,
    affinities: pl.DataFrame,
    channels: Sequence[Channel],
    choice: ChannelChoice,
) -> pl.Series:
    """The channel of each contact's message, of those it may be reached on (`channels`, a list, never empty).

    Listed: the first of `channels` that is among them. Adaptive: its `preferred_channel`; else the one of the
    highest affinity (`affinities`: `contact_id`, `channel`, `affinity`, where enough is known); else as listed.
    """
    listed = [str(channel) for channel in channels]
    is_allowed = {channel: pl.col("channels").list.contains(channel) for channel in listed}
    if choice is ChannelChoice.LISTED or len(listed) == 1:
        first = pl.coalesce(pl.when(is_allowed[channel]).then(pl.lit(channel)) for channel in listed)
        return contacts.select(channel=first)["channel"]
    frame = contacts.select("contact_id", "channels", "preferred_channel")
    for channel in listed:
        known = affinities.filter(pl.col("channel") == channel).select(
            "contact_id", pl.col("affinity").alias(channel)
        )
        frame = frame.join(known, on="contact_id", how="left", maintain_order="left")
    frame = frame.with_columns(
        pl.when(is_allowed[channel]).then(pl.col(channel).fill_null(UNTOLD_AFFINITY)).alias(channel)
        for channel in listed
    )
    highest = pl.max_horizontal(listed)
    dearest = pl.coalesce(pl.when(pl.col(channel) == highest).then(pl.lit(channel)) for channel in listed)
    wish = pl.col("preferred_channel")
    is_granted = wish.is_in(listed) & pl.col("channels").list.contains(wish)
    return frame.select(channel=pl.when(is_granted).then(wish).otherwise(dearest))["channel"]


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

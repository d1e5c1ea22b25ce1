"""Choices per contact: their own, whoever else is there; by chance where nothing is known, by habit where it is."""

from collections import Counter
from itertools import combinations

import polars as pl
import pytest

from comms_pipeline.domain.campaign import ChannelChoice, Variant
from comms_pipeline.domain.message import Channel
from comms_pipeline.planning.choices import (
    Purpose,
    Unassigned,
    assigned_variant_column,
    channel_column,
    is_assigned_holdout,
    is_held_out,
    positions,
    variant_column,
)

A, B, C = Variant(name="a", weight=1), Variant(name="b", weight=3), Variant(name="c", weight=6)
CONTACTS = pl.Series("contact_id", [f"{number:032x}" for number in range(50_000)])
CROWD = pl.Series("contact_id", [f"{number:032x}" for number in range(200_000)])
EMAIL, SMS = Channel.EMAIL, Channel.SMS


def chi_square(counts: list[int], expected: float) -> float:
    return sum((count - expected) ** 2 / expected for count in counts)


def cells(one: pl.Series, other: pl.Series, parts: int) -> list[int]:
    """How many fall into each cell of a grid of `parts` by `parts`."""
    cell = (one * parts).cast(pl.Int32) * parts + (other * parts).cast(pl.Int32)
    counts = Counter(cell.to_list())
    return [counts[number] for number in range(parts * parts)]


def test_a_campaign_without_variants_has_the_empty_one():
    found = variant_column(CONTACTS[:3], "news", [])

    assert found.to_list() == ["", "", ""]
    assert found.dtype == pl.String


def test_a_single_variant_is_everybodys():
    assert variant_column(CONTACTS[:3], "news", [B]).to_list() == ["b", "b", "b"]


def test_nobody_has_no_variant():
    assert variant_column(CONTACTS[:0], "news", [A, B]).to_list() == []


def test_variants_are_shared_out_by_weight():
    counts = Counter(variant_column(CONTACTS, "news", [A, B, C]).to_list())

    assert counts == {
        "a": pytest.approx(5_000, abs=300),
        "b": pytest.approx(15_000, abs=500),
        "c": pytest.approx(30_000, abs=500),
    }


def test_a_contact_keeps_its_variant_whoever_else_is_in_the_audience():
    everybody = variant_column(CONTACTS, "news", [A, B, C])

    assert variant_column(CONTACTS[100:200].reverse(), "news", [A, B, C]).to_list() == (
        everybody[100:200].reverse().to_list()
    )
    assert variant_column(CONTACTS[:1000], "news", [A, B, C]).to_list() == everybody[:1000].to_list()


def test_the_choice_is_the_same_on_every_machine():
    assert "".join(variant_column(CONTACTS[:24], "news", [A, B, C]).to_list()) == "cccccbcacccaccbbbccbccac"
    assert positions(CONTACTS[:2], "news", Purpose.HOLDOUT).to_list() == [
        0.9263412270314051,
        0.6719492046152454,
    ]
    # All bits set, so that every product wraps around.
    assert positions(pl.Series(["f" * 32]), "news", Purpose.VARIANT).to_list() == [0.9071843582838677]


def test_another_campaign_shares_them_out_anew():
    one, other = (variant_column(CONTACTS, campaign, [A, C]) for campaign in ("news", "offers"))
    both_a = ((one == "a") & (other == "a")).sum()

    # A seventh of a seventh: independent of each other.
    assert both_a == pytest.approx(50_000 / 49, abs=150)


@pytest.mark.parametrize("purpose", Purpose)
def test_positions_are_spread_evenly(purpose):
    found = positions(CROWD, "news", purpose)
    counts = Counter((found * 100).cast(pl.Int32).to_list())

    assert found.min() >= 0.0
    assert found.max() < 1.0
    # 99 degrees of freedom: one in 100,000 would be above 170.
    assert chi_square([counts[number] for number in range(100)], 2_000) < 170


def test_positions_of_campaigns_and_purposes_are_independent():
    drawn = [
        positions(CROWD, campaign, purpose)
        for campaign in ("news", "news-2", "offers")
        for purpose in Purpose
    ]

    for one, other in combinations(drawn, 2):
        assert chi_square(cells(one, other, 10), 2_000) < 170


def test_who_is_held_out_stays_so_when_share_or_audience_grow():
    five, ten = is_held_out(CROWD, "news", 0.05), is_held_out(CROWD, "news", 0.1)

    assert five.sum() == pytest.approx(10_000, abs=400)
    assert ten.sum() == pytest.approx(20_000, abs=600)
    assert not (five & ~ten).any()
    assert is_held_out(CROWD[:1_000], "news", 0.05).to_list() == five[:1_000].to_list()


def test_nobody_is_held_out_unless_asked_for():
    assert is_held_out(CONTACTS[:3], "news", 0.0).to_list() == [False] * 3
    assert is_held_out(CONTACTS[:0], "news", 0.1).to_list() == []


def test_variants_are_shared_out_alike_among_those_who_are_not_held_out():
    kept = CROWD.filter(~is_held_out(CROWD, "news", 0.5))
    counts = Counter(variant_column(kept, "news", [A, B]).to_list())

    assert counts["a"] / kept.len() == pytest.approx(0.25, abs=0.006)


ARMS = {"A": "a", "A2": "a", "B": "b", "none": "holdout"}


def test_an_arm_assigned_elsewhere_is_the_one_its_value_leads_to():
    assert assigned_variant_column(pl.Series(["B", "A", "A2"]), ARMS, "news").to_list() == ["b", "a", "a"]
    assert assigned_variant_column(pl.Series([], dtype=pl.String), ARMS, "news").to_list() == []
    assert is_assigned_holdout(pl.Series(["B", "none", None, "None"]), ARMS).to_list() == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("lost", [["C"], [None], ["none"]])
def test_who_is_in_no_arm_is_neither_drawn_nor_left_out(lost):
    with pytest.raises(Unassigned, match="campaign news: at least 1 contacts of its audience are in no arm"):
        assigned_variant_column(pl.Series(["A", *lost]), ARMS, "news")


def chosen(
    *contacts: tuple[list[str], str | None],
    affinities: dict[tuple[int, str], float] | None = None,
    channels: tuple[Channel, ...] = (EMAIL, SMS),
    choice: ChannelChoice = ChannelChoice.ADAPTIVE,
) -> list[str]:
    """The channels of contacts (channels allowed, preferred channel), with affinities by (number, channel)."""
    frame = pl.DataFrame(
        [(str(number), allowed, wish) for number, (allowed, wish) in enumerate(contacts)],
        schema={"contact_id": pl.String, "channels": pl.List(pl.String), "preferred_channel": pl.String},
        orient="row",
    )
    known = pl.DataFrame(
        [(str(number), channel, value) for (number, channel), value in (affinities or {}).items()],
        schema={"contact_id": pl.String, "channel": pl.String, "affinity": pl.Float64},
        orient="row",
    )
    return channel_column(frame, known, channels, choice).to_list()


BOTH = ["sms", "email"]


def test_without_preference_or_history_the_first_listed_channel_is_taken():
    assert chosen((BOTH, None), (["sms"], None)) == ["email", "sms"]
    assert chosen((BOTH, None), (["email"], None), channels=(SMS, EMAIL)) == ["sms", "email"]


def test_a_contacts_own_preference_comes_first():
    affinities = {(0, "email"): 0.9, (1, "email"): 0.9}

    assert chosen((BOTH, "sms"), (BOTH, "email"), affinities=affinities) == ["sms", "email"]


@pytest.mark.parametrize("wish", ["pigeon", "", None, "whatsapp"])
def test_a_preference_that_is_no_channel_of_the_campaign_is_ignored(wish):
    assert chosen((BOTH, wish), (["sms"], wish)) == ["email", "sms"]


def test_a_preference_for_a_channel_that_is_not_allowed_is_ignored():
    assert chosen((["email"], "sms"), (["sms"], "email")) == ["email", "sms"]


def test_what_a_contact_reads_most_is_taken_before_what_is_listed_first():
    affinities = {(0, "email"): 0.3, (0, "sms"): 0.4, (1, "email"): 0.4, (1, "sms"): 0.4, (2, "sms"): 0.9}

    assert chosen((BOTH, None), (BOTH, None), (["email"], None), affinities=affinities) == [
        "sms",
        "email",
        "email",
    ]


def test_a_channel_that_tells_nothing_yet_is_better_than_one_that_is_never_read():
    affinities = {(0, "email"): 0.02, (1, "email"): 0.21}

    assert chosen((BOTH, None), (BOTH, None), affinities=affinities) == ["sms", "email"]


def test_listed_means_listed():
    affinities = {(0, "sms"): 0.9}

    assert chosen((BOTH, "sms"), affinities=affinities, choice=ChannelChoice.LISTED) == ["email"]


def test_nobody_has_no_channel():
    assert chosen() == []

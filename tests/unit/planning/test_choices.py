"""Variants: a contact's own, whoever else is there; shared out by weight."""

from collections import Counter

import polars as pl
import pytest

from comms_pipeline.domain.campaign import Variant
from comms_pipeline.planning.choices import variant_column

A, B, C = Variant(name="a", weight=1), Variant(name="b", weight=3), Variant(name="c", weight=6)
CONTACTS = pl.Series("contact_id", [f"{number:032x}" for number in range(50_000)])


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
    assert "".join(variant_column(CONTACTS[:24], "news", [A, B, C]).to_list()) == "cbaaabaccbbbcccccacccabb"


def test_another_campaign_shares_them_out_anew():
    one, other = (variant_column(CONTACTS, campaign, [A, C]) for campaign in ("news", "offers"))
    both_a = ((one == "a") & (other == "a")).sum()

    # A seventh of a seventh: independent of each other.
    assert both_a == pytest.approx(50_000 / 49, abs=150)

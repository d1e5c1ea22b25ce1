"""Marts of random histories: what Polars computes of the same truth apart, and the same in parts and whole."""

import random
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mart_world import OWN, STATES, ZONES, World, at, happen
from polars.testing import assert_frame_equal

from comms_pipeline.loader.models import rebuild
from comms_pipeline.stores import Stores


@pytest.fixture
def world(shared_stores: Stores) -> Iterator[World]:
    made = World(shared_stores)
    yield made
    World(shared_stores)


KIND_RANKS = {"queued": 20, "sent": 30, "deferred": 40, "delivered": 50, "rejected": 51, "failed": 51}
KIND_RANKS |= {"bounced": 52, "opened": 60, "clicked": 61, "unsubscribed": 70, "complained": 71}


def truth(world: World) -> pl.DataFrame:
    """One row per message: its plan and what became of it, from outcomes and events as they were made up."""
    outcomes = pl.DataFrame(world.rows["core.outcomes"], infer_schema_length=None)
    events = pl.DataFrame(world.rows["core.events"], infer_schema_length=None)
    conversions = pl.DataFrame(world.rows["core.conversions"], infer_schema_length=None)
    latest = outcomes.sort("outcome_id").group_by("message_id", maintain_order=True).last()
    accepted = (
        outcomes.filter(status="accepted").group_by("message_id").agg(taken_at=pl.col("recorded_at").min())
    )
    human, kind = pl.col("verdict") == "human", pl.col("kind")
    heard = events.group_by("message_id").agg(
        rank=kind.replace_strict(KIND_RANKS).max(),
        queued_at=pl.col("occurred_at").filter(kind == "queued").min(),
        delivered_at=pl.col("occurred_at").filter(kind == "delivered").min(),
        deferred_once=(kind == "deferred").any(),
        opened=(kind == "opened").any(),
        human_opened=((kind == "opened") & human).any(),
        clicked=(kind == "clicked").any(),
        human_clicked=((kind == "clicked") & human).any(),
        unsubscribed=(kind == "unsubscribed").any(),
        complained=(kind == "complained").any(),
    )
    flags = [
        "deferred_once",
        "opened",
        "human_opened",
        "clicked",
        "human_clicked",
        "unsubscribed",
        "complained",
    ]
    rank = pl.max_horizontal(pl.col("rank").fill_null(0), pl.when(status="accepted").then(20).otherwise(0))
    sends = pl.DataFrame(world.rows["campaign.sends"]).select("send_id", "campaign_id", "organisation_id")
    contacts = pl.DataFrame(world.rows["core.contacts"], infer_schema_length=None)
    return (
        pl.DataFrame(world.rows["campaign.messages"], infer_schema_length=None)
        .join(sends, on="send_id")
        .join(contacts.select("contact_id", "email", "phone", "time_zone"), on="contact_id")
        .join(latest.select("message_id", "status", "reason", "provider"), on="message_id", how="left")
        .join(accepted, on="message_id", how="left")
        .join(heard, on="message_id", how="left")
        .with_columns(pl.col(flags).fill_null(False), rank=rank)
        .with_columns(
            accepted_at=pl.coalesce("taken_at", "queued_at"),
            state=pl.when(pl.col("rank") >= 20)
            .then(pl.lit("accepted"))
            .otherwise(pl.col("status").fill_null("waiting")),
            lane=pl.col("channel") + ":" + pl.coalesce("provider", pl.col("lane").str.split(":").list.last()),
            delivered=(pl.col("rank") == 50) | (pl.col("rank") >= 60),
            bounced=pl.col("rank") == 52,
            failed=pl.col("rank") == 51,
            is_credited=pl.col("message_id").is_in(conversions["message_id"].to_list()),
        )
        .with_columns(
            *(pl.col("state").eq(state).alias(state) for state in STATES),
            converted=pl.col("is_credited") & pl.col("delivered"),
            day=pl.coalesce("accepted_at", "due_at").dt.date(),
            seconds=pl.when("delivered").then(
                (pl.col("delivered_at") - pl.col("accepted_at")).dt.total_seconds().clip(0)
            ),
        )
    )


COUNTS = [
    *STATES,
    *("delivered", "bounced", "failed", "opened", "human_opened", "clicked", "human_clicked", "unsubscribed"),
    *("complained", "converted"),
]
RATES = {
    "delivery_rate": ("delivered", "accepted"),
    "bounce_rate": ("bounced", "accepted"),
    "open_rate": ("opened", "delivered"),
    "human_open_rate": ("human_opened", "delivered"),
    "click_rate": ("clicked", "delivered"),
    "human_click_rate": ("human_clicked", "delivered"),
    "unsubscribe_rate": ("unsubscribed", "delivered"),
    "complaint_rate": ("complained", "delivered"),
    "conversion_rate": ("converted", "delivered"),
    "click_to_open_rate": ("both", "human_opened"),
}


def counted(messages: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Counts and rates by some columns."""
    sums = [pl.col(name).sum().cast(pl.Int64) for name in COUNTS]
    both = (pl.col("human_opened") & pl.col("human_clicked")).sum()
    found = messages.group_by(by).agg(pl.len().cast(pl.Int64).alias("messages"), *sums, both=both)
    return found.with_columns(
        *(
            pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole)).alias(rate)
            for rate, (part, whole) in RATES.items()
        )
    )


def assert_same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Of the columns both have; the keys are what `found` begins with."""
    names = [name for name in found.columns if name in expected.columns]
    assert found.height > 0
    assert_frame_equal(
        found.select(names),
        expected.select(names),
        check_row_order=False,
        check_dtypes=False,
        check_exact=False,
    )


def test_marts_of_a_random_history_are_what_polars_computes(world):
    chance = random.Random(7)
    # Enough contacts at first for no domain to be a small one.
    for messages in (100, 40, 40):
        happen(world, chance, messages=messages)
        world.tell()
    world.bring_up_to_date()
    messages = truth(world)
    performance = world.found("mart.campaign_performance", "* exclude (due_at, computed_at)")
    assert_same(performance, counted(messages, "send_id", "channel", "variant"))
    assert_same(world.found("mart.channel_day"), counted(messages, "organisation_id", "channel", "day"))
    assert_same(world.found("mart.send_funnel"), counted(messages, "send_id"))
    bands = pl.col("score").cut([0.2, 0.4, 0.6, 0.8], labels=BANDS, left_closed=True).cast(pl.String)
    by_band = counted(
        messages.with_columns(score_band=bands), "campaign_id", "organisation_id", "channel", "score_band"
    )
    assert_same(world.found("mart.personalization_impact"), by_band)
    _assert_deliverability(world, messages)
    _assert_costs(world, messages)
    _assert_heat_map(world, messages)
    _assert_provider_health(world, messages)


BANDS = ["0.0-0.2", "0.2-0.4", "0.4-0.6", "0.6-0.8", "0.8-1.0"]


def _assert_deliverability(world: World, messages: pl.DataFrame) -> None:
    domain = (
        pl.when(channel="email")
        .then(pl.col("email").str.split("@").list.last())
        .otherwise(pl.col("phone").str.extract(r"^(\+(?:1|49|353))"))
    )
    expected = (
        messages.filter(state="accepted")
        .with_columns(domain=domain)
        .group_by("organisation_id", "channel", "domain")
        .agg(
            pl.col("accepted", "delivered", "deferred_once", "bounced", "failed", "complained").sum(),
            pl.col("human_opened", "human_clicked").sum(),
            median_delivery_seconds=pl.col("seconds").median(),
            p95_delivery_seconds=pl.col("seconds").quantile(0.95, "linear"),
        )
        .with_columns(deferral_rate=pl.col("deferred_once") / pl.col("accepted"))
    )
    assert_same(world.found("mart.deliverability"), expected)


def _assert_costs(world: World, messages: pl.DataFrame) -> None:
    paid = pl.col("state") == "accepted"
    expected = messages.group_by("send_id", "channel", "lane").agg(
        pl.len().alias("messages"),
        pl.col("accepted", "delivered", "human_clicked", "converted").sum(),
        segments=pl.col("segments").fill_null(1).filter(paid).sum(),
        cost_micros=pl.when(pl.col("cost_micros").filter(paid).len() > 0)
        .then(
            pl.when(pl.col("cost_micros").filter(paid).null_count() == 0).then(
                pl.col("cost_micros").filter(paid).sum()
            )
        )
        .first(),
    )
    assert_same(world.found("mart.costs"), expected)
    value = pl.DataFrame(world.rows["core.conversions"], infer_schema_length=None).drop_nulls("currency")
    brought = (
        value.join(messages.select("message_id", "lane"), on="message_id")
        .group_by("send_id", "channel", "lane")
        .agg(
            revenue_micros=pl.when(pl.col("currency").n_unique() == 1)
            .then(pl.col("value_micros").sum())
            .first(),
            revenue_currency=pl.when(pl.col("currency").n_unique() == 1)
            .then(pl.col("currency").first())
            .first(),
        )
    )
    keys = ["send_id", "channel", "lane"]
    found = world.found("mart.costs", "send_id, channel, lane, revenue_micros, revenue_currency")
    assert_same(found.join(brought, on=keys, how="semi"), brought)
    assert set(found.join(brought, on=keys, how="anti")["revenue_micros"]) <= {0}


def _assert_heat_map(world: World, messages: pl.DataFrame) -> None:
    zones = [
        pl.col("delivered_at").dt.convert_time_zone(zone if zone and zone != "Nowhere/Else" else "UTC")
        for zone in ZONES
    ]
    local = [
        messages.filter(pl.col("time_zone").eq_missing(pl.lit(zone))).with_columns(
            weekday=moment.dt.weekday(), local_hour=moment.dt.hour()
        )
        for zone, moment in zip(ZONES, zones, strict=True)
    ]
    expected = (
        pl.concat(
            [
                part.drop("delivered_at")
                for part in (each.filter(pl.col("delivered_at").is_not_null()) for each in local)
            ]
        )
        .filter("delivered")
        .group_by("organisation_id", "channel", "weekday", "local_hour")
        .agg(pl.col("delivered", "human_opened", "human_clicked").sum())
        .with_columns(human_open_rate=pl.col("human_opened") / pl.col("delivered"))
    )
    assert_same(world.found("mart.send_time_heatmap"), expected)


def _assert_provider_health(world: World, messages: pl.DataFrame) -> None:
    is_ours = pl.col("refused") & pl.col("reason").eq("suppressed").fill_null(False)
    expected = messages.group_by("lane", "day").agg(
        pl.col("accepted", "deferred", "unknown", "delivered", "bounced", "failed").sum(),
        refused=(pl.col("refused") & ~is_ours).sum(),
        median_delivery_seconds=pl.col("seconds").median(),
    )
    given_to = pl.col("accepted") + pl.col("refused") + pl.col("unknown")
    assert_same(
        world.found("mart.provider_health"),
        expected.with_columns(refused_rate=pl.when(given_to > 0).then(pl.col("refused") / given_to)),
    )


def change_contact(world: World, contact_id: str, what: str) -> None:
    """The contact moves, is erased, or is gone from the table."""
    statement = {
        "moved": "update core.contacts set time_zone = 'Asia/Kolkata', updated_at = $now where contact_id = $id",
        "erased": "update core.contacts set time_zone = null, email = null, phone = null, is_erased = true, "
        "updated_at = $now where contact_id = $id",
        "deleted": "delete from core.contacts where contact_id = $id and $now is not null",
    }[what]
    with world.stores.lake.writer() as writer:
        writer.cursor.execute(statement, {"id": contact_id, "now": at(6_000)})


def snapshot(world: World) -> dict[str, list[tuple[Any, ...]]]:
    moments = {"mart.campaign_performance", "mart.channel_day", "mart.send_funnel", "mart.queue_health"}
    return {
        table: world.found(table, "* exclude (computed_at)" if table in moments else "*").rows()
        for table in OWN
    }


@settings(max_examples=3)
@given(
    seed=st.integers(0, 10**6),
    steps=st.lists(
        st.sampled_from(["more", "late", "moved", "erased", "deleted", "redecided"]), min_size=2, max_size=3
    ),
)
def test_runs_in_parts_and_a_full_rebuild_give_the_same_rows(shared_stores, seed, steps):
    world, chance = World(shared_stores), random.Random(seed)
    happen(world, chance, messages=12)
    world.tell()
    world.bring_up_to_date()
    for step in steps:
        if step in ("more", "late"):
            happen(world, chance, messages=6 if step == "more" else 0)
            if step == "late":
                world.event("m0", "opened", 9_000)
                world.outcome("m1", "accepted", 1)
        elif step == "redecided":
            with shared_stores.lake.writer() as writer:
                writer.cursor.execute("delete from campaign.decisions where send_id = 's0'")
                writer.cursor.execute("delete from campaign.audiences where send_id = 's1'")
        else:
            change_contact(world, f"c{chance.randrange(12)}", step)
        world.tell()
        world.bring_up_to_date()
    in_parts = snapshot(world)
    world.bring_up_to_date(compute=rebuild)
    assert snapshot(world) == in_parts
    World(shared_stores)

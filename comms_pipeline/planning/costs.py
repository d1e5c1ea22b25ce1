"""What the messages of a plan would cost, by the prices the settings give. Pure; what was billed is not known here."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from comms_pipeline.domain.prices import Price


@dataclass(frozen=True, kw_only=True)
class LaneCost:
    """What a lane's part of a plan costs. `units` are SMS segments, else messages; `cost` None: no price is set."""

    lane: str
    units: int
    cost: Price | None


def costs_of(messages: pl.DataFrame, prices: Mapping[str, Price]) -> list[LaneCost]:
    """By lane, in order. `messages` has `lane`, `messages` and `segments` (null where messages have none)."""
    units = pl.coalesce("segments", "messages").sum().cast(pl.Int64)
    by_lane = messages.group_by("lane").agg(units=units).sort("lane")
    return [
        LaneCost(lane=lane, units=count, cost=prices[lane].times(count) if lane in prices else None)
        for lane, count in by_lane.iter_rows()
    ]


def cost_columns(prices: Mapping[str, Price]) -> list[pl.Expr]:
    """What each message costs once it is accepted: `cost_micros` and `currency`, null without a price of its lane.

    Rows have `lane` and `segments` (null where messages have none).
    """
    micros = {lane: price.micros for lane, price in prices.items()}
    currencies = {lane: price.currency for lane, price in prices.items()}
    lane = pl.col("lane")
    price = lane.replace_strict(micros, default=None, return_dtype=pl.Int64)
    return [
        (price * pl.col("segments").fill_null(1)).alias("cost_micros"),
        lane.replace_strict(currencies, default=None, return_dtype=pl.String).alias("currency"),
    ]


def totals(costs: list[LaneCost]) -> list[Price]:
    """One sum for each currency, in order of its code."""
    sums: dict[str, int] = {}
    for each in costs:
        if each.cost is not None:
            sums[each.cost.currency] = sums.get(each.cost.currency, 0) + each.cost.micros
    return [Price(micros=sums[currency], currency=currency) for currency in sorted(sums)]

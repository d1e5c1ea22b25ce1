"""What the messages of a plan would cost."""

import polars as pl

from comms_pipeline.domain.prices import Price
from comms_pipeline.planning.costs import LaneCost, cost_columns, costs_of, totals

PLAN = pl.DataFrame(
    {
        "lane": ["email:sendgrid", "sms:twilio", "sms:twilio", "whatsapp:twilio"],
        "messages": [1_000, 30, 10, 7],
        "segments": [None, 45, 10, None],
    }
)


def usd(micros: int) -> Price:
    return Price(micros=micros, currency="USD")


def test_texts_cost_by_segment_and_mail_by_message() -> None:
    prices = {"email:sendgrid": usd(600), "sms:twilio": usd(8_300), "email:smtp": usd(1)}
    assert costs_of(PLAN, prices) == [
        LaneCost(lane="email:sendgrid", units=1_000, cost=usd(600_000)),
        LaneCost(lane="sms:twilio", units=55, cost=usd(456_500)),
        LaneCost(lane="whatsapp:twilio", units=7, cost=None),
    ]


def test_currencies_are_not_added_up() -> None:
    prices = {
        "email:sendgrid": usd(600),
        "sms:twilio": Price(micros=7_000, currency="EUR"),
        "whatsapp:twilio": usd(5_000),
    }
    assert totals(costs_of(PLAN, prices)) == [Price(micros=385_000, currency="EUR"), usd(635_000)]


def test_an_empty_plan_costs_nothing() -> None:
    assert costs_of(PLAN.clear(), {"sms:twilio": usd(1)}) == []
    assert totals([]) == []


def test_every_message_has_the_cost_of_its_segments() -> None:
    planned = pl.DataFrame(
        {"lane": ["email:sendgrid", "sms:twilio", "whatsapp:twilio"], "segments": [None, 3, None]},
        schema_overrides={"segments": pl.Int32},
    )
    prices = {"email:sendgrid": usd(600), "sms:twilio": Price(micros=8_300, currency="EUR")}
    assert planned.select(cost_columns(prices)).rows() == [(600, "USD"), (24_900, "EUR"), (None, None)]
    assert planned.select(cost_columns({})).rows() == [(None, None)] * 3

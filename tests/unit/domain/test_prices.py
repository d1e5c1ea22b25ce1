"""Prices as people write them, and what many messages cost."""

import pytest

from comms_pipeline.domain.prices import Price, parse_prices


def test_prices_are_read_by_lane() -> None:
    assert parse_prices("sms:twilio=0.0083 USD, email:sendgrid=0.0006 USD,email:smtp=0 EUR") == {
        "sms:twilio": Price(micros=8_300, currency="USD"),
        "email:sendgrid": Price(micros=600, currency="USD"),
        "email:smtp": Price(micros=0, currency="EUR"),
    }


def test_no_prices_are_no_prices() -> None:
    assert parse_prices("") == {}
    assert parse_prices(" , ") == {}


@pytest.mark.parametrize(
    "text",
    [
        "sms:twilio",
        "sms:twilio=0.0083",
        "sms:twilio=0.0083 usd",
        "sms:twilio=-1 USD",
        "sms:twilio=0.00000001 USD",
        "sms:twilio=1e3 USD",
        "twilio=0.0083 USD",
        "sms:twilio=0,0083 USD",
    ],
)
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no price; write e\.g\. sms:twilio=0\.0083 USD"):
        parse_prices(text)


def test_a_lane_has_one_price() -> None:
    with pytest.raises(ValueError, match="lane sms:twilio has two prices"):
        parse_prices("sms:twilio=1 USD, sms:twilio=2 USD")


@pytest.mark.parametrize(
    ("micros", "units", "shown"),
    [
        (8_300, 1, "0.0083 USD"),
        (8_300, 10_000, "83.00 USD"),
        (600, 1_234_567, "740.7402 USD"),
        (1_500_000, 1_000, "1,500.00 USD"),
        (0, 5, "0.00 USD"),
    ],
)
def test_sums_are_exact_to_the_micro(micros: int, units: int, shown: str) -> None:
    assert str(Price(micros=micros, currency="USD").times(units)) == shown

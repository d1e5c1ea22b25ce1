"""What a message costs: prices as people write them, and sums of money. Nobody's price list; no clock, no I/O.

Money is whole micros (millionths) of a currency: sums of millions of fractions of a cent stay exact.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

MICROS = 1_000_000
_PRICE = re.compile(r"(\w+:\w+)\s*=\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*([A-Z]{3})")


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one unit costs: an SMS segment, else a message. `currency` is an ISO 4217 code."""

    micros: int
    currency: str

    def times(self, units: int) -> "Price":
        """What so many units cost."""
        return Price(micros=self.micros * units, currency=self.currency)

    def __str__(self) -> str:
        """`83.00 USD`; at least two decimals, and as many as it takes to be exact."""
        whole, rest = divmod(self.micros, MICROS)
        decimals = f"{rest:06}".rstrip("0").ljust(2, "0")
        return f"{whole:,}.{decimals} {self.currency}"


def parse_prices(text: str) -> dict[str, Price]:
    """Prices by lane: `sms:twilio=0.0083 USD, email:sendgrid=0.0006 USD`.

    Raises `ValueError` for what is no price, or names a lane twice.
    """
    prices: dict[str, Price] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        match = _PRICE.fullmatch(entry)
        if match is None:
            raise ValueError(f"'{entry[:80]}' is no price; write e.g. sms:twilio=0.0083 USD")
        lane, amount, currency = match.groups()
        if lane in prices:
            raise ValueError(f"lane {lane} has two prices")
        prices[lane] = Price(micros=int(Decimal(amount) * MICROS), currency=currency)
    return prices

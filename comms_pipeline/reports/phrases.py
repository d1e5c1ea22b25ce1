"""Numbers, times and money in words, the same in every report."""

from datetime import UTC, datetime

from comms_pipeline.domain.prices import MICROS

NOTHING = "–"
"""What stands where there is no number: a rate of nothing is not 0."""


def count(value: int | None) -> str:
    """1,234."""
    return NOTHING if value is None else f"{value:,}"


def signed(value: int) -> str:
    """+1,234, −5, 0."""
    return f"{value:+,}".replace("-", "−") if value else "0"


def percent(rate: float | None) -> str:
    """12.3%; below 1% with two decimals, where they matter."""
    if rate is None:
        return NOTHING
    return f"{rate:.1%}" if rate == 0 or abs(rate) >= 0.01 else f"{rate:.2%}"


def points(difference: float) -> str:
    """A difference of two rates: +1.2 points."""
    return f"{difference * 100:+.1f} points".replace("-", "−")


def share(part: int, whole: int) -> float | None:
    """Null without a whole."""
    return part / whole if whole else None


def money(micros: int | None, currency: str | None) -> str:
    """1,234.50 USD; small amounts with as many decimals as it takes to see them."""
    if micros is None:
        return NOTHING
    amount = micros / MICROS
    decimals = 2 if amount == 0 or abs(amount) >= 0.1 else 4
    return f"{amount:,.{decimals}f} {currency or ''}".rstrip()


def moment(at: datetime) -> str:
    """2 December 2026, 09:00 UTC."""
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def plural(number: int, one: str, many: str | None = None) -> str:
    """1 message, 2 messages."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"

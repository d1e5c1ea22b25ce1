"""How much an organisation may send, by its tier. Counting is the ledger's work."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Tier(StrEnum):
    """What an operator grants an organisation. Whoever runs this for themselves needs none."""

    FREE = "free"
    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"
    UNLIMITED = "unlimited"


@dataclass(frozen=True, kw_only=True)
class TierLimits:
    """Recipients of one campaign, and messages per hour and per day; None: no limit."""

    recipients: int | None
    per_hour: int | None
    per_day: int | None


TIER_LIMITS: Mapping[Tier, TierLimits] = {
    Tier.FREE: TierLimits(recipients=100, per_hour=50, per_day=200),
    Tier.STARTER: TierLimits(recipients=500, per_hour=200, per_day=1_000),
    Tier.PROFESSIONAL: TierLimits(recipients=2_000, per_hour=500, per_day=5_000),
    Tier.ENTERPRISE: TierLimits(recipients=10_000, per_hour=2_000, per_day=20_000),
    Tier.UNLIMITED: TierLimits(recipients=None, per_hour=None, per_day=None),
}

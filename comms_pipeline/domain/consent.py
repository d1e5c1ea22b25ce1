"""Kinds and states of a consent. What a kind is good for is the business of rules; records are the ledger's."""

from enum import StrEnum


class ConsentState(StrEnum):
    """What somebody has said last. The words of the ledger's `consent.state`."""

    GIVEN = "given"
    PENDING = "pending"
    """Asked for and not confirmed yet (double opt-in): no consent."""
    WITHDRAWN = "withdrawn"


class ConsentKind(StrEnum):
    """On what ground somebody may be written to (CASL s 10, PECR reg 22, 47 CFR 64.1200(f)(9)). Any other word counts
    as the weakest, IMPLIED.
    """

    EXPRESS = "express"
    WRITTEN = "written"
    """Express, in writing: what US marketing by SMS needs."""
    DOUBLE_OPT_IN = "double-opt-in"
    """Express, and confirmed from the address itself."""
    SOFT_OPT_IN = "soft-opt-in"
    IMPLIED_PURCHASE = "implied-purchase"
    IMPLIED_INQUIRY = "implied-inquiry"
    IMPLIED = "implied"
    UNSTATED = "unstated"
    """Nobody said."""

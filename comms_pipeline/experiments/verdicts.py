"""The winner rule: what one comparison allows to say, given its figures. Sentences are `conclusions`' work."""

from dataclasses import dataclass
from enum import StrEnum

from comms_pipeline.experiments.sequential import ALPHA
from comms_pipeline.experiments.several import MISMATCH

FEWEST_CONTACTS = 100
"""Of either arm, before anything is concluded."""
FEWEST_SUCCESSES = 20
"""Of both arms together, before rates are judged."""
FEWEST_SPENDERS = 100
"""The same for means of money: a few large orders make them, and normality comes late."""
HARM = 0.05
"""A guardrail is broken where its p-value of looking once is below this: better one alarm too many."""


class Verdict(StrEnum):
    """What may be said of an arm against its control."""

    WINS = "wins"
    LOSES = "loses"
    UNDECIDED = "undecided"
    TOO_FEW = "too_few"
    """Fewer contacts or successes than the method needs."""
    HARMFUL = "harmful"
    """Better, but with more unsubscribes or complaints."""
    BROKEN = "sample_ratio_off"
    """The arms' sizes are not what they were meant to be."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a verdict hangs on. `contacts`: of the smaller arm; `p_value`: always-valid, adjusted for several arms."""

    contacts: int
    successes: int
    fewest_successes: int
    difference: float
    p_value: float
    sample_ratio_p_value: float | None
    is_harmful: bool


def verdict(evidence: Evidence) -> Verdict:
    """In order: sizes as intended, enough seen, significant at every look, and no more harm than the control."""
    ratio = evidence.sample_ratio_p_value
    if ratio is not None and ratio < MISMATCH:
        return Verdict.BROKEN
    if evidence.contacts < FEWEST_CONTACTS or evidence.successes < evidence.fewest_successes:
        return Verdict.TOO_FEW
    if evidence.p_value >= ALPHA:
        return Verdict.UNDECIDED
    if evidence.difference < 0:
        return Verdict.LOSES
    return Verdict.HARMFUL if evidence.is_harmful else Verdict.WINS

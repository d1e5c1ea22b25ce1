"""Twilio's error codes translated by table into what we do about them. Codes unknown here survive as OTHER."""

from dataclasses import dataclass
from enum import StrEnum

from comms_pipeline.domain.outcome import RejectReason


class Action(StrEnum):
    """What a code asks for."""

    OPT_OUT = "opt_out"
    BAD_ADDRESS = "bad_address"
    UNREACHABLE = "unreachable"
    """Suppresses only when it repeats."""
    NO_ROUTE = "no_route"
    """Our account cannot reach this number: its message is refused, the lane goes on."""
    TRANSIENT = "transient"
    NEXT_WINDOW = "next_window"
    CONTENT = "content"
    REPLY_WINDOW = "reply_window"
    """Free text, and the recipient has not written lately; a Content template would have gone."""
    CONFIGURATION = "configuration"
    """No message of the lane can succeed until somebody mends it."""


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a code means for the message and for its lane."""

    action: Action
    reason: RejectReason


_BY_ACTION: dict[Action, tuple[RejectReason, tuple[int, ...]]] = {
    Action.OPT_OUT: (RejectReason.UNSUBSCRIBED, (21610, 63033)),
    Action.BAD_ADDRESS: (RejectReason.INVALID, (21211, 21614, 21635, 30005, 30006, 63003, 63024)),
    Action.UNREACHABLE: (RejectReason.BOUNCED, (30003, 30004)),
    Action.TRANSIENT: (
        RejectReason.TIMED_OUT,
        (20429, 20500, 20503, 21611, 30001, 30008, 30022, 30047, 30410, 63017, 63018),
    ),
    Action.NEXT_WINDOW: (RejectReason.BLOCKED, (30023, 30027, 63038, 30610)),
    Action.NO_ROUTE: (RejectReason.CONFIGURATION, (21408, 21608, 21612)),
    Action.CONTENT: (RejectReason.CONTENT, (30007, 21602, 21617, 21620, 21656, 63013, 63049)),
    Action.REPLY_WINDOW: (RejectReason.WINDOW, (63016,)),
    Action.CONFIGURATION: (
        RejectReason.CONFIGURATION,
        (20003, 20404, 21212, 21603, 21606, 21609, 21660, 21701, 21703, 30002, 30032, 30034, 30035, 63007),
    ),
}

MEANINGS: dict[int, Meaning] = {
    code: Meaning(action=action, reason=reason)
    for action, (reason, codes) in _BY_ACTION.items()
    for code in codes
}

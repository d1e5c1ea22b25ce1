"""Why a rule kept contacts out, in words for people, and what to do. Judges nothing."""

from collections.abc import Mapping

from comms_pipeline.compliance import checks, windows
from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.planning.remedies import remedy

_REASONS: Mapping[type, str] = {
    checks.HasAddress: "No valid address for the channel",
    checks.NotSuppressed: "Unsubscribed, bounced or complained before",
    checks.FirstWithAddress: "Shares an address with another contact",
    checks.HasConsent: "No consent on record",
    checks.ConsentOfKind: "Consent is not of the kind the law asks for",
    checks.ConsentNotExpired: "Consent has lapsed",
    checks.IsWanted: "Does not want this type of message",
    checks.NotPaused: "Has asked for a pause",
    checks.AtMost: "Has had as many messages as the law allows",
    checks.WithinWeeklyCap: "Has had as many messages as they asked for",
    checks.WithinCaps: "Has had as many messages as the organisation allows",
    checks.OldEnough: "Too young",
    checks.NotMinor: "Marked as a minor",
    checks.NotListed: "On a do-not-call list",
    checks.NotPlusOne: "The number begins with +1, which the channel may not reach",
    checks.NotHeldOut: "Held out, to compare with",
    windows.OpeningHours: "No hour in which they may be reached",
    windows.OwnHours: "No hour in which the campaign may go",
    windows.NotQuiet: "Quiet hours leave no hour open",
    windows.NotDayOff: "Their day off",
}


def reason(rule_id: str) -> str:
    """What the rule found, in a few words; of a rule that is no more, its id."""
    rule = {each.id: each for each in load_rules()}.get(rule_id)
    return rule_id if rule is None else _REASONS[type(rule.check)]


def advice(rule_id: str) -> str:
    """What would let messages pass."""
    return remedy({each.id: each for each in load_rules()}.get(rule_id))

"""What would change a rule's verdict, in words for people. Judges nothing."""

from collections.abc import Mapping

from comms_pipeline.compliance import checks, windows
from comms_pipeline.compliance.rules_file import Rule

CAPS: frozenset[type] = frozenset({checks.AtMost, checks.WithinWeeklyCap, checks.WithinCaps})
"""The checks that count messages."""

_REMEDIES: Mapping[type, str] = {
    checks.HasAddress: "Import a valid address for this channel",
    checks.NotSuppressed: "Only the contact can take that back: by START, or on the preference page",
    checks.FirstWithAddress: "Nothing: the other contact gets the message at that address",
    checks.HasConsent: "Record the contact's consent",
    checks.ConsentOfKind: "Ask the contact for consent of that kind, and record it",
    checks.ConsentNotExpired: "Ask the contact for express consent, or record when the consent was renewed",
    checks.IsWanted: "Only the contact can change that, on the preference page",
    checks.NotPaused: "It ends by itself; the contact can end it earlier",
    checks.AtMost: "Send later, when fewer messages lie within that time",
    checks.WithinWeeklyCap: "Send later, when fewer messages lie within that time",
    checks.WithinCaps: "Send later, or raise the cap in organisation.yaml",
    checks.OldEnough: "Nothing but the years; or correct the date of birth, if it is wrong",
    checks.NotMinor: "Correct the mark, if it is wrong",
    checks.NotListed: "Ask the contact for consent that outweighs the list, and record it",
    checks.NotPlusOne: "Use another channel for such numbers",
    checks.NotHeldOut: "Change 'holdout:' in the campaign file; whoever is held out stays so",
    windows.OpeningHours: "It goes out in the first minute allowed; for that, the local time must be known",
    windows.OwnHours: "It goes out in the campaign's own hours; change 'hours:' in its file",
    windows.NotQuiet: "It goes out after the contact's quiet hours",
    windows.NotDayOff: "It goes out after the contact's day off",
}


def remedy(rule: Rule | None) -> str:
    """What would let a message pass a rule that held it back; of a rule that is no more, planning again."""
    if rule is None:
        return "Plan the send again: today's rules lack this one"
    return _REMEDIES[type(rule.check)]

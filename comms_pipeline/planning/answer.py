"""What a story comes to, in one sentence. The facts behind it are told in `story`."""

from collections.abc import Callable, Mapping, Sequence

from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.compliance.windows import Window
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.planning.story_facts import Decision, Facts, Journey
from comms_pipeline.planning.story_lines import moment
from comms_pipeline.planning.whereabouts import Told

_EXCLUDED = "excluded"
_BAD_NEWS = ("bounced", "failed", "rejected", "complained", "blocked")
"""Kinds of events that outweigh what was told before them."""


def answer_of(facts: Facts, organisation_id: str) -> str:
    """One sentence. `organisation_id`: of the send. No personal data beyond the contact's id."""
    who = f"Contact {facts.person.contact_id}"
    if facts.journeys:
        # One message per contact and send; of several, the one that got furthest is what matters.
        return f"{who} {max(map(fate, facts.journeys))[1]}."
    return f"{who} {_why_no_message(facts, organisation_id)}."


def _why_no_message(facts: Facts, organisation_id: str) -> str:
    send, selection = facts.send, facts.selection
    if facts.person.organisation_id != organisation_id:
        return (
            f"got nothing because it is a contact of {facts.person.organisation_id}, "
            f"and the send is one of {organisation_id}"
        )
    if facts.person.is_erased:
        return "got nothing because its data was erased"
    if selection.selected_at is None:
        why = f": {send.status_reason}" if send.status_reason else ""
        return f"got nothing yet because the send is {send.status} and not planned{why}"
    if selection.member_since is None:
        return _why_not_meant(facts)
    excluded = [each for each in facts.decisions if each.decision == _EXCLUDED]
    if facts.decisions and len(excluded) == len(facts.decisions):
        return f"got nothing because {_why_excluded(excluded)}"
    why = f" ({send.status_reason})" if send.status_reason else ""
    return f"got nothing yet: it may be reached, but is not in the plan; the send is {send.status}{why}"


def _why_not_meant(facts: Facts) -> str:
    selection, row = facts.selection, facts.person.row
    if selection.unmet:
        unmet = " and ".join(map(str, selection.unmet))
        return f"got nothing because it is not in the audience: it does not meet {unmet}"
    if row is not None and selection.selected_at is not None and row["created_at"] > selection.selected_at:
        return "got nothing because it became a contact after the audience was selected; sending again takes it in"
    return (
        "got nothing because it was not in the audience when that was selected; "
        "it would be now, and sending again takes it in"
    )


def _why_excluded(excluded: Sequence[Decision]) -> str:
    deferring = {rule.id for rule in load_rules() if isinstance(rule.check, Window)}
    reasons = []
    for each in excluded:
        # What would only have deferred is no reason, unless there is no other.
        final = [rule for rule in each.rules if rule["rule_id"] not in deferring] or each.rules
        said = " and ".join(f"{rule['evidence']} (rule {rule['rule_id']})" for rule in final)
        reasons.append(f"{each.channel}: {said}")
    return "; ".join(reasons)


def fate(journey: Journey) -> tuple[int, str]:
    """What became of a message, in words after "Contact …"; the higher number has got further."""
    channel, place = journey.planned.channel, journey.place
    last = journey.outcomes[-1] if journey.outcomes else None
    if (
        last is None
        or last.what == OutcomeStatus.DEFERRED
        or (place and place.is_open and place.status != "unknown")
    ):
        words = place.words if place is not None else "no outcome is on record"
        return 2, f"has not got its {channel} message yet: {words}"
    return _OUTCOMES[OutcomeStatus(last.what)](journey, last)


def _accepted(journey: Journey, last: Told) -> tuple[int, str]:
    channel = journey.planned.channel
    told = {event.what: event for event in journey.events}
    bad = next((told[kind] for kind in _BAD_NEWS if kind in told), None)
    if bad is not None:
        return 3, f"was sent its {channel} message, but: {bad} at {moment(bad.at)}"
    if "delivered" in told:
        return 4, f"got its {channel} message: delivered at {moment(told['delivered'].at)}"
    return 4, (
        f"was sent its {channel} message: {last.provider} accepted it at {moment(last.at)}; "
        "nothing is told of its delivery yet"
    )


_OUTCOMES: Mapping[OutcomeStatus, Callable[[Journey, Told], tuple[int, str]]] = {
    OutcomeStatus.ACCEPTED: _accepted,
    OutcomeStatus.REFUSED: lambda journey, last: (
        1,
        f"got nothing because its {journey.planned.channel} message was {last}"
        + (" by our last check before sending" if last.reason in ("suppressed", "window") else ""),
    ),
    OutcomeStatus.CANCELLED: lambda journey, _: (
        0,
        f"got nothing because its {journey.planned.channel} message was cancelled with the send",
    ),
    OutcomeStatus.UNKNOWN: lambda journey, last: (
        2,
        f"may have got its {journey.planned.channel} message: {last.provider} gave no answer, and is being asked",
    ),
}

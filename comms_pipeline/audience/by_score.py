"""Conditions that a contact's row in `core.contact_scores` decides by itself → boolean SQL over that row.

Scores and types always do; what contacts did does where the row's steps tell it, if they know of every message. One
pass over a narrow table then answers what would otherwise take a look at every message.
"""

from comms_pipeline.audience.behaviour import beginning_sql
from comms_pipeline.audience.scope import Scope
from comms_pipeline.domain.behaviour import (
    AudienceType,
    Happened,
    MessageEvent,
    OfAudienceType,
    Score,
    ScoreBetween,
    SegmentReference,
)
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.segment import AllOf, AnyOf, Audience, Not

_BY_PEOPLE = {MessageEvent.OPENED: "human_opened", MessageEvent.CLICKED: "human_clicked"}


def is_decided_by_row(condition: Audience, scope: Scope) -> bool:
    """Whether the row says it all; so it does of conditions made of such."""
    match condition:
        case ScoreBetween() | OfAudienceType():
            return True
        case Happened():
            return scope.has_steps and _is_told_by_steps(condition)
        case AllOf():
            return all(is_decided_by_row(each, scope) for each in condition.all)
        case AnyOf():
            return all(is_decided_by_row(each, scope) for each in condition.any)
        case Not():
            return is_decided_by_row(condition.condition, scope)
        case SegmentReference():
            return is_decided_by_row(scope.saved[condition.segment], scope)
    return False


def holds_without_row(condition: Audience, scope: Scope) -> bool:
    """Whether a contact without a row meets a condition that rows decide.

    It is as good as one who never got a message: new, engagement 0, no churn risk.
    """
    match condition:
        case ScoreBetween():
            return condition.score is Score.ENGAGEMENT and condition.between[0] == 0
        case OfAudienceType():
            is_of_new = condition.audience_type in {AudienceType.NEW, AudienceType.ALL}
            return is_of_new and not condition.intent_score_min
        case Happened():
            return condition.count.lowest == 0
        case AllOf():
            return all(holds_without_row(each, scope) for each in condition.all)
        case AnyOf():
            return any(holds_without_row(each, scope) for each in condition.any)
        case Not():
            return not holds_without_row(condition.condition, scope)
        case SegmentReference():
            return holds_without_row(scope.saved[condition.segment], scope)
    raise TypeError(type(condition).__name__)


def row_sql(condition: Audience, scope: Scope) -> str:
    """The condition on a row, which must decide it; never null."""
    match condition:
        case ScoreBetween():
            return _between(condition.score, *condition.between, scope)
        case OfAudienceType():
            return _of_type(condition, scope)
        case Happened():
            return _happened(condition, scope)
        case AllOf():
            return f"({' and '.join(row_sql(each, scope) for each in condition.all)})"
        case AnyOf():
            return f"({' or '.join(row_sql(each, scope) for each in condition.any)})"
        case Not():
            return f"(not {row_sql(condition.condition, scope)})"
        case SegmentReference():
            return row_sql(scope.saved[condition.segment], scope)
    raise TypeError(type(condition).__name__)


def _of_type(condition: OfAudienceType, scope: Scope) -> str:
    lowest = condition.intent_score_min or 0.0
    highest = 1.0 if condition.intent_score_max is None else condition.intent_score_max
    score = _between(Score.ENGAGEMENT, lowest, highest, scope)
    if condition.audience_type is AudienceType.ALL:
        return score
    return f"(audience_type = {scope.add(condition.audience_type.value)} and {score})"


def _between(score: Score, lowest: float, highest: float, scope: Scope) -> str:
    return f"coalesce({score} between {scope.add(lowest)} and {scope.add(highest)}, false)"


def _is_told_by_steps(condition: Happened) -> bool:
    """Steps tell how many messages ever made one, by channel, and when the latest did: of what is within a window,
    only whether there was any.
    """
    if condition.message_event is None or condition.before is not None:
        return False
    if condition.campaign is not None or condition.topic is not None:
        return False
    is_windowed = condition.within_days is not None or condition.since is not None
    lowest, highest = condition.count.lowest, condition.count.highest
    return not is_windowed or highest == 0 or (lowest == 1 and highest is None)


def _happened(condition: Happened, scope: Scope) -> str:
    channels = list(Channel) if condition.channel is None else [condition.channel]
    steps = [f"{channel}_steps.{_step(condition)}" for channel in channels]
    beginning = beginning_sql(condition, scope)
    if beginning is not None:
        latest = ", ".join(f"{step}.last_at" for step in steps)
        has_any = f"coalesce(greatest({latest}) >= {beginning}, false)"
        return has_any if condition.count.lowest == 1 else f"(not {has_any})"
    times = " + ".join(f"coalesce({step}.times, 0)" for step in steps)
    limits = [f"{times} >= {scope.add(condition.count.lowest)}"]
    if condition.count.highest is not None:
        limits.append(f"{times} <= {scope.add(condition.count.highest)}")
    return f"({' and '.join(limits)})"


def _step(condition: Happened) -> str:
    event = MessageEvent(condition.event)
    return str(event) if condition.count_machines else _BY_PEOPLE.get(event, str(event))

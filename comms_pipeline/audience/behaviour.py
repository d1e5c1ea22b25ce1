"""Conditions on what contacts do → sets of contact ids in SQL. Every value goes in as a parameter, never as text."""

from dataclasses import dataclass

from comms_pipeline.audience.scope import Scope
from comms_pipeline.domain.behaviour import (
    AudienceType,
    Happened,
    MessageEvent,
    OfAudienceType,
    Score,
    ScoreBetween,
)
from comms_pipeline.domain.prices import MICROS
from comms_pipeline.sqlfiles import named_queries

QUERIES = "lake/audience.sql"

_MOMENTS = {
    MessageEvent.ACCEPTED: "accepted_at",
    MessageEvent.DELIVERED: "delivered_at",
    MessageEvent.BOUNCED: "bounced_at",
    MessageEvent.FAILED: "failed_at",
    MessageEvent.OPENED: "first_human_opened_at",
    MessageEvent.CLICKED: "first_human_clicked_at",
    MessageEvent.UNSUBSCRIBED: "unsubscribed_at",
    MessageEvent.COMPLAINED: "complained_at",
}
_BY_ANYTHING = {MessageEvent.OPENED: "first_opened_at", MessageEvent.CLICKED: "first_clicked_at"}


@dataclass(frozen=True, kw_only=True)
class Members:
    """Contacts as a query with the one column `contact_id`: those in it, or with `is_complement` all others."""

    sql: str
    is_complement: bool = False

    @property
    def condition(self) -> str:
        """A boolean expression over a `contact_id`, never null: neither side ever is."""
        return f"contact_id {'not in' if self.is_complement else 'in'} ({self.sql})"


def happened(condition: Happened, scope: Scope) -> Members:
    """Whoever did something so often."""
    kind = condition.message_event
    if kind is not None:
        moment = (_BY_ANYTHING if condition.count_machines else _MOMENTS)[kind]
        sql = named_queries(QUERIES)["message_events"].format(moment=moment)
    else:
        moment = "occurred_at"
        name = "credited_events" if condition.is_of_some_messages else "business_events"
        sql = named_queries(QUERIES)[name].format(type=scope.add(condition.event))
    sql = " and ".join([sql, *_narrowed(condition, moment, scope)])
    lowest, highest = condition.count.lowest, condition.count.highest
    if lowest == 0:
        # Who never did has no row: all but those who did more often.
        return Members(sql=_counted(sql, scope, (highest or 0) + 1, None), is_complement=True)
    return Members(sql=_counted(sql, scope, lowest, highest))


def _counted(sql: str, scope: Scope, lowest: int, highest: int | None) -> str:
    if lowest <= 1 and highest is None:
        return sql
    limits = [f"count(*) >= {scope.add(lowest)}"]
    if highest is not None:
        limits.append(f"count(*) <= {scope.add(highest)}")
    return f"{sql} group by contact_id having {' and '.join(limits)}"


def _narrowed(condition: Happened, moment: str, scope: Scope) -> list[str]:
    """Further conditions on the rows that count."""
    found = []
    if condition.within_days is not None:
        found.append(f"{moment} >= {scope.now_sql()} - to_days({scope.add(condition.within_days)}::integer)")
    if condition.since is not None:
        found.append(f"{moment} >= {scope.add(condition.since)}::timestamptz")
    if condition.before is not None:
        found.append(f"{moment} < {scope.add(condition.before)}::timestamptz")
    for name in ("campaign", "topic", "channel"):
        if (value := getattr(condition, name)) is not None:
            found.append(named_queries(QUERIES)[f"of_{name}"].format(value=scope.add(str(value))))
    if condition.value_at_least is not None:
        found.append(f"value_micros >= {scope.add(round(condition.value_at_least * MICROS))}")
    if condition.currency is not None:
        found.append(f"currency = {scope.add(condition.currency)}")
    return found


def needs_a_row(condition: Happened | ScoreBetween | OfAudienceType) -> bool:
    """Whether only contacts of whom some behaviour is on record can meet it.

    Without a row in `core.contact_scores`, a contact is as good as one who never got a message: new, engagement 0,
    no churn risk.
    """
    match condition:
        case Happened():
            return condition.count.lowest > 0
        case ScoreBetween():
            return condition.score is not Score.ENGAGEMENT or condition.between[0] > 0
        case OfAudienceType():
            is_of_new = condition.audience_type in {AudienceType.NEW, AudienceType.ALL}
            return not is_of_new or (condition.intent_score_min or 0) > 0


def scored(condition: ScoreBetween | OfAudienceType, scope: Scope) -> Members:
    """Whoever has such a score or type."""
    scores, sql = named_queries(QUERIES)["scores"], score_sql(condition, scope)
    if needs_a_row(condition):
        return Members(sql=f"{scores} and {sql}")
    return Members(sql=f"{scores} and not ({sql})", is_complement=True)


def score_sql(condition: ScoreBetween | OfAudienceType, scope: Scope) -> str:
    """The condition on a row of `core.contact_scores`; never null."""
    if isinstance(condition, ScoreBetween):
        lowest, highest = condition.between
        return _between(condition.score, lowest, highest, scope)
    lowest = condition.intent_score_min or 0.0
    highest = 1.0 if condition.intent_score_max is None else condition.intent_score_max
    score = _between(Score.ENGAGEMENT, lowest, highest, scope)
    if condition.audience_type is AudienceType.ALL:
        return score
    return f"audience_type = {scope.add(condition.audience_type.value)} and {score}"


def _between(score: Score, lowest: float, highest: float, scope: Scope) -> str:
    return f"coalesce({score} between {scope.add(lowest)} and {scope.add(highest)}, false)"

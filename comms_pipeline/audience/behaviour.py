"""Conditions on what contacts do, by every message and event on record → sets of contact ids in SQL. Every value goes
in as a parameter, never as text. What a contact's row of scores tells of it is `by_score`'s.
"""

from dataclasses import dataclass

from comms_pipeline.audience.scope import Scope
from comms_pipeline.domain.behaviour import Happened, MessageEvent
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


def beginning_sql(condition: Happened, scope: Scope) -> str | None:
    """The first moment of the window; None where it has no beginning."""
    if condition.within_days is not None:
        return f"{scope.now_sql()} - to_days({scope.add(condition.within_days)}::integer)"
    if condition.since is not None:
        return f"{scope.add(condition.since)}::timestamptz"
    return None


def _counted(sql: str, scope: Scope, lowest: int, highest: int | None) -> str:
    if lowest <= 1 and highest is None:
        return sql
    limits = [f"count(*) >= {scope.add(lowest)}"]
    if highest is not None:
        limits.append(f"count(*) <= {scope.add(highest)}")
    return f"{sql} group by contact_id having {' and '.join(limits)}"


def _narrowed(condition: Happened, moment: str, scope: Scope) -> list[str]:
    """Further conditions on the rows that count."""
    beginning = beginning_sql(condition, scope)
    found = [] if beginning is None else [f"{moment} >= {beginning}"]
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

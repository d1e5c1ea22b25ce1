"""Which conditions of an audience one contact meets now. Selects nobody, writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from comms_pipeline.audience.definition import comparisons_of, compile_audience
from comms_pipeline.domain.behaviour import (
    Happened,
    OfAudienceType,
    OnList,
    ScoreBetween,
    SegmentReference,
)
from comms_pipeline.domain.event import without_addresses
from comms_pipeline.domain.segment import (
    WITHOUT_VALUE,
    AllOf,
    AnyOf,
    Audience,
    Comparison,
    Everyone,
    Not,
    Operator,
    Sql,
    Value,
)
from comms_pipeline.planning.audience import ask
from comms_pipeline.planning.context import SendContext
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_LIST_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One outermost condition in words, and whether the contact meets it.

    `lacks`: fields in it that the contact does not have at all.
    """

    words: str
    is_met: bool
    lacks: tuple[str, ...] = ()

    def __str__(self) -> str:
        lacking = f" (the contact has no {', '.join(self.lacks)})" if self.lacks and not self.is_met else ""
        return f"{self.words}{lacking}"


def conditions_of(
    cursor: duckdb.DuckDBPyConnection, stores: Stores, context: SendContext, contact_id: str
) -> list[Condition]:
    """The outermost conditions of a campaign's audience, each asked for this contact as it is now.

    SQL is one condition, and so is a saved segment. Raises `InvalidSegment` when one does not run.
    """

    def is_met(part: Audience) -> bool:
        query = compile_audience(part, context.spec.organisation, saved=context.segments, now=stores.now())
        among = named_queries("lake/queries/story.sql")["is_among"]
        return bool(ask(cursor, stores, query, among, {"contact_id": contact_id}).item())

    audience = context.spec.audience
    parts: tuple[Audience, ...] = audience.all if isinstance(audience, AllOf) else (audience,)
    return [
        Condition(
            words=in_words(part),
            is_met=is_met(part),
            lacks=tuple(
                name
                for name in dict.fromkeys(_fields(part))
                if not is_met(Comparison(field=name, op=Operator.IS_SET))
            ),
        )
        for part in parts
    ]


def _fields(part: Audience) -> Iterator[str]:
    """Fields that are compared with a value; whether one is set is what the condition itself says."""
    return (each.field for each in comparisons_of(part) if each.op not in WITHOUT_VALUE)


def in_words(part: Audience) -> str:
    """A definition in one line, without addresses that it may name."""
    match part:
        case Everyone():
            return "every contact of the organisation"
        case Sql():
            return "the campaign's SQL finds the contact"
        case AllOf():
            return f"all of ({'; '.join(map(in_words, part.all))})"
        case AnyOf():
            return f"any of ({'; '.join(map(in_words, part.any))})"
        case Not():
            return f"not ({in_words(part.condition)})"
        case Happened():
            return _happened(part)
        case ScoreBetween():
            return f"{part.score} between {part.between[0]:g} and {part.between[1]:g}"
        case OfAudienceType():
            bounds = (part.intent_score_min, part.intent_score_max)
            lowest, highest = (f"{each:g}" if each is not None else "" for each in bounds)
            intent = f", intent score {lowest}..{highest}" if lowest or highest else ""
            return f"audience type {part.audience_type}{intent}"
        case OnList():
            return without_addresses(f"on the list {part.list}")
        case SegmentReference():
            return f"in the segment {part.segment}"
        case Comparison():
            return without_addresses(f"{part.field} {part.op} {_shown(part.value)}".rstrip())


def _happened(part: Happened) -> str:
    lowest, highest = part.count.lowest, part.count.highest
    if highest is None:
        often = f"at least {lowest} times"
    elif lowest == highest:
        often = f"exactly {lowest} times" if lowest else "never"
    else:
        often = f"{lowest} to {highest} times"
    details = {
        "in the last days": part.within_days,
        "since": part.since and f"{part.since:%Y-%m-%d %H:%M}",
        "before": part.before and f"{part.before:%Y-%m-%d %H:%M}",
        "campaign": part.campaign,
        "topic": part.topic,
        "channel": part.channel,
        "worth at least": part.value_at_least,
        "currency": part.currency,
        "machines": "too" if part.count_machines else None,
    }
    said = [f"{name} {value}" for name, value in details.items() if value is not None]
    return ", ".join([f"{part.event} {often}", *said])


def _shown(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        more = f", … {len(value) - _LIST_SHOWN} more" if len(value) > _LIST_SHOWN else ""
        return f"[{', '.join(map(_shown, value[:_LIST_SHOWN]))}{more}]"
    return str(value)

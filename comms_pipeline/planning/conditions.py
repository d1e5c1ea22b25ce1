"""Which conditions of an audience one contact meets now. Selects nobody, writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from comms_pipeline.audience.definition import comparisons_of, compile_audience, invalid_segment
from comms_pipeline.domain.campaign import CampaignSpec
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
from comms_pipeline.sqlfiles import named_queries

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


def conditions_of(cursor: duckdb.DuckDBPyConnection, spec: CampaignSpec, contact_id: str) -> list[Condition]:
    """The outermost conditions of a campaign's audience, each asked for this contact as it is now.

    SQL is one condition. Raises `InvalidSegment` when it does not run.
    """
    audience = spec.audience
    parts: tuple[Audience, ...] = audience.all if isinstance(audience, AllOf) else (audience,)
    return [
        Condition(
            words=in_words(part),
            is_met=_is_met(cursor, part, spec.organisation, contact_id),
            lacks=tuple(
                name
                for name in dict.fromkeys(_fields(part))
                if not _is_met(
                    cursor, Comparison(field=name, op=Operator.IS_SET), spec.organisation, contact_id
                )
            ),
        )
        for part in parts
    ]


def _is_met(cursor: duckdb.DuckDBPyConnection, part: Audience, organisation_id: str, contact_id: str) -> bool:
    query = compile_audience(part, organisation_id)
    # The compiled query is a whole SELECT; only its one column is looked at.
    only = named_queries("lake/queries/story.sql")["is_among"].format(audience=query.sql)
    try:
        row = cursor.execute(only, {**query.parameters, "contact_id": contact_id}).fetchone()
    except duckdb.Error as error:
        raise invalid_segment(error) from None
    return bool(row and row[0])


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
        case Comparison():
            return without_addresses(f"{part.field} {part.op} {_shown(part.value)}".rstrip())


def _shown(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        more = f", … {len(value) - _LIST_SHOWN} more" if len(value) > _LIST_SHOWN else ""
        return f"[{', '.join(map(_shown, value[:_LIST_SHOWN]))}{more}]"
    return str(value)

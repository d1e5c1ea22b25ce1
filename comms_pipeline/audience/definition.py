"""Audience definitions → one DuckDB query over the lake. Runs nothing.

The query has one column, `contact_id`, each once, and can name only contacts of the organisation that are not
erased, whatever the definition says.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb

from comms_pipeline.audience.behaviour import QUERIES, Members, happened
from comms_pipeline.audience.by_score import holds_without_row, is_decided_by_row, row_sql
from comms_pipeline.audience.conditions import comparison_sql, list_sql
from comms_pipeline.audience.references import SavedSegment, parts_of, segments_used
from comms_pipeline.audience.scope import Parameter, Scope
from comms_pipeline.audience.sql import CULPRIT, OWN_PREFIX, fence
from comms_pipeline.domain.behaviour import (
    Happened,
    OfAudienceType,
    OnList,
    ScoreBetween,
    SegmentReference,
)
from comms_pipeline.domain.errors import InvalidSegment
from comms_pipeline.domain.segment import (
    CONTACT_FIELDS,
    WITHOUT_VALUE,
    AllOf,
    AnyOf,
    Audience,
    Comparison,
    Everyone,
    Not,
    Sql,
)
from comms_pipeline.domain.validation import close_match, nearest
from comms_pipeline.sqlfiles import named_queries

# What it comes to when a query meets the bounds that whoever runs it has set.
_BEYOND_BOUNDS: tuple[tuple[type[duckdb.Error], str, str], ...] = (
    (
        duckdb.InterruptException,
        "it ran for too long and was stopped",
        "Join on contact_id, and filter before joining",
    ),
    (
        duckdb.OutOfMemoryException,
        "it needs more memory than it may have",
        "Select fewer columns and rows before joining, grouping or sorting",
    ),
)


@dataclass(frozen=True, kw_only=True)
class AudienceQuery:
    """A query for `connection.execute(query.sql, query.parameters)` on the lake.

    `is_free`: SQL that people wrote is in it, which may take any time and memory.
    """

    sql: str
    parameters: dict[str, Parameter]
    is_free: bool


def compile_audience(
    definition: Audience,
    organisation_id: str,
    *,
    saved: Mapping[str, SavedSegment] | None = None,
    now: datetime | None = None,
    has_steps: bool = False,
) -> AudienceQuery:
    """The query that finds an audience's contacts in one organisation.

    `saved` are the organisation's segments by name; `now` is when windows end, by default the database's present.
    `has_steps` says that the steps in `core.contact_scores` know of every message: they are read in place of
    messages where they can be, which finds the same contacts sooner. Raises `InvalidSegment` for SQL that is not one
    SELECT within the fence, and for segments that are not saved or come back to themselves. That the SQL has a
    `contact_id` column and names real columns shows only when it runs: see `invalid_segment`.
    """
    used = segments_used(definition, saved or {})
    scope = Scope(
        values={"organisation": organisation_id},
        saved={segment.name: segment.definition for segment in used},
        now=now,
        has_steps=has_steps,
    )
    whole = _written_out(definition, scope)
    definitions = (definition, *scope.saved.values())
    return AudienceQuery(
        sql=_fenced_query(whole.sql) if isinstance(whole, Sql) else _query(whole, scope),
        parameters=scope.values,
        is_free=any(isinstance(part, Sql) for each in definitions for part in parts_of(each)),
    )


def check_sql(definition: Audience) -> None:
    """Check what can be checked without the organisation: SQL. Raises `InvalidSegment` as `compile_audience` does."""
    for part in parts_of(definition):
        if isinstance(part, Sql):
            fence(part.sql)


def condition_sql(condition: Audience, scope: Scope) -> str:
    """A boolean expression over `core.contacts` that is never null, so that `not` is a true complement."""
    if is_decided_by_row(condition, scope):
        return _has_row_like(condition, scope)
    match condition:
        case Everyone():
            return "true"
        case AllOf():
            parts = _decided_as_one(condition, scope)
            return f"({' and '.join(condition_sql(each, scope) for each in parts)})"
        case AnyOf():
            parts = _decided_as_one(condition, scope)
            return f"({' or '.join(condition_sql(each, scope) for each in parts)})"
        case Not():
            return f"(not {condition_sql(condition.condition, scope)})"
        case Sql():
            return f"contact_id in ({_fenced_query(condition.sql)})"
        case SegmentReference():
            return condition_sql(scope.saved[condition.segment], scope)
        case Happened():
            return happened(condition, scope).condition
        case ScoreBetween() | OfAudienceType():
            return _has_row_like(condition, scope)
        case OnList():
            return list_sql(condition, scope)
        case Comparison():
            return comparison_sql(condition, scope)


def _has_row_like(condition: Audience, scope: Scope) -> str:
    scores, sql = named_queries(QUERIES)["scores"], row_sql(condition, scope)
    is_complement = holds_without_row(condition, scope)
    members = f"{scores} and {'not ' if is_complement else ''}{sql}"
    return Members(sql=members, is_complement=is_complement).condition


def _decided_as_one(condition: AllOf | AnyOf, scope: Scope) -> Iterator[Audience]:
    """The parts, those that rows of scores decide as one condition: one pass over the rows serves them all."""
    parts = condition.all if isinstance(condition, AllOf) else condition.any
    decided = tuple(each for each in parts if is_decided_by_row(each, scope))
    if decided:
        yield _all_of(decided) if isinstance(condition, AllOf) else AnyOf.model_construct(any=decided)
    yield from (each for each in parts if not is_decided_by_row(each, scope))


def _all_of(parts: Iterable[Audience]) -> AllOf:
    # Not validated: these are checked, and everyone and SQL may stand here as what a segment's name is written out to.
    return AllOf.model_construct(all=tuple(parts))  # type: ignore[arg-type]


def _query(definition: Audience, scope: Scope) -> str:
    """The query of anything but SQL. It begins where the fewest and shortest rows are to be read: scores, then what
    somebody did, then contacts, whose ids, long and in no order, are most of the work.
    """
    parts = list(_conjuncts(definition, scope))
    decided = _all_of(part for part in parts if is_decided_by_row(part, scope))
    others = [part for part in parts if not is_decided_by_row(part, scope)]
    if decided.all and not holds_without_row(decided, scope):
        return _among_scored(decided, others, scope)
    queries = named_queries(QUERIES)
    did = next((part for part in others if isinstance(part, Happened) and part.count.lowest > 0), None)
    if did is not None and all(_hangs_on_id(part, scope) for part in parts):
        members = queries["each_once"].format(members=happened(did, scope).sql)
        conditions = [condition_sql(part, scope) for part in parts if part is not did]
        return " and ".join([queries["among"].format(members=members), *conditions])
    if isinstance(definition, Everyone):
        return queries["everyone"]
    return f"{queries['everyone']} and {condition_sql(_all_of(parts), scope)}"


def _among_scored(decided: AllOf, others: Iterable[Audience], scope: Scope) -> str:
    """Who has such a row of scores, and meets the other conditions."""
    queries = named_queries(QUERIES)
    found = [queries["scores"], row_sql(decided, scope)]
    about_contacts: list[str] = []
    for part in others:
        (found if _hangs_on_id(part, scope) else about_contacts).append(condition_sql(part, scope))
    if about_contacts:
        found.append(
            f"contact_id in ({queries['contacts_like'].format(conditions=' and '.join(about_contacts))})"
        )
    return " and ".join(found)


def _written_out(definition: Audience, scope: Scope) -> Audience:
    """What the outermost names of segments stand for."""
    while isinstance(definition, SegmentReference):
        definition = scope.saved[definition.segment]
    return definition


def _conjuncts(definition: Audience, scope: Scope) -> Iterator[Audience]:
    whole = _written_out(definition, scope)
    if isinstance(whole, AllOf):
        for each in whole.all:
            yield from _conjuncts(each, scope)
    else:
        yield whole


def _hangs_on_id(definition: Audience, scope: Scope) -> bool:
    """Whether it hangs on a contact's id alone, not on what `core.contacts` knows of it."""
    return all(
        _hangs_on_id(scope.saved[part.segment], scope)
        if isinstance(part, SegmentReference)
        else isinstance(part, AllOf | AnyOf | Not | Happened | ScoreBetween | OfAudienceType)
        for part in parts_of(definition)
    )


def check_fields(definition: Audience, known: Collection[str]) -> None:
    """Check that every field is a contact column or among `known` attribute names (or lies below one).

    Only `is_set` and `is_not_set` may ask for what nobody has yet, unless its name looks like a known one misspelt.
    Raises `InvalidSegment` with the nearest name for the first that is not. SQL is left alone.
    """
    names = CONTACT_FIELDS | set(known)
    for comparison in comparisons_of(definition):
        name = comparison.field
        if name in names or name.split(".")[0] in names:
            continue
        if comparison.op not in WITHOUT_VALUE or close_match(name, names):
            raise InvalidSegment("audience", f"no contact has a field '{name}'", nearest(name, names))


def fields_of(definition: Audience) -> Iterator[str]:
    """The fields a definition compares, in its order; none for SQL."""
    return (comparison.field for comparison in comparisons_of(definition))


def comparisons_of(definition: Audience) -> Iterator[Comparison]:
    """The comparisons of a definition, in its order; none for SQL, and none of the segments it names."""
    return (part for part in parts_of(definition) if isinstance(part, Comparison))


def invalid_segment(error: duckdb.Error) -> InvalidSegment:
    """What to raise when the compiled query of an SQL audience does not run."""
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        # These speak of names only; other errors quote values, which may be addresses.
        message = str(error).splitlines()[0].rstrip(".!")
        if '"contact_id"' in message and "selected" in message:
            return InvalidSegment(CULPRIT, "it has no contact_id column", "Select contact_id")
        return InvalidSegment(CULPRIT, message, "Correct the SQL")
    for bound, problem, fix in _BEYOND_BOUNDS:
        if isinstance(error, bound):
            return InvalidSegment(CULPRIT, problem, fix)
    kind = type(error).__name__.removesuffix("Exception").lower()
    return InvalidSegment(
        CULPRIT, f"it cannot be run ({kind} error)", "Try it with `comms query`; casts may need try_cast"
    )


def _fenced_query(text: str) -> str:
    select = fence(text)
    queries = named_queries(QUERIES)
    # Contacts come first: the other relations are cut down to them, and so is the result.
    names = ["contacts", *sorted(select.relations - {"contacts"})]
    ctes = [f"{OWN_PREFIX}{name} as ({queries[OWN_PREFIX + name]})" for name in names]
    # As a CTE it cannot see the columns of the query around it: a bare `select contact_id` would otherwise
    # mean everyone.
    ctes.append(f"selected as ({select.sql})")
    return f"with {', '.join(ctes)}\n{queries['within_fence']}"

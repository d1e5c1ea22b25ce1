"""Audience definitions → one DuckDB query over the lake. Runs nothing.

The query has one column, `contact_id`, distinct, and can name only contacts of the organisation that are not
erased, whatever the definition says.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import duckdb

from comms_pipeline.audience.conditions import Parameter, Parameters, condition_sql
from comms_pipeline.audience.sql import CULPRIT, OWN_PREFIX, fence
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

# Read on first use: importing opens no file.
_QUERIES = "lake/audience.sql"


@dataclass(frozen=True, kw_only=True)
class AudienceQuery:
    """A query for `connection.execute(query.sql, query.parameters)` on the lake."""

    sql: str
    parameters: dict[str, Parameter]


def compile_audience(definition: Audience, organisation_id: str) -> AudienceQuery:
    """The query that finds an audience's contacts in one organisation.

    Raises `InvalidSegment` for SQL that is not one SELECT within the fence. That the SQL has a `contact_id`
    column and names real columns shows only when it runs: see `invalid_segment`.
    """
    parameters = Parameters(values={"organisation": organisation_id})
    match definition:
        case Everyone():
            sql = named_queries(_QUERIES)["everyone"]
        case Sql():
            sql = _fenced_query(definition.sql)
        case _:
            sql = f"{named_queries(_QUERIES)['everyone']} and {condition_sql(definition, parameters)}"
    return AudienceQuery(sql=sql, parameters=parameters.values)


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
    """The comparisons of a definition, in its order; none for SQL."""
    match definition:
        case Comparison():
            yield definition
        case AllOf():
            for each in definition.all:
                yield from comparisons_of(each)
        case AnyOf():
            for each in definition.any:
                yield from comparisons_of(each)
        case Not():
            yield from comparisons_of(definition.condition)


def invalid_segment(error: duckdb.Error) -> InvalidSegment:
    """What to raise when the compiled query of an SQL audience does not run."""
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        # These speak of names only; other errors quote values, which may be addresses.
        message = str(error).splitlines()[0].rstrip(".!")
        if '"contact_id"' in message and "selected" in message:
            return InvalidSegment(CULPRIT, "it has no contact_id column", "Select contact_id")
        return InvalidSegment(CULPRIT, message, "Correct the SQL")
    kind = type(error).__name__.removesuffix("Exception").lower()
    return InvalidSegment(
        CULPRIT, f"it cannot be run ({kind} error)", "Try it with `comms query`; casts may need try_cast"
    )


def _fenced_query(text: str) -> str:
    select = fence(text)
    queries = named_queries(_QUERIES)
    # Contacts come first: the other relations are cut down to them, and so is the result.
    names = ["contacts", *sorted(select.relations - {"contacts"})]
    ctes = [f"{OWN_PREFIX}{name} as ({queries[OWN_PREFIX + name]})" for name in names]
    # As a CTE it cannot see the columns of the query around it: a bare `select contact_id` would otherwise
    # mean everyone.
    ctes.append(f"selected as ({select.sql})")
    return f"with {', '.join(ctes)}\n{queries['within_fence']}"

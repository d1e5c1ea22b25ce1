"""Who is meant: runs the compiled audience query. Decides nothing about who may be reached."""

from collections.abc import Mapping

import duckdb
import orjson
import polars as pl

from comms_pipeline.audience.definition import (
    AudienceQuery,
    check_fields,
    compile_audience,
    fields_of,
    invalid_segment,
)
from comms_pipeline.audience.references import SavedSegment, parts_of, segments_used
from comms_pipeline.domain.behaviour import Happened
from comms_pipeline.domain.segment import CONTACT_FIELDS, Audience
from comms_pipeline.lake.confined import run_confined
from comms_pipeline.models.registry import model_named
from comms_pipeline.planning.context import SendContext
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

QUERIES = "lake/queries/planning.sql"
_STEPS = "core.contact_scores"

SQL_SECONDS, SQL_MEGABYTES = 60.0, 2_048
"""What SQL that people wrote may take. The language needs no such bounds."""


def matching_contacts(
    cursor: duckdb.DuckDBPyConnection, stores: Stores, context: SendContext
) -> pl.DataFrame:
    """`contact_id` of everybody the campaign's audience fits now. Raises `InvalidSegment` when it does not run."""
    spec = context.spec
    query = compiled(cursor, stores, spec.organisation, spec.audience, context.segments)
    return ask(cursor, stores, query).select(pl.col("contact_id").cast(pl.String))


def audience_of(cursor: duckdb.DuckDBPyConnection, stores: Stores, context: SendContext) -> pl.DataFrame:
    """Rows of `campaign.audiences` for a send: who fits now, and who is in its plan already.

    Whoever was planned stays accounted for, also after leaving the segment. Raises `InvalidSegment`, also for a
    field that no contact has: misspelt, it would silently mean nobody, or everybody.
    """
    send_id = context.send.send_id
    require_known_fields(cursor, context.spec.organisation, context.spec.audience, context.segments)
    planned = cursor.execute(named_queries(QUERIES)["planned_contacts"], {"send_id": send_id}).pl()
    fitting = matching_contacts(cursor, stores, context)
    contacts = pl.concat([fitting, planned.select(pl.col("contact_id").cast(pl.String))])
    return (
        contacts.unique()
        .sort("contact_id")
        .select(send_id=pl.lit(send_id), contact_id="contact_id", selected_at=pl.lit(stores.now()))
    )


def compiled(
    cursor: duckdb.DuckDBPyConnection,
    stores: Stores,
    organisation_id: str,
    definition: Audience,
    saved: Mapping[str, SavedSegment],
) -> AudienceQuery:
    """The query that finds the contacts a definition fits now, over the least that tells the truth.

    Steps in `core.contact_scores` are behind while new messages wait to be worked in, and after an upgrade; every
    message is read then. Raises `InvalidSegment`.
    """
    named = (each.definition for each in segments_used(definition, saved))
    asks_for_events = any(
        isinstance(part, Happened) for each in (definition, *named) for part in parts_of(each)
    )
    has_steps = asks_for_events and _is_up_to_date(cursor, _STEPS)
    return compile_audience(definition, organisation_id, saved=saved, now=stores.now(), has_steps=has_steps)


def _is_up_to_date(cursor: duckdb.DuckDBPyConnection, model: str) -> bool:
    query = named_queries("lake/queries/models.sql")["is_up_to_date"]
    row = cursor.execute(query, {"model": model, "digest": model_named(model).digest}).fetchone()
    return bool(row and row[0])


def ask(
    cursor: duckdb.DuckDBPyConnection,
    stores: Stores,
    query: AudienceQuery,
    statement: str = "{audience}",
    parameters: Mapping[str, object] | None = None,
    *,
    seconds: float = SQL_SECONDS,
) -> pl.DataFrame:
    """The rows of `statement`, into which the audience's query is put, with its `parameters` beside the query's.

    SQL that people wrote runs in a process of its own with little memory, and not for longer than `seconds`; it
    sees what is committed, not what the transaction of `cursor` has written. Raises `InvalidSegment`.
    """
    sql = statement.format(audience=query.sql)
    values = {**query.parameters, **(parameters or {})}
    try:
        if not query.is_free:
            return cursor.execute(sql, values).pl()
        return run_confined(stores.lake_site, sql, values, seconds=seconds, megabytes=SQL_MEGABYTES)
    except duckdb.Error as error:
        raise invalid_segment(error) from None


def require_known_fields(
    cursor: duckdb.DuckDBPyConnection,
    organisation_id: str,
    definition: Audience,
    saved: Mapping[str, SavedSegment],
) -> None:
    """Check the fields of a definition and of the segments it names. Raises `InvalidSegment` for one nobody has."""
    definitions = [definition, *(each.definition for each in segments_used(definition, saved))]
    if all(field in CONTACT_FIELDS for each in definitions for field in fields_of(each)):
        return
    row = cursor.execute(
        named_queries(QUERIES)["attribute_kinds"], {"organisation": organisation_id}
    ).fetchone()
    # Null when the organisation has no contacts yet; a text when none has any attribute.
    if row and row[0]:
        found = orjson.loads(row[0])
        for each in definitions:
            check_fields(each, found.keys() if isinstance(found, dict) else ())

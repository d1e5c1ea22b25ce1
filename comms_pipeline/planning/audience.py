"""Who is meant: runs the compiled audience query. Decides nothing about who may be reached."""

from datetime import datetime

import duckdb
import orjson
import polars as pl

from comms_pipeline.audience.definition import check_fields, compile_audience, fields_of, invalid_segment
from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.segment import CONTACT_FIELDS
from comms_pipeline.sqlfiles import named_queries

QUERIES = "lake/queries/planning.sql"


def matching_contacts(cursor: duckdb.DuckDBPyConnection, spec: CampaignSpec) -> pl.DataFrame:
    """`contact_id` of everybody the definition fits now. Raises `InvalidSegment` when its SQL does not run."""
    query = compile_audience(spec.audience, spec.organisation)
    try:
        return cursor.execute(query.sql, query.parameters).pl().select(pl.col("contact_id").cast(pl.String))
    except duckdb.Error as error:
        raise invalid_segment(error) from None


def audience_of(
    cursor: duckdb.DuckDBPyConnection, spec: CampaignSpec, send_id: str, now: datetime
) -> pl.DataFrame:
    """Rows of `campaign.audiences` for a send: who fits now, and who is in its plan already.

    Whoever was planned stays accounted for, also after leaving the segment. Raises `InvalidSegment`, also for a
    field that no contact has: misspelt, it would silently mean nobody, or everybody.
    """
    _require_known_fields(cursor, spec)
    planned = cursor.execute(named_queries(QUERIES)["planned_contacts"], {"send_id": send_id}).pl()
    contacts = pl.concat([matching_contacts(cursor, spec), planned.select("contact_id").cast(pl.String)])
    return (
        contacts.unique()
        .sort("contact_id")
        .select(send_id=pl.lit(send_id), contact_id="contact_id", selected_at=pl.lit(now))
    )


def _require_known_fields(cursor: duckdb.DuckDBPyConnection, spec: CampaignSpec) -> None:
    if all(field in CONTACT_FIELDS for field in fields_of(spec.audience)):
        return
    parameters = {"organisation": spec.organisation}
    row = cursor.execute(named_queries(QUERIES)["attribute_kinds"], parameters).fetchone()
    # Null when the organisation has no contacts yet; a text when none has any attribute.
    if row and row[0]:
        found = orjson.loads(row[0])
        check_fields(spec.audience, found.keys() if isinstance(found, dict) else ())

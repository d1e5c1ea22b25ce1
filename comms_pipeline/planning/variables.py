"""The columns a template reads: contact fields, attributes, fallbacks, and what every message is given."""

from collections.abc import Collection

import duckdb
import orjson
import polars as pl

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.segment import CONTACT_FIELDS
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.planning.context import SendContext
from comms_pipeline.sqlfiles import named_queries

PROVIDED = frozenset({"unsubscribe_url", "postal_address", "organisation_name", "sender_name", "campaign_id"})
"""Variables every message has, whatever the contact."""


def contact_values(
    cursor: duckdb.DuckDBPyConnection, contact_ids: pl.Series, attributes: Collection[str]
) -> pl.DataFrame:
    """One row per contact: every contact field, and the named attributes as typed columns, null where absent.

    An attribute no contact of these has gives no column.
    """
    cursor.register("wanted_contacts", pl.DataFrame({"contact_id": contact_ids}).to_arrow())
    row = cursor.execute(named_queries(QUERIES)["attribute_structure"]).fetchone()
    found = orjson.loads(row[0]) if row and row[0] else {}
    structure = (
        {
            name: _readable(kind)
            for name, kind in found.items()
            if name in attributes and name not in CONTACT_FIELDS
        }
        if isinstance(found, dict)
        else {}
    )
    # An empty structure is no structure to DuckDB; a key no one has gives a column we drop again.
    parameters = {"structure": orjson.dumps(structure or {"": "VARCHAR"}).decode()}
    values = cursor.execute(named_queries(QUERIES)["contact_values"], parameters).pl()
    cursor.unregister("wanted_contacts")
    return values.unnest("attributes") if structure else values.drop("attributes")


def _readable(kind: object) -> object:
    """DuckDB's structure with the kinds we cannot read as they are (mixed, always null) read as text."""
    if isinstance(kind, dict):
        return {name: _readable(inner) for name, inner in kind.items()}
    if isinstance(kind, list):
        return [_readable(inner) for inner in kind]
    return "VARCHAR" if kind in {"JSON", "NULL"} else kind


def template_frame(values: pl.DataFrame, context: SendContext, variables: Collection[str]) -> pl.DataFrame:
    """`values` with the campaign's fallbacks for what is missing, and the provided variables that are read.

    `unsubscribe_url` must be among `values` when it is read.
    """
    constants = {
        "postal_address": context.postal_address,
        "organisation_name": context.organisation.name,
        "sender_name": context.spec.sender.from_name,
        "campaign_id": context.spec.id,
    }
    frame = _with_fallbacks(values, context.spec)
    return frame.with_columns(
        pl.lit(value).alias(name) for name, value in constants.items() if name in variables
    )


def _with_fallbacks(values: pl.DataFrame, spec: CampaignSpec) -> pl.DataFrame:
    filled = []
    for name, fallback in spec.fallbacks.items():
        if name not in values.columns:
            filled.append(pl.lit(fallback).alias(name))
        elif values[name].dtype == pl.String:
            # An empty cell is as missing as none.
            filled.append(pl.col(name).replace("", None).fill_null(str(fallback)))
        else:
            filled.append(pl.col(name).fill_null(fallback))
    return values.with_columns(filled)


def coverage(values: pl.DataFrame, variables: Collection[str]) -> pl.Expr:
    """Share (0–1) of the template's contact variables a contact has a value for; 1 when it reads none."""
    wanted = [name for name in sorted(variables) if name not in PROVIDED]
    if not wanted:
        return pl.lit(1.0)
    present = [pl.col(name).is_not_null() for name in wanted if name in values.columns]
    return pl.sum_horizontal(present).cast(pl.Float64) / len(wanted) if present else pl.lit(0.0)

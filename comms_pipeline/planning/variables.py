"""The columns a template reads: contact fields, attributes, fallbacks, and what every message is given."""

from collections.abc import Collection, Mapping
from typing import Any

import duckdb
import orjson
import polars as pl
from polars._typing import PolarsDataType

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.domain.segment import CONTACT_FIELDS, Scalar
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.planning.context import SendContext
from comms_pipeline.sqlfiles import named_queries

PROVIDED = frozenset(
    {
        "unsubscribe_url",
        "preferences_url",
        "confirm_url",
        "postal_address",
        "organisation_name",
        "sender_name",
        "campaign_id",
        "message_language",
    }
)
"""Variables every message has, whatever the contact."""
OWN_COLUMNS = CONTACT_FIELDS | {"contact_id"}
"""Columns every contact has; they hide attributes of the same name."""
_READ_AS = {"JSON": "VARCHAR", "NULL": "VARCHAR", "HUGEINT": "BIGINT"}
"""DuckDB's kinds of mixed values, of values that are always null, and of integers of either sign."""


def attribute_kinds(cursor: duckdb.DuckDBPyConnection, organisation_id: str) -> dict[str, Any]:
    """The attributes that any contact of the organisation has, each with its DuckDB type for `json_transform`."""
    parameters = {"organisation": organisation_id}
    row = cursor.execute(named_queries(QUERIES)["attribute_kinds"], parameters).fetchone()
    found = orjson.loads(row[0]) if row and row[0] else {}
    # Not a mapping when nobody has any attribute.
    attributes = found.items() if isinstance(found, dict) else ()
    return {name: _readable(kind) for name, kind in attributes if name not in OWN_COLUMNS}


def contact_values(
    cursor: duckdb.DuckDBPyConnection,
    contact_ids: pl.Series,
    kinds: Mapping[str, Any],
    variables: Collection[str],
) -> pl.DataFrame:
    """Every contact field, and the attributes of `kinds` among `variables` as typed columns, null where absent.

    One row per contact, in the order of `contact_ids`.
    """
    structure = {name: kind for name, kind in kinds.items() if name in variables}
    wanted = pl.DataFrame({"contact_id": contact_ids})
    cursor.register("wanted_contacts", wanted.to_arrow())
    # An empty structure is no structure to DuckDB; a key no one has gives a column we drop again.
    parameters = {"structure": orjson.dumps(structure or {"": "VARCHAR"}).decode()}
    found = cursor.execute(named_queries(QUERIES)["contact_values"], parameters).pl()
    cursor.unregister("wanted_contacts")
    values = found.unnest("attributes") if structure else found.drop("attributes")
    return wanted.join(values, on="contact_id", how="left", maintain_order="left")


def _readable(kind: object) -> object:
    if isinstance(kind, dict):
        return {name: _readable(inner) for name, inner in kind.items()}
    if isinstance(kind, list):
        return [_readable(inner) for inner in kind]
    return _READ_AS.get(str(kind), kind)


def template_frame(
    values: pl.DataFrame, context: SendContext, variables: Collection[str], *, language: str
) -> pl.DataFrame:
    """`values` with the campaign's fallbacks for what is missing, and the provided variables that are read.

    `language` is the message's. Links must be among `values` when they are read. Raises `TemplateError` for a
    fallback of another kind than the attribute's.
    """
    constants = {
        "postal_address": context.postal_address,
        "organisation_name": context.organisation.name,
        "sender_name": context.spec.sender.from_name,
        "campaign_id": context.spec.id,
        "message_language": language,
    }
    frame = _with_fallbacks(values, context.spec)
    return frame.with_columns(
        pl.lit(value).alias(name) for name, value in constants.items() if name in variables
    )


def _with_fallbacks(values: pl.DataFrame, spec: CampaignSpec) -> pl.DataFrame:
    for path, fallback in spec.fallbacks.items():
        name, *inner = path.split(".")
        filled = _filled(pl.col(name), values.schema.get(name), inner, fallback)
        if filled is None:
            raise TemplateError(
                f"campaign {spec.id}",
                f"the fallback of '{path}' does not fit what contacts have there",
                "Write true or false for what is true or false, and a text or number for the rest",
            )
        values = values.with_columns(filled.alias(name))
    return values


def _filled(
    column: pl.Expr, kind: PolarsDataType | None, path: list[str], fallback: Scalar
) -> pl.Expr | None:
    """`column`, of type `kind` (None: no such column), with `fallback` for what is missing at `path` in it.

    None when the fallback is of another kind: "" for true and false would make "false" true.
    """
    if path:
        fields = {field.name: field.dtype for field in kind.fields} if isinstance(kind, pl.Struct) else {}
        first, *rest = path
        inner = _filled(column.struct.field(first), fields.get(first), rest, fallback)
        kept = [column.struct.field(name) for name in fields if name != first]
        return None if inner is None else pl.struct(*kept, inner.alias(first))
    if kind is None:
        return pl.lit(fallback)
    if kind == pl.String:
        # An empty cell is as missing as none.
        return column.replace("", None).fill_null(str(fallback))
    if kind == pl.Boolean:
        return column.fill_null(bool(fallback)) if fallback in (True, False) else None
    return None if kind.is_nested() else column.fill_null(fallback)


def coverage(values: pl.DataFrame, variables: Collection[str]) -> pl.Expr:
    """Share (0–1) of the template's contact variables a contact has a value for; 1 when it reads none."""
    wanted = [name for name in sorted(variables) if name not in PROVIDED]
    if not wanted:
        return pl.lit(1.0)
    present = [pl.col(name).is_not_null() for name in wanted if name in values.columns]
    return pl.sum_horizontal(present).cast(pl.Float64) / len(wanted) if present else pl.lit(0.0)

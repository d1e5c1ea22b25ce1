"""The columns of a model's header as Polars has them, for models that Python computes."""

import polars as pl

from comms_pipeline.models.header import InvalidModel, Model
from comms_pipeline.models.sql import spelled

_TYPES: dict[str, pl.DataType] = {
    "BOOLEAN": pl.Boolean(),
    "TINYINT": pl.Int8(),
    "SMALLINT": pl.Int16(),
    "INT": pl.Int32(),
    "BIGINT": pl.Int64(),
    "DOUBLE": pl.Float64(),
    "TEXT": pl.String(),
    "DATE": pl.Date(),
    "TIMESTAMPTZ": pl.Datetime("us", "UTC"),
}
"""By sqlglot's one spelling of each type."""


def polars_schema(model: Model) -> pl.Schema:
    """The names and types of the model's columns, in order. Raises `InvalidModel` for a type that has none here."""
    columns = model.header.columns.items()
    unknown = [f"{name} {column.type}" for name, column in columns if spelled(column.type) not in _TYPES]
    if unknown:
        raise InvalidModel(
            model.file, f"Python cannot compute {', '.join(unknown)}", f"Use one of {', '.join(_TYPES)}"
        )
    return pl.Schema({name: _TYPES[spelled(column.type)] for name, column in columns})

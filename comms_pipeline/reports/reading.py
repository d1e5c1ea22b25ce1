"""Reads what reports show from the lake, by named query. Knows no report."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from comms_pipeline.sqlfiles import named_queries

Values = Mapping[str, Any]
"""A row: columns by name."""


class Reading:
    """The queries of one file, with the parameters of one report."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, path: str, parameters: Values) -> None:
        self._cursor = cursor
        self._queries = named_queries(path)
        self._parameters = dict(parameters)

    def rows(self, name: str, **more: object) -> Sequence[Values]:
        """Rows of one query, given those parameters that it reads."""
        text = self._queries[name]
        asked = {key: value for key, value in (self._parameters | more).items() if f"${key}" in text}
        return self._cursor.execute(text, asked).pl().to_dicts()

"""Which rows have the same inputs, so that Python runs once for each distinct combination. Computes nothing else."""

from collections.abc import Iterable

import polars as pl
from markupsafe import Markup

from comms_pipeline.personalization.values import Column, Const

Input = Const | pl.Series | Column


class Distinct:
    """The distinct tuples of some inputs, and which of them each row has."""

    def __init__(self, values: Iterable[Input]) -> None:
        self._values = list(values)
        series = [_series(value) for value in self._values if not isinstance(value, Const)]
        self._groups: pl.DataFrame | None = None
        if series:
            keys = pl.DataFrame([_key(item).alias(f"key{i}") for i, item in enumerate(series)])
            grouped = keys.with_row_index("row").group_by(keys.columns, maintain_order=True)
            self._groups = grouped.agg("row").select("row").with_row_index("group")

    def rows(self) -> list[list[object]]:
        """The values of every distinct tuple."""
        if self._groups is None:
            return [[value.value for value in self._values if isinstance(value, Const)]]
        first = self._groups["row"].list.first()
        columns = [_cells(value, first) for value in self._values]
        return [list(row) for row in zip(*columns, strict=True)]

    def spread(self, texts: list[str]) -> str | pl.Series:
        """One text per row, from one per tuple."""
        if self._groups is None:
            return texts[0]
        group = self._groups.explode("row").sort("row")["group"]
        return pl.Series(texts, dtype=pl.String).gather(group)

    def count(self, chosen: list[bool], rows: int) -> int:
        """How many rows have a chosen tuple."""
        if self._groups is None:
            return rows
        return int(self._groups.filter(pl.Series(chosen))["row"].list.len().sum())


def _series(value: Input) -> pl.Series:
    if isinstance(value, Const):
        raise TypeError("a constant is no column")
    return value.series if isinstance(value, Column) else value


def _cells(value: Input, positions: pl.Series) -> list[object]:
    if isinstance(value, Const):
        return [value.value] * len(positions)
    cells = _series(value).gather(positions).to_list()
    if isinstance(value, Column) and value.is_markup:
        return [None if cell is None else Markup(cell) for cell in cells]  # noqa: S704  # escaped already
    return cells


def _key(series: pl.Series) -> pl.Series:
    """Equal where Python values would print alike: Polars takes 0.0 and -0.0 for one."""
    if series.dtype.is_float():
        return series.cast(pl.String)
    if series.dtype.is_nested() and "Float" in str(series.dtype):
        return pl.Series([repr(value) for value in series.to_list()], dtype=pl.String)
    return series

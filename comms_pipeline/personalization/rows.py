"""The rows a path of recipients covers, and what the template's own names stand for there. Evaluates nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from jinja2 import nodes

from comms_pipeline.personalization.values import Missing, Value, column

Scope = Mapping[str, "Binding"]


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A name set by the template: `statement` ran in `scope`; equal numbers, equal values on the same rows.

    `expression` is None where only Jinja2 can hold the value (macros, imports, several targets). `depth` is the length
    of the chain of bindings it rests on.
    """

    statement: nodes.Stmt
    scope: Scope
    number: int
    expression: nodes.Expr | None
    depth: int


class Slice:
    """Some rows of the frame. Columns are gathered when first asked for; `memo` keeps what was computed here."""

    def __init__(self, frame: pl.DataFrame, positions: pl.Series | None = None) -> None:
        self._frame = frame
        self._positions = positions
        self._columns: dict[str, Value] = {}
        self.memo: dict[tuple[str, int], object] = {}

    def __len__(self) -> int:
        return self._frame.height if self._positions is None else len(self._positions)

    @property
    def positions(self) -> pl.Series:
        """Row numbers into the frame, ascending."""
        if self._positions is None:
            return pl.int_range(self._frame.height, dtype=pl.UInt32, eager=True)
        return self._positions

    def names(self) -> list[str]:
        """The frame's columns and the fields of its structs."""
        fields = [
            field.name
            for dtype in self._frame.dtypes
            if isinstance(dtype, pl.Struct)
            for field in dtype.fields
        ]
        return [*self._frame.columns, *fields]

    @property
    def total(self) -> int:
        """Rows of the whole frame."""
        return self._frame.height

    def column(self, name: str) -> Value:
        """The frame's column on these rows; Missing where there is none. NotColumnar for odd dtypes."""
        if name not in self._frame.columns:
            return Missing(name=name, near=tuple(self._frame.columns))
        if name not in self._columns:
            series = self._frame[name]
            self._columns[name] = column(
                series if self._positions is None else series.gather(self._positions)
            )
        return self._columns[name]

    def raw_column(self, name: str) -> pl.Series | None:
        """The frame's column on these rows whatever its dtype."""
        if name not in self._frame.columns:
            return None
        return self._frame[name].gather(self.positions)

    def where(self, mask: pl.Series) -> "Slice":
        """The rows for which the mask holds."""
        return Slice(self._frame, self.positions.filter(mask))

"""What a report is made of, whatever medium it is for: figures, sections, tables, charts. Reads and draws nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from comms_pipeline.reports.charts.svg import Chart, Tone


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One headline number. `note` compares it; `trend` are the values before it and itself, oldest first."""

    name: str
    value: str
    note: str = ""
    tone: Tone = Tone.PLAIN
    trend: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table; numbers stand to the right."""

    name: str
    is_number: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """The cells of a row, in words. What the tone means, a cell says."""

    cells: tuple[str, ...]
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under named columns. Behind a chart a table is folded away on screen; it holds the chart's numbers."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    is_folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question and its answer. `lead` is the answer in a sentence or two."""

    heading: str
    lead: str = ""
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report, in English."""

    kind: str
    title: str
    facts: tuple[str, ...]
    """What it is about, in a few words each."""
    figures: tuple[Figure, ...]
    figures_note: str
    sections: tuple[Section, ...]
    counts: Mapping[str, int]
    """What to draw where there is room for one small chart, in its order."""
    made_at: datetime


def table(
    caption: str,
    names: tuple[str, ...],
    numbers: tuple[str, ...],
    rows: tuple[Row, ...],
    *,
    is_folded: bool = False,
) -> Table:
    """A table whose first columns hold words and whose last ones numbers."""
    columns = tuple(Column(name=name) for name in names)
    counted = tuple(Column(name=name, is_number=True) for name in numbers)
    return Table(caption=caption, columns=columns + counted, rows=rows, is_folded=is_folded)

"""Counts over time: columns for each step, and lines that add them up."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from comms_pipeline.reports.charts.svg import (
    Theme,
    box,
    breadth,
    compact,
    label,
    legend,
    path,
    picture,
    rule,
    ticks,
)

_DASHES = ("", "5 3")


@dataclass(frozen=True, kw_only=True)
class Series:
    """What is counted, and how much of it at each moment."""

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Course:
    """One or two series over the same moments, which are named in their order."""

    title: str
    description: str
    moments: tuple[str, ...]
    series: tuple[Series, ...]
    ticks: tuple[int, ...]
    """Positions of the moments worth naming below, such as midnights."""
    is_cumulated: bool = False
    """Lines of the sums so far below the columns."""

    def svg(self, theme: Theme, width: int) -> str:
        """A legend, the columns, the sums if wanted, the moments."""
        size = theme.size
        sums = [list(accumulate(each.counts)) for each in self.series]
        levels = ticks(max((max(each.counts, default=0) for each in self.series), default=0))
        totals = ticks(max((each[-1] for each in sums if each), default=0)) if self.is_cumulated else [0.0]
        left = max(breadth(compact(level), theme) for level in (*levels, *totals)) + size * 0.7
        frame = _Frame(theme=theme, left=left, right=width - size * 0.3, count=len(self.moments))
        columns = (size * 2.2, size * 11)
        lines = (columns[1] + size * 2.6, columns[1] + size * 9.6)
        end = lines[1] if self.is_cumulated else columns[1]
        marks = [
            *legend([each.name for each in self.series], theme, left, size),
            *frame.grid(levels, *columns),
            *self._columns(frame, levels[-1], *columns),
        ]
        if self.is_cumulated:
            marks += [
                label(left, columns[1] + size * 1.7, "Added up", fill=theme.faint),
                *frame.grid(totals, *lines),
                *_lines(frame, sums, totals[-1], *lines),
            ]
        marks += frame.named(self.moments, self.ticks, end + size * 1.4)
        return picture(self, theme, width, end + size * 1.8, "".join(marks))

    def _columns(self, frame: "_Frame", most: float, top: float, bottom: float) -> Iterator[str]:
        step = frame.step
        gap = min(step * 0.15, 3)
        wide = (step - gap) / max(len(self.series), 1)
        for which, each in enumerate(self.series):
            colour = frame.theme.series[which]
            for position, count in enumerate(each.counts):
                if count:
                    high = max((bottom - top) * count / most, 1)
                    x = frame.left + position * step + gap / 2 + which * wide
                    told = f"{self.moments[position]}: {count:,} {each.name}"
                    yield box(x, bottom - high, max(wide, 0.6), high, colour, told=told)


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Where panels lie from left to right."""

    theme: Theme
    left: float
    right: float
    count: int

    @property
    def step(self) -> float:
        return (self.right - self.left) / max(self.count, 1)

    def grid(self, levels: Sequence[float], top: float, bottom: float) -> Iterator[str]:
        """A line and a count at every level."""
        size = self.theme.size
        for level in levels:
            y = bottom - (bottom - top) * level / levels[-1] if levels[-1] else bottom
            yield rule(self.left, y, self.right, y, self.theme.line)
            yield label(
                self.left - size * 0.4, y + size * 0.33, compact(level), fill=self.theme.faint, anchor="end"
            )

    def named(self, moments: Sequence[str], positions: Sequence[int], y: float) -> Iterator[str]:
        """The names of the moments at these positions; of too many, every so many."""
        widest = max((breadth(moments[each], self.theme) for each in positions), default=0) * 1.25
        apart = min((after - before for before, after in pairwise(positions)), default=1) * self.step
        for position in positions[:: max(1, math.ceil(widest / apart))]:
            x = self.left + position * self.step
            if x + widest <= self.right + self.theme.size:
                yield rule(x, y - self.theme.size * 1.4, x, y - self.theme.size, self.theme.faint)
                yield label(x, y, moments[position], fill=self.theme.faint)


def _lines(
    frame: _Frame, sums: Sequence[Sequence[int]], most: float, top: float, bottom: float
) -> Iterator[str]:
    for which, each in enumerate(sums):
        points = [
            (frame.left + (position + 0.5) * frame.step, bottom - (bottom - top) * value / most)
            for position, value in enumerate(each)
        ]
        if points:
            start = (frame.left, bottom)
            yield path([start, *points], frame.theme.series[which], dashes=_DASHES[which])

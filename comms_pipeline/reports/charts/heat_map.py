"""A week by hours: seven rows of 24 cells, the darker the more."""

import math
from dataclasses import dataclass

from comms_pipeline.reports.charts.svg import Theme, box, breadth, label, picture

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One hour of the week: weekday 1 (Monday) to 7, hour 0 to 23; `text` is the amount in words."""

    weekday: int
    hour: int
    amount: float
    text: str


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Amounts by weekday and hour; hours without a cell have nothing."""

    title: str
    description: str
    cells: tuple[Cell, ...]
    is_from_least: bool = False
    """Colours begin at the least amount: for rates, which hardly differ beside 0."""

    def svg(self, theme: Theme, width: int) -> str:
        """Days downwards, hours to the right, and what the colours mean."""
        size = theme.size
        left = breadth("Mon ", theme) + size * 0.3
        wide = (width - left) / 24
        high = size * 1.55
        gap = 1 if wide < 16 else 2
        largest = max((cell.amount for cell in self.cells), default=0)
        least = min((cell.amount for cell in self.cells), default=0) if self.is_from_least else 0
        held = {(cell.weekday, cell.hour): cell for cell in self.cells}
        marks = []
        for day, name in enumerate(DAYS):
            marks.append(label(0, day * high + size * 1.1, name, fill=theme.faint))
            for hour in range(24):
                cell = held.get((day + 1, hour))
                level = _level(cell.amount, least, largest, len(theme.scale)) if cell else 0
                told = f"{name} {hour:02}:00: {cell.text}" if cell else ""
                marks.append(
                    box(
                        left + hour * wide,
                        day * high,
                        wide - gap,
                        high - gap,
                        theme.scale[level],
                        told=told,
                        radius=2,
                    )
                )
        below = 7 * high + size * 1.1
        marks += [
            label(left + hour * wide, below, f"{hour:02}", fill=theme.faint)
            for hour in range(0, 24, 3 if wide > size else 6)
        ]
        marks += _key(theme, left, below + size * 1.9)
        return picture(self, theme, width, below + size * 2.4, "".join(marks))


def _level(amount: float, least: float, largest: float, levels: int) -> int:
    """0 for nothing; else 1 and up, in even steps from the least to the largest."""
    if amount <= 0:
        return 0
    above = (amount - least) / (largest - least) if largest > least else 1
    return min(max(math.ceil(above * (levels - 1) - 1e-9), 1), levels - 1)


def _key(theme: Theme, x: float, y: float) -> list[str]:
    size = theme.size
    start = x + breadth("none ", theme)
    swatches = [
        box(start + level * size * 1.5, y - size * 0.8, size * 1.4, size * 0.9, colour, radius=2)
        for level, colour in enumerate(theme.scale)
    ]
    return [
        label(x, y, "none", fill=theme.faint),
        *swatches,
        label(start + len(theme.scale) * size * 1.5 + size * 0.3, y, "most", fill=theme.faint),
    ]

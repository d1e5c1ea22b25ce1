"""Horizontal bars: names with amounts, as a funnel or a ranking."""

from dataclasses import dataclass

from comms_pipeline.reports.charts.svg import Theme, Tone, box, breadth, fit, label, picture

_NARROW = 480
_MOST_FOR_NAMES = 0.42


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar. `text` is its amount in words."""

    name: str
    amount: float
    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Bars under each other, each as long as its share of the longest."""

    title: str
    description: str
    bars: tuple[Bar, ...]

    def svg(self, theme: Theme, width: int) -> str:
        """Names before the bars; on narrow pictures above them."""
        size = theme.size
        is_narrow = width < _NARROW
        height = size * (3.1 if is_narrow else 1.95)
        largest = max((bar.amount for bar in self.bars), default=0) or 1
        texts = max((breadth(bar.text, theme) for bar in self.bars), default=0)
        names = max((breadth(bar.name, theme) for bar in self.bars), default=0) + size
        left = 0.0 if is_narrow else min(names, width * _MOST_FOR_NAMES)
        room = width - left - (0 if is_narrow else texts + size)
        marks = []
        for position, bar in enumerate(self.bars):
            y = position * height
            long = max(room * bar.amount / largest, 1.5 if bar.amount else 0)
            colour = theme.tones[bar.tone]
            told = f"{bar.name}: {bar.text}"
            fill = theme.faint if bar.tone is Tone.QUIET else ""
            if is_narrow:
                marks += [
                    label(0, y + size * 1.1, fit(bar.name, width - texts - size, theme), fill=fill),
                    label(width, y + size * 1.1, bar.text, anchor="end", fill=fill),
                    box(0, y + size * 1.6, long, size * 0.8, colour, told=told, radius=2),
                ]
            else:
                marks += [
                    label(0, y + size * 1.3, fit(bar.name, left - size, theme), fill=fill),
                    box(left, y + size * 0.3, long, size * 1.35, colour, told=told, radius=2),
                    label(left + long + size * 0.5, y + size * 1.3, bar.text, fill=fill),
                ]
        return picture(self, theme, width, max(len(self.bars) * height, size), "".join(marks))

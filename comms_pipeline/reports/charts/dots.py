"""Estimates with their intervals: a dot for what was measured, a line for what it may as well be."""

from dataclasses import dataclass

from comms_pipeline.reports.charts.svg import (
    Theme,
    Tone,
    breadth,
    fit,
    label,
    nice_step,
    number,
    picture,
    rule,
    words,
)

_NARROW = 480
_NAMES_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One estimate between `low` and `high`; `text` says it in words."""

    name: str
    value: float
    low: float
    high: float
    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, kw_only=True)
class Dots:
    """Estimates under each other on one scale of shares. `reference`: where there is no difference, if on the scale."""

    title: str
    description: str
    dots: tuple[Dot, ...]
    reference: float | None = None

    def svg(self, theme: Theme, width: int) -> str:
        """Names before the marks, on narrow pictures above them; the scale below."""
        size = theme.size
        is_narrow = width < _NARROW
        height = size * (3.6 if is_narrow else 2.3)
        left = size if is_narrow else width * _NAMES_SHARE
        texts = max((breadth(dot.text, theme) for dot in self.dots), default=0)
        right = width - (size if is_narrow else texts + size * 1.2)
        lows = [dot.low for dot in self.dots] + ([] if self.reference is None else [self.reference])
        highs = [dot.high for dot in self.dots] + ([] if self.reference is None else [self.reference])
        step = nice_step(max(max(highs, default=1) - min(lows, default=0), 0.001), 3 if is_narrow else 5)
        first = int(min(lows, default=0) // step)
        last = -int(-max(highs, default=1) // step)

        def x(value: float) -> float:
            return left + (right - left) * (value / step - first) / max(last - first, 1)

        bottom = len(self.dots) * height + size * 0.4
        marks = []
        for mark in range(first, last + 1):
            marks.append(rule(x(mark * step), 0, x(mark * step), bottom, theme.line))
            marks.append(
                label(
                    x(mark * step),
                    bottom + size * 1.2,
                    self._tick(mark * step, step),
                    fill=theme.faint,
                    anchor="middle",
                )
            )
        if self.reference is not None:
            marks.append(rule(x(self.reference), 0, x(self.reference), bottom, theme.faint, dashes="4 3"))
        for position, dot in enumerate(self.dots):
            top = position * height
            y = top + size * (2.5 if is_narrow else 1.2)
            colour = theme.tones[dot.tone]
            marks += [
                rule(x(dot.low), y, x(dot.high), y, colour, width=2),
                rule(x(dot.low), y - size * 0.3, x(dot.low), y + size * 0.3, colour, width=2),
                rule(x(dot.high), y - size * 0.3, x(dot.high), y + size * 0.3, colour, width=2),
                f'<circle cx="{number(x(dot.value))}" cy="{number(y)}" r="{number(size * 0.38)}" fill="{colour}">'
                f"<title>{words(f'{dot.name}: {dot.text}')}</title></circle>",
            ]
            if is_narrow:
                marks.append(label(0, top + size * 1.3, fit(dot.name, width - texts - size, theme)))
                marks.append(label(width, top + size * 1.3, dot.text, anchor="end"))
            else:
                marks.append(label(0, y + size * 0.33, fit(dot.name, left - size, theme)))
                marks.append(label(width, y + size * 0.33, dot.text, anchor="end"))
        return picture(self, theme, width, bottom + size * 1.6, "".join(marks))

    def _tick(self, value: float, step: float) -> str:
        decimals = 1 if step < 0.01 else 0
        if self.reference is None:
            return f"{value:.{decimals}%}"
        return "0" if round(value, 9) == 0 else f"{value * 100:+.{decimals}f}".replace("-", "−")

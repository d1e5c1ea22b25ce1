"""What every chart is drawn with: colours, words that are safe and fit, axes. Knows no kind of chart."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from itertools import accumulate
from typing import Protocol
from unicodedata import east_asian_width

# XML has no way to say these, not even escaped.
_UNSPEAKABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Tone(StrEnum):
    """What a mark tells beside its size. Never by colour alone: words say it too."""

    PLAIN = "plain"
    QUIET = "quiet"
    """Left out for good reason."""
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours and letters of one medium. `size` is the height of letters in pixels, `letter` their usual width."""

    ink: str
    faint: str
    line: str
    paper: str
    series: tuple[str, str]
    tones: Mapping[Tone, str]
    scale: tuple[str, ...]
    """From nothing to most."""
    font: str
    size: float
    letter: float


SCREEN = Theme(
    ink="var(--ink)",
    faint="var(--faint)",
    line="var(--line)",
    paper="var(--paper)",
    series=("var(--first)", "var(--second)"),
    tones={
        Tone.PLAIN: "var(--first)",
        Tone.QUIET: "var(--quiet)",
        Tone.GOOD: "var(--good)",
        Tone.WARN: "var(--warn)",
        Tone.BAD: "var(--bad)",
    },
    scale=tuple(f"var(--heat-{level})" for level in range(6)),
    font="inherit",
    size=12.5,
    letter=6.8,
)
"""For pages that set these variables, for light and dark."""

PRINT = Theme(
    ink="#1c2430",
    faint="#596273",
    line="#d9dde4",
    paper="#ffffff",
    series=("#1f5fae", "#c2570c"),
    tones={
        Tone.PLAIN: "#1f5fae",
        Tone.QUIET: "#868f9e",
        Tone.GOOD: "#21794a",
        Tone.WARN: "#b26a00",
        Tone.BAD: "#b3261e",
    },
    scale=("#f2f4f7", "#cfdff2", "#9dc0e6", "#639ad2", "#2f70b7", "#124a8a"),
    font="Libertinus Serif",
    size=9.5,
    letter=4.5,
)
"""For paper."""


class Chart(Protocol):
    """A picture of numbers, and the words for those who do not see it."""

    @property
    def title(self) -> str: ...

    @property
    def description(self) -> str: ...

    def svg(self, theme: Theme, width: int) -> str:
        """The picture, `width` pixels wide."""
        ...


def words(text: str) -> str:
    """Text that is safe inside an element or attribute, whatever it holds."""
    return escape(_UNSPEAKABLE.sub("\ufffd", text))


def number(value: float) -> str:
    """A coordinate: one decimal at most, none where it says nothing."""
    return f"{value:.1f}".removesuffix(".0").replace("-0", "0" if round(value, 1) == 0 else "-0")


def breadth(text: str, theme: Theme) -> float:
    """About how wide a text is, in pixels."""
    return theme.letter * sum(_letters(letter) for letter in text)


def fit(text: str, width: float, theme: Theme) -> str:
    """As much of the text as fits into the width, by the usual width of letters; … for the rest."""
    room = width / theme.letter
    for position, used in enumerate(accumulate(map(_letters, text))):
        if used > room:
            return f"{text[: max(position - 1, 0)].rstrip()}…"
    return text


def _letters(letter: str) -> float:
    return 1.85 if east_asian_width(letter) in "WF" else 1


def picture(chart: Chart, theme: Theme, width: int, height: float, marks: str) -> str:
    """The whole picture, with its title and description for those who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {number(height)}" width="{width}" '
        f'height="{number(height)}" role="img" font-family="{theme.font}" font-size="{number(theme.size)}" '
        f'fill="{theme.ink}"><title>{words(chart.title)}</title><desc>{words(chart.description)}</desc>{marks}</svg>'
    )


def label(x: float, y: float, text: str, *, fill: str = "", anchor: str = "", weight: str = "") -> str:
    """A line of text; `anchor` as in SVG: middle, end."""
    attributes = "".join(
        f' {name}="{value}"'
        for name, value in (("fill", fill), ("text-anchor", anchor), ("font-weight", weight))
        if value
    )
    return f'<text x="{number(x)}" y="{number(y)}"{attributes}>{words(text)}</text>'


def box(
    x: float, y: float, width: float, height: float, fill: str, *, told: str = "", radius: float = 0
) -> str:
    """A rectangle; `told` is shown to whoever points at it."""
    inside = f"><title>{words(told)}</title></rect>" if told else "/>"
    rounded = f' rx="{number(radius)}"' if radius else ""
    return (
        f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" '
        f'fill="{fill}"{rounded}{inside}'
    )


def rule(
    x1: float, y1: float, x2: float, y2: float, stroke: str, *, width: float = 1, dashes: str = ""
) -> str:
    """A straight line."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" '
        f'stroke="{stroke}" stroke-width="{number(width)}"{dashed}/>'
    )


def path(points: Sequence[tuple[float, float]], stroke: str, *, width: float = 2, dashes: str = "") -> str:
    """A line through the points."""
    route = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<path d="M{route}" fill="none" stroke="{stroke}" stroke-width="{number(width)}" '
        f'stroke-linejoin="round" stroke-linecap="round"{dashed}/>'
    )


def nice_step(span: float, steps: int) -> float:
    """The round distance (1, 2 or 5 times a power of ten) at which at most `steps` marks span the span."""
    rough = span / steps
    power = 10 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next(power * each for each in (1, 2, 5, 10) if power * each >= rough * (1 - 1e-9))


def ticks(top: float, steps: int = 3) -> list[float]:
    """Round marks from 0 to `top` or a little above. Counts are whole: no mark below 1."""
    step = max(nice_step(max(top, 1), steps), 1)
    return [step * position for position in range(math.ceil(top / step - 1e-9) + 1)] if top > 0 else [0, 1]


def compact(value: float) -> str:
    """A count in few letters: 950, 1.2k, 3M."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if abs(value) >= size:
            return f"{value / size:.1f}".removesuffix(".0") + unit
    return f"{value:g}"


def legend(names: Sequence[str], theme: Theme, x: float, y: float) -> Iterator[str]:
    """A swatch and a name for each series, side by side."""
    for name, colour in zip(names, theme.series, strict=False):
        yield box(x, y - theme.size * 0.75, theme.size * 0.8, theme.size * 0.8, colour, radius=2)
        yield label(x + theme.size * 1.2, y, name)
        x += theme.size * 2.4 + breadth(name, theme)

"""Pictures small enough for a table cell: Dagster shows Markdown in place only below 1,000 characters."""

from base64 import b64encode
from collections.abc import Mapping, Sequence

from comms_pipeline.reports.charts.svg import number, words

MOST_BYTES = 700
"""As much SVG as fits into 1,000 characters of Markdown."""

# Legible on white and on Dagster's dark ground.
_INK, _BAR, _LOSS = "#7a8494", "#3b82f6", "#d97706"
_LOSSES = frozenset(
    {"excluded", "refused", "rejected", "deferred", "cancelled", "unknown", "waiting", "bounced", "failed"}
)
_LONGEST_NAME = 22
_LETTER = 6
_BAR_LENGTH = 150


def small_bars(amounts: Mapping[str, int]) -> str:
    """A bar for each amount that is not 0, and always the first. What does not fit is left out from the end."""
    first = next(iter(amounts), "")
    shown = [(name[:_LONGEST_NAME], count) for name, count in amounts.items() if count or name == first]
    while len(picture := _bars(shown)) > MOST_BYTES:
        shown.pop()
    return picture


def _bars(rows: Sequence[tuple[str, int]]) -> str:
    largest = max((count for _, count in rows), default=0) or 1
    bars_at = 8 + _LETTER * max((len(f"{name} {count:,}") for name, count in rows), default=0)
    texts, routes = [], {_BAR: "", _LOSS: ""}
    for position, (name, count) in enumerate(rows):
        width = max(round(_BAR_LENGTH * count / largest), 1 if count else 0)
        texts.append(f'<text y="{position * 15 + 11}">{words(name)} {count:,}</text>')
        routes[_LOSS if name in _LOSSES else _BAR] += f"M{bars_at} {position * 15 + 2}h{width}v10h-{width}z"
    bars = "".join(f'<path fill="{colour}" d="{route}"/>' for colour, route in routes.items() if route)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{bars_at + _BAR_LENGTH}" height="{len(rows) * 15 or 1}" '
        f'font-family="sans-serif" font-size="11" fill="{_INK}">{"".join(texts)}{bars}</svg>'
    )


def sparkline(values: Sequence[float], *, width: int = 96, height: int = 22, colour: str = _BAR) -> str:
    """A line through the values in their order, the last one with a dot; of many, evenly picked ones."""
    most = 40
    if len(values) > most:
        values = [values[round(position * (len(values) - 1) / (most - 1))] for position in range(most)]
    if not values:
        return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"/>'
    low, high = min(values), max(values)
    step = (width - 8) / max(len(values) - 1, 1)
    points = [
        (
            4 + position * step,
            height / 2 if high == low else height - 4 - (height - 8) * (value - low) / (high - low),
        )
        for position, value in enumerate(values)
    ]
    route = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    x, y = points[-1]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<path d="M{route}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        f'<circle cx="{number(x)}" cy="{number(y)}" r="2.5" fill="{colour}"/></svg>'
    )


def inline_image(svg: str, alternative: str) -> str:
    """Markdown that shows the SVG in place: Dagster strips raw SVG but shows images in data URLs."""
    plain = "".join(" " if letter in "[]()\n" else letter for letter in alternative)
    return f"![{plain}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"

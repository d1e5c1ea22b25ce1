"""Small charts as SVG text. Numbers in, picture out; no files, no fonts, no script."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

_INK, _FAINT, _BAR = "#1f2937", "#e5e7eb", "#2563eb"
_COLOURS = {"excluded": "#9ca3af", "refused": "#dc2626", "unknown": "#d97706", "deferred": "#d97706"}


def funnel_svg(steps: Mapping[str, int]) -> str:
    """Horizontal bars, one per step that is not 0 (and always the first), as wide as its share of the largest."""
    first = next(iter(steps))
    shown = {name: count for name, count in steps.items() if count or name == first}
    largest = max(shown.values()) or 1
    rows = []
    for position, (name, count) in enumerate(shown.items()):
        y = 4 + position * 18
        width = round(160 * count / largest, 1)
        rows.append(
            f'<text x="0" y="{y + 10}">{escape(name)}</text>'
            f'<rect x="62" y="{y}" width="{width}" height="13" fill="{_COLOURS.get(name, _BAR)}"/>'
            f'<text x="{66 + width}" y="{y + 10}">{count:,}</text>'
        )
    height = 6 + 18 * len(shown)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="280" height="{height}" font-family="sans-serif" '
        f'font-size="11" fill="{_INK}">{"".join(rows)}</svg>'
    )


def inline_image(svg: str, alternative: str) -> str:
    """Markdown that shows the SVG in place: Dagster strips raw SVG but shows images in data URLs."""
    return f"![{alternative}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"


def time_course_svg(moments: Sequence[tuple[str, int]], label: str) -> str:
    """Vertical bars over labelled moments, in their order."""
    largest = max((count for _, count in moments), default=0) or 1
    step = 560 / max(len(moments), 1)
    bars = "".join(
        f'<rect x="{30 + position * step:.1f}" y="{120 - 100 * count / largest:.1f}" '
        f'width="{max(step - 2, 1):.1f}" height="{100 * count / largest:.1f}" fill="{_BAR}">'
        f"<title>{escape(moment)}: {count:,}</title></rect>"
        for position, (moment, count) in enumerate(moments)
    )
    ends = [moment for moment, _ in moments]
    axis = (
        f'<line x1="30" x2="590" y1="120" y2="120" stroke="{_FAINT}"/>'
        f'<text x="30" y="136">{escape(ends[0]) if ends else ""}</text>'
        f'<text x="590" y="136" text-anchor="end">{escape(ends[-1]) if ends else ""}</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 142" role="img" aria-label="{escape(label)}" '
        f'font-family="sans-serif" font-size="11" fill="{_INK}">{bars}{axis}</svg>'
    )

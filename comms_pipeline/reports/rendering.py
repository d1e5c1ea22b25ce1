"""How reports look: one page of HTML, and a PDF. Every word in them is data: none becomes markup or Typst source."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typst
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from comms_pipeline.reports.charts.small import sparkline
from comms_pipeline.reports.charts.svg import PRINT, SCREEN, Chart
from comms_pipeline.reports.document import Report
from comms_pipeline.reports.phrases import moment

_WIDE, _NARROW, _PAPER = 760, 330, 480
_LONGEST_WORD = 24
_TEMPLATES = Path(__file__).parents[1] / "templates"


@dataclass(frozen=True, kw_only=True)
class Written:
    """The files of a report."""

    report: Report
    html: Path
    pdf: Path | None


def write(report: Report, path: Path, *, with_pdf: bool) -> Written:
    """Write the page to `path`, and beside it the PDF. A PDF of an older page is not left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, html_of(report).encode())
    pdf = path.with_suffix(".pdf")
    if with_pdf:
        _replace(pdf, pdf_of(report))
    else:
        pdf.unlink(missing_ok=True)
    return Written(report=report, html=path, pdf=pdf if with_pdf else None)


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all: somebody may be reading it."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)


def html_of(report: Report) -> str:
    """One page that loads nothing: no script, no fonts, no pictures from elsewhere."""
    return _pages().get_template("report.html").render(report=report)


@cache
def _pages() -> Environment:
    environment = Environment(
        loader=PackageLoader("comms_pipeline"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(moment=moment, wide=_wide, narrow=_narrow, sparkline=_trend)
    environment.tests.update(long=_is_long)
    return environment


def _is_long(words: str) -> bool:
    """Some word, such as an address, may have to break anywhere."""
    return any(len(word) > _LONGEST_WORD for word in words.split())


# SVG of our own making, from numbers and escaped words.
def _wide(chart: Chart) -> Markup:
    return Markup(chart.svg(SCREEN, _WIDE))  # noqa: S704


def _narrow(chart: Chart) -> Markup:
    return Markup(chart.svg(SCREEN, _NARROW))  # noqa: S704


def _trend(values: Sequence[float]) -> Markup:
    return Markup(sparkline(values, colour="var(--first)"))  # noqa: S704


def pdf_of(report: Report) -> bytes:
    """A tagged PDF; PDF/UA-1 unless it has letters that no font here can show."""
    content: bytes = _compiled(report, "pdf")
    return content


def pictures_of(report: Report, *, per_inch: int = 110) -> list[bytes]:
    """The PDF's pages as PNG."""
    pages = _compiled(report, "png", ppi=per_inch)
    return pages if isinstance(pages, list) else [pages]


def _compiled(report: Report, kind: str, **options: Any) -> Any:
    arguments = {
        "input": str(_TEMPLATES / "report.typ"),
        "sys_inputs": {"report": json.dumps(_data(report))},
        "font_paths": _fonts(),
        "format": kind,
        "timestamp": int(report.made_at.timestamp()),
        **options,
    }
    if kind != "pdf":
        return typst.compile(**arguments)
    try:
        return typst.compile(**arguments, pdf_standards=["ua-1"])
    except typst.TypstError:
        return typst.compile(**arguments)


@cache
def _fonts() -> Any:
    """Typst's own fonts, which the template names; the system's where letters are missing from them."""
    return typst.Fonts()


def _data(report: Report) -> dict[str, Any]:
    """The report as the template reads it."""
    return {
        "kind": report.kind,
        "title": report.title,
        "facts": report.facts,
        "made_at": moment(report.made_at),
        "figures": [
            {
                "name": each.name,
                "value": each.value,
                "note": each.note,
                "tone": each.tone,
                "trend": sparkline(each.trend, colour=PRINT.series[0]) if each.trend else None,
            }
            for each in report.figures
        ],
        "figures_note": report.figures_note,
        "sections": [
            {
                "heading": section.heading,
                "lead": section.lead,
                "charts": [_chart(chart) for chart in section.charts],
                # What a chart shows needs no table on paper.
                "tables": [
                    {
                        "columns": [[column.name, column.is_number] for column in each.columns],
                        "rows": [[row.tone, row.cells] for row in each.rows],
                    }
                    for each in section.tables
                    if not each.is_folded
                ],
                "notes": section.notes,
            }
            for section in report.sections
        ],
    }


def _chart(chart: Chart) -> dict[str, str]:
    return {
        "title": chart.title,
        "alt": f"{chart.title}. {chart.description}",
        "svg": chart.svg(PRINT, _PAPER),
    }

"""A send's report: what it says. How it looks is `rendering`'s business."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import duckdb

from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.compliance.windows import Window
from comms_pipeline.domain.errors import NotFound
from comms_pipeline.loader import experiments
from comms_pipeline.planning import stages
from comms_pipeline.planning.stages import Funnel
from comms_pipeline.reports.document import Figure, Report
from comms_pipeline.reports.engagement import course_section, hours_section, links_section
from comms_pipeline.reports.experiment import experiment_section
from comms_pipeline.reports.phrases import count, moment, percent, plural, share
from comms_pipeline.reports.rates import HEADLINES, figure, totals
from comms_pipeline.reports.reach import (
    all_steps,
    books_section,
    domains_section,
    exclusions_section,
    funnel_section,
    refusals_section,
)
from comms_pipeline.reports.reading import Reading, Values
from comms_pipeline.reports.rendering import Written, write
from comms_pipeline.reports.results import care_section, costs_section, performance_section
from comms_pipeline.stores import Stores


def write_report(stores: Stores, send_id: str, *, with_pdf: bool = True) -> Written:
    """Write the report of a send. Raises `NotFound` for a send that was never planned."""
    with stores.lake.reader() as cursor:
        found = _reading(cursor, send_id).rows("send")
        campaign_id = found[0]["campaign_id"] if found else ""
    tests = experiments.readings(stores, campaign_id)
    with stores.lake.reader() as cursor:
        report = send_report(cursor, send_id, test=tests[0] if tests else None, now=stores.now())
    return write(report, report_path(stores, send_id), with_pdf=with_pdf)


def _reading(cursor: duckdb.DuckDBPyConnection, send_id: str) -> Reading:
    return Reading(cursor, "lake/queries/report.sql", {"send_id": send_id})


def report_path(stores: Stores, send_id: str) -> Path:
    """Where the page of a send's report is, or will be."""
    return stores.settings.reports_path / f"{send_id}.html"


def send_report(
    cursor: duckdb.DuckDBPyConnection, send_id: str, *, test: experiments.Reading | None, now: datetime
) -> Report:
    """What became of a send; `test`: its campaign's experiment. Raises `NotFound` for one that was never planned."""
    reading = _reading(cursor, send_id)
    found = reading.rows("send")
    if not found:
        raise NotFound(f"send {send_id}", "it was never planned", "See `comms status`")
    send = found[0]
    funnel = stages.funnel(cursor, send_id)
    performance = reading.rows("performance")
    earlier = reading.rows("earlier")
    windows = [rule.id for rule in load_rules() if isinstance(rule.check, Window)]
    books = reading.rows("books")
    sections = (
        funnel_section(funnel, performance),
        exclusions_section(
            reading.rows("exclusions", windows=windows),
            stages.exclusions(cursor, send_id).to_dicts(),
            funnel.excluded,
        ),
        refusals_section(reading.rows("refusals")),
        performance_section(performance),
        course_section(reading.rows("acts")),
        hours_section(reading.rows("hours")),
        domains_section(
            reading.rows("domains"),
            "E-mail by domain, phones by calling code; those with few contacts together.",
        ),
        links_section(reading.rows("links")),
        experiment_section(test),
        costs_section(reading.rows("costs")),
        books_section(books[0] if books else None),
        care_section(funnel, performance, earlier=len(earlier), due_at=send["due_at"], now=now),
    )
    return Report(
        kind="Send report",
        title=send_id,
        facts=(
            f"Campaign {send['campaign_id']}, version {send['version']}",
            send["message_class"],
            send["organisation_id"],
            f"due {moment(send['due_at'])}",
        ),
        figures=_figures(funnel, performance, earlier),
        figures_note="Compared with the organisation's earlier sends through the same channels.",
        sections=tuple(section for section in sections if section is not None),
        counts=all_steps(funnel, performance),
        made_at=now,
    )


def _figures(funnel: Funnel, performance: Sequence[Values], earlier: Sequence[Values]) -> tuple[Figure, ...]:
    counts = totals(performance)
    of = plural(len(earlier), "earlier send")
    accepted = percent(share(funnel.accepted, funnel.audience))
    return (
        Figure(
            name="Audience",
            value=count(funnel.audience),
            note=plural(funnel.excluded, "contact") + " excluded",
        ),
        Figure(name="Accepted", value=count(funnel.accepted), note=f"{accepted} of the audience"),
        *(figure(rate, counts, earlier, of) for rate in HEADLINES),
    )

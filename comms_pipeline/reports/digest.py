"""An organisation's week in one report: what its sections say is `digest_sections`' business."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from comms_pipeline.ledger import sends
from comms_pipeline.reports.digest_sections import (
    alerts_section,
    arrivals_section,
    exclusions_section,
    growth_section,
    hours_section,
    sends_section,
)
from comms_pipeline.reports.document import Figure, Report
from comms_pipeline.reports.phrases import count, plural, signed
from comms_pipeline.reports.rates import HEADLINES, figure, total, totals
from comms_pipeline.reports.reading import Reading, Values
from comms_pipeline.reports.rendering import Written, write
from comms_pipeline.reports.weeks import Week
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/digest.sql"
_COUNTS = ("accepted", "delivered", "human_opened", "human_clicked", "unsubscribed", "bounced")


def write_digest(stores: Stores, organisation_id: str, week: Week, *, with_pdf: bool = True) -> Written:
    """Write the digest of an organisation's week. Raises `NotFound` for an organisation nobody knows."""
    with stores.ledger() as ledger:
        organisation = sends.get_organisation(ledger, organisation_id)
    with stores.lake.reader() as cursor:
        report = digest(cursor, organisation_id, organisation.name, week, now=stores.now())
    return write(report, digest_path(stores, organisation_id, week), with_pdf=with_pdf)


def organisations(stores: Stores) -> list[str]:
    """Whoever has contacts or sends: those who have a week to tell of."""
    with stores.lake.reader() as cursor:
        return [row["organisation_id"] for row in Reading(cursor, _QUERIES, {}).rows("organisations")]


def digest_path(stores: Stores, organisation_id: str, week: Week) -> Path:
    """Where the page of a digest is, or will be."""
    return stores.settings.reports_path / "weekly" / f"{organisation_id}-{week}.html"


def digest(
    cursor: duckdb.DuckDBPyConnection, organisation_id: str, name: str, week: Week, *, now: datetime
) -> Report:
    """What the week brought, beside the eight weeks before it."""
    asked = {"organisation_id": organisation_id, "begins": week.begins, "ends": week.ends}
    reading = Reading(cursor, _QUERIES, asked)
    rows = reading.rows("sends")
    ours = [row for row in rows if row["is_of_week"]]
    earlier = [row for row in rows if not row["is_of_week"]]
    growth = reading.rows("growth")
    domains = reading.rows("domains")
    sections = (
        alerts_section(ours, earlier, domains),
        sends_section(ours, earlier),
        growth_section(growth),
        arrivals_section(domains),
        exclusions_section(reading.rows("exclusions")),
        hours_section(reading.rows("hours")),
    )
    last = week.ends - timedelta(days=1)
    return Report(
        kind="Weekly digest",
        title=f"{name or organisation_id}, week {str(week)[-2:]}",
        facts=(organisation_id, f"{week.begins:%-d %B} to {last:%-d %B %Y} (UTC)"),
        figures=_figures(ours, earlier, growth, week),
        figures_note="Compared with the median of the weeks before it, eight at most, in which anything went out.",
        sections=tuple(section for section in sections if section is not None),
        counts={name.replace("_", " "): total(ours, name) for name in _COUNTS},
        made_at=now,
    )


def _figures(
    ours: Sequence[Values], earlier: Sequence[Values], growth: Sequence[Values], week: Week
) -> tuple[Figure, ...]:
    by_week: dict[int, list[Values]] = {}
    for row in earlier:
        by_week.setdefault((week.begins - row["due_at"]).days // 7, []).append(row)
    before = [totals(by_week[back]) for back in sorted(by_week, reverse=True)]
    net = total([day for day in growth if day["is_of_week"]], "net")
    sent = len({row["send_id"] for row in ours})
    return (
        Figure(
            name="Messages accepted", value=count(total(ours, "accepted")), note=f"in {plural(sent, 'send')}"
        ),
        Figure(name="List growth", value=signed(net) if growth else count(None), note=_size(growth)),
        *(figure(rate, totals(ours), before, plural(len(before), "earlier week")) for rate in HEADLINES),
    )


def _size(growth: Sequence[Values]) -> str:
    known = [day["contacts_total"] for day in growth if day["contacts_total"] is not None]
    return f"{plural(known[-1], 'contact')} now" if known else ""

"""A send's report: one self-contained HTML page, from the lake. No script, nothing loaded from elsewhere."""

from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.planning import stages
from comms_pipeline.planning.stages import Funnel
from comms_pipeline.reports.charts import funnel_svg, time_course_svg
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_COUNTS = (
    "messages",
    "accepted",
    "delivered",
    "bounced",
    "opened",
    "human_opened",
    "clicked",
    "unsubscribed",
)
_RATES = ("delivery_rate", "human_open_rate", "click_rate")


def write_report(stores: Stores, send_id: str) -> Path:
    """Write the report of a send and return its path. Raises `NotFound` for a send that was never planned."""
    with stores.lake.reader() as cursor:
        page = render_report(cursor, send_id, now=stores.now())
    folder = stores.settings.reports_path
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{send_id}.html"
    path.write_text(page, encoding="utf-8")
    return path


def render_report(cursor: duckdb.DuckDBPyConnection, send_id: str, *, now: Any) -> str:
    """The page of a send as text."""
    queries = named_queries("lake/queries/report.sql")

    def rows(name: str) -> list[dict[str, Any]]:
        return cursor.execute(queries[name], {"send_id": send_id}).pl().to_dicts()

    send = rows("send")
    if not send:
        raise NotFound(f"send {send_id}", "it was never planned", "See `comms status`")
    funnel = stages.funnel(cursor, send_id)
    performance = rows("performance")
    course = [(f"{row['moment']:%d %b %H:%M:%S}", row["acts"]) for row in rows("time_course")]
    environment = Environment(
        loader=PackageLoader("comms_pipeline"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html").render(
        send=send[0],
        now=now,
        figures=_figures(funnel, performance),
        # SVG of our own making from numbers and escaped words.
        funnel_chart=Markup(funnel_svg(funnel_steps(funnel))),  # noqa: S704
        funnel_sentence=_sentence(funnel),
        exclusions=stages.exclusions(cursor, send_id).to_dicts(),
        refusals=rows("refusals"),
        columns=[name.replace("_", " ") for name in (*_COUNTS, *_RATES)],
        performance=[
            {
                "channel": row["channel"],
                "variant": row["variant"],
                "cells": [f"{row[name]:,}" for name in _COUNTS] + [_percent(row[name]) for name in _RATES],
            }
            for row in performance
        ],
        time_course=Markup(time_course_svg(course, "Opens and clicks by people over time"))  # noqa: S704
        if course
        else "",
        links=rows("links"),
    )


def funnel_steps(funnel: Funnel) -> dict[str, int]:
    """The funnel's counts in the order people read them."""
    return {
        "audience": funnel.audience,
        "excluded": funnel.excluded,
        "messages": funnel.messages,
        "accepted": funnel.accepted,
        "refused": funnel.refused,
        "deferred": funnel.deferred,
        "cancelled": funnel.cancelled,
        "unknown": funnel.unknown,
        "waiting": funnel.waiting,
    }


def _figures(funnel: Funnel, performance: list[dict[str, Any]]) -> list[tuple[str, str]]:
    def total(name: str) -> int:
        return sum(row[name] for row in performance)

    delivered = total("delivered")
    return [
        ("Audience", f"{funnel.audience:,}"),
        ("Accepted", f"{funnel.accepted:,}"),
        ("Delivered", _percent(delivered / funnel.accepted if funnel.accepted else None)),
        ("Opened by people", _percent(total("human_opened") / delivered if delivered else None)),
        ("Clicked", _percent(total("clicked") / delivered if delivered else None)),
        ("Unsubscribed", f"{total('unsubscribed'):,}"),
    ]


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{rate:.1%}"


def _sentence(funnel: Funnel) -> str:
    return (
        f"{funnel.audience:,} contacts = {funnel.messages:,} messages + {funnel.excluded:,} excluded. "
        f"{funnel.messages:,} messages = {funnel.accepted:,} accepted + {funnel.refused:,} refused + "
        f"{funnel.deferred:,} deferred + {funnel.cancelled:,} cancelled + {funnel.unknown:,} unknown + "
        f"{funnel.waiting:,} waiting."
    )

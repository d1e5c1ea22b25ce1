"""What alert rules can measure, each a query over the ledger or the lake. Bounds and words are the rules'."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import psycopg

from comms_pipeline.ledger.feeds import Feed
from comms_pipeline.ledger.landing import oldest_waiting_seconds
from comms_pipeline.loader.watermarks import read_watermark
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_IN_LEDGER, _IN_LAKE = "ledger/queries/alert_metrics.sql", "lake/queries/alert_metrics.sql"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A metric's value for one subject (a lane, an organisation and channel, …), and of how many it was taken."""

    subject: str
    value: float
    sample: int


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What metrics are measured in: one connection to each store."""

    stores: Stores
    ledger: psycopg.Connection[Any]
    lake: duckdb.DuckDBPyConnection


Measure = Callable[[Sources, int], list[Measurement]]
"""(sources, window in seconds) → one measurement per subject."""


def _in_ledger(name: str) -> Measure:
    def measure(sources: Sources, window_seconds: int) -> list[Measurement]:
        sql = named_queries(_IN_LEDGER)[name]
        return _measured(sources.ledger.execute(sql, {"window_seconds": window_seconds}).fetchall())

    return measure


def _in_lake(name: str) -> Measure:
    def measure(sources: Sources, window_seconds: int) -> list[Measurement]:
        parameters = {"window_seconds": window_seconds, "now": sources.stores.now()}
        return _measured(sources.lake.execute(named_queries(_IN_LAKE)[name], parameters).fetchall())

    return measure


def _landing_age(sources: Sources, _window_seconds: int) -> list[Measurement]:
    age_seconds = oldest_waiting_seconds(sources.ledger, read_watermark(sources.lake, Feed.LANDINGS))
    return [Measurement(subject="webhooks", value=age_seconds, sample=1)] if age_seconds else []


def _measured(rows: list[tuple[Any, ...]]) -> list[Measurement]:
    return [
        Measurement(subject=subject, value=value, sample=sample)
        for subject, value, sample in rows
        if value is not None
    ]


METRICS: Mapping[str, Measure] = {
    "error_share": _in_ledger("error_share"),
    "waiting_messages": _in_ledger("waiting_messages"),
    "urgent_latency_ms": _in_ledger("urgent_latency_ms"),
    "quota_share": _in_ledger("quota_share"),
    "slowed_share": _in_ledger("slowed_share"),
    "landing_age_seconds": _landing_age,
    "undelivered_share": _in_lake("undelivered_share"),
    "bounced_share": _in_lake("bounced_share"),
    "complained_share": _in_lake("complained_share"),
    "unsubscribed_share": _in_lake("unsubscribed_share"),
}
"""By the name rules use."""

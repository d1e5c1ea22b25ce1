"""Reads tests for `mart.experiments`: designs from the ledger, counts from the lake. Statistics are `experiments`'."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from itertools import groupby
from typing import Any

import polars as pl

from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.compliance.windows import Window
from comms_pipeline.domain.business_event import CONVERSIONS, CUSTOM_PREFIX
from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.experiment import HOLDOUT, Metric
from comms_pipeline.experiments.design import Design, design_of
from comms_pipeline.experiments.reading import EVERY_CHANNEL, Row, Statistics, read
from comms_pipeline.models.registry import model_named
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

TABLE = "mart.experiments"

_TYPES: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "varchar": pl.String,
    "bigint": pl.Int64,
    "double": pl.Float64,
    "boolean": pl.Boolean,
    "timestamp with time zone": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One test as it stands: its rows, when its first send was due, and until when conversions count."""

    design: Design
    started_at: datetime
    ends_at: datetime
    rows: Sequence[Row]


def experiments(stores: Stores) -> pl.DataFrame:
    """All rows of `mart.experiments`, as of now."""
    common = {"computed_at": stores.now()}
    records = [
        {
            "campaign_id": reading.design.campaign_id,
            "organisation_id": reading.design.organisation_id,
            "started_at": reading.started_at,
            "ends_at": reading.ends_at,
            **asdict(row),
            **common,
        }
        for reading in readings(stores)
        for row in reading.rows
    ]
    columns = model_named(TABLE).header.columns
    return pl.DataFrame(records, schema={name: _TYPES[column.type] for name, column in columns.items()})


def readings(stores: Stores, campaign_id: str | None = None) -> list[Reading]:
    """Every test of which a send was due, or that of one campaign, by campaign id. Reads, and writes nothing."""
    designs = _designs(stores, campaign_id)
    found = []
    for name, rows in groupby(_statistics(stores, designs), key=lambda row: row["campaign_id"]):
        told = list(rows)
        counted = [_counted(row) for row in told]
        found.append(
            Reading(
                design=designs[name],
                started_at=told[0]["started_at"],
                ends_at=told[0]["ends_at"],
                rows=read(designs[name], counted),
            )
        )
    return found


def _designs(stores: Stores, campaign_id: str | None) -> dict[str, Design]:
    query = named_queries("ledger/queries/experiments.sql")["tested_versions"]
    with stores.ledger() as ledger:
        versions = ledger.execute(query, {"campaign_id": campaign_id}).fetchall()
    found = {}
    for name, group in groupby(versions, key=lambda row: row[0]):
        design = design_of([(version, CampaignSpec.model_validate(spec)) for _, version, spec in group])
        if design is not None:
            found[name] = design
    return found


def _statistics(stores: Stores, designs: Mapping[str, Design]) -> list[dict[str, Any]]:
    """One row per test, channel, arm and metric, by test."""
    if not designs:
        return []
    tested = pl.DataFrame(
        [
            (design.campaign_id, version, design.window_days)
            for design in designs.values()
            for version in design.versions
        ],
        schema={"campaign_id": pl.String, "version": pl.Int32, "window_days": pl.Int32},
        orient="row",
    )
    parameters = {
        "now": stores.now(),
        "holdout": HOLDOUT,
        "every_channel": EVERY_CHANNEL,
        "windows": [rule.id for rule in load_rules() if isinstance(rule.check, Window)],
        "types": list(CONVERSIONS),
        "custom_prefix": CUSTOM_PREFIX,
    }
    query = named_queries("lake/queries/experiments.sql")["statistics"]
    with stores.lake.reader() as cursor:
        cursor.register("tested_versions", tested.to_arrow())
        found = cursor.execute(query, parameters).pl()
        cursor.unregister("tested_versions")
    return found.to_dicts()


def _counted(row: Mapping[str, Any]) -> Statistics:
    names = {field.name for field in fields(Statistics)}
    values = {name: value for name, value in row.items() if name in names}
    return Statistics(**values | {"metric": Metric(row["metric"])})

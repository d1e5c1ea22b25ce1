"""Every model as an asset, made of its file's header and SQL. Thin: computing is `loader.models`', checking
`loader.model_checks`'.
"""

from datetime import timedelta

import dagster as dg
import duckdb

from comms_pipeline import vocabulary
from comms_pipeline.loader.model_checks import CheckResult, check_model
from comms_pipeline.loader.models import Refreshed, refresh
from comms_pipeline.metadata import bars, figures, line, rows_table
from comms_pipeline.models.checks import model_checks
from comms_pipeline.models.header import Column, InvalidModel, Model, Severity
from comms_pipeline.models.lineage import lineage
from comms_pipeline.models.pictures import chart_query, figures_query
from comms_pipeline.models.registry import models
from comms_pipeline.models.sql import reads
from comms_pipeline.resources.stores import StoresResource

_PREVIEW_ROWS = 20
# Through fewer points a line says nothing.
_LINE_FROM = 3
_SEVERITIES = {
    Severity.WARN: dg.AssetCheckSeverity.WARN,
    Severity.ERROR: dg.AssetCheckSeverity.ERROR,
}
# Each of these has one partition per send.
_OF_SENDS = {
    vocabulary.AUDIENCE,
    vocabulary.ELIGIBILITY,
    vocabulary.MESSAGES,
    vocabulary.RECONCILIATION,
}
_LAKE = {
    "raw.contact_imports": vocabulary.CONTACTS,
    "raw.contact_rejects": vocabulary.CONTACTS,
    "core.contacts": vocabulary.CONTACTS,
    "campaign.sends": vocabulary.AUDIENCE,
    "campaign.audiences": vocabulary.AUDIENCE,
    "campaign.decisions": vocabulary.ELIGIBILITY,
    "campaign.messages": vocabulary.MESSAGES,
    "campaign.reconciliations": vocabulary.RECONCILIATION,
    "core.outcomes": vocabulary.OUTCOMES,
    "raw.provider_events": vocabulary.PROVIDER_EVENTS,
    "raw.event_rejects": vocabulary.PROVIDER_EVENTS,
    "core.business_events": vocabulary.PROVIDER_EVENTS,
    "core.events": vocabulary.EVENTS,
    "core.conversions": vocabulary.EVENTS,
    "core.message_status": vocabulary.MESSAGE_STATUS,
}
"""The asset that writes each of the lake's own tables."""


def model_assets() -> list[dg.AssetsDefinition]:
    """One asset for each model. Raises `InvalidModel`."""
    return [_asset(model) for model in models().values()]


def key_of(table: str) -> dg.AssetKey:
    """The asset of a model's table ("schema.name")."""
    return dg.AssetKey(table.split("."))


def _asset(model: Model) -> dg.AssetsDefinition:
    header, key = model.header, key_of(model.table)

    @dg.asset(
        key=key,
        deps=_deps(model),
        group_name=str(header.group),
        owners=[header.owner],
        kinds=vocabulary.LAKE_KINDS | ({"python"} if model.is_python else {"sql"}),
        description=f"{header.description}\n\nOne row: {header.grain}.",
        metadata={"dagster/column_schema": _column_schema(model)},
        tags={vocabulary.REFRESHED_TAG: "after_send" if header.after_send else "after_events"},
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=header.freshness_hours))
        if header.freshness_hours
        else None,
        check_specs=[
            dg.AssetCheckSpec(check.name, asset=key, description=check.description)
            for check in model_checks(model)
        ],
    )
    def compute(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult:
        """Bring the model up to date, and check it."""
        refreshed = refresh(stores, model.table)
        results = check_model(stores, model.table)
        with stores.lake.reader() as cursor:
            shown = {**_picture(cursor, model), **_figures(cursor, model)}
            preview = _preview(cursor, model)
        return dg.MaterializeResult(
            metadata={**shown, **_told(model, refreshed), **_lineage(context, model), "first_rows": preview},
            check_results=[_result(each) for each in results],
        )

    return compute


def _deps(model: Model) -> list[dg.AssetDep]:
    keys = {_upstream(model, table) for table in reads(model)}
    return [
        dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping()) if key in _OF_SENDS else dg.AssetDep(key)
        for key in sorted(keys)
    ]


def _upstream(model: Model, table: str) -> dg.AssetKey:
    if table in models():
        return key_of(table)
    if table not in _LAKE:
        raise InvalidModel(
            model.file,
            f"it reads {table}, which no asset writes",
            "Correct the name, or add it to assets/models.py",
        )
    return _LAKE[table]


def _column_schema(model: Model) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=column.type,
                description=column.description,
                constraints=_constraints(model, name, column),
                tags={"unit": column.unit} if column.unit else {},
            )
            for name, column in model.header.columns.items()
        ]
    )


def _constraints(model: Model, name: str, column: Column) -> dg.TableColumnConstraints:
    other = [f"in {relation.relation}" for relation in column.relations]
    if column.accepted:
        other.append(f"one of {', '.join(map(str, column.accepted))}")
    if column.has("share"):
        other.append("0 to 1")
    return dg.TableColumnConstraints(
        nullable=not column.has("not_null"),
        unique=column.has("unique") or model.header.key == (name,),
        other=other,
    )


def _told(model: Model, refreshed: Refreshed) -> dict[str, dg.MetadataValue]:
    """How the run went."""
    how = "view" if model.is_view else "whole" if refreshed.is_whole else "incremental"
    rows = {} if refreshed.rows is None else {"dagster/row_count": dg.MetadataValue.int(refreshed.rows)}
    return {
        **rows,
        "seconds": dg.MetadataValue.float(round(refreshed.seconds, 3)),
        "refreshed": dg.MetadataValue.text(how),
        "rows_written": dg.MetadataValue.int(refreshed.written),
        "keys_changed": dg.MetadataValue.int(refreshed.keys_changed)
        if refreshed.keys_changed is not None
        else dg.MetadataValue.text("all"),
    }


def _lineage(context: dg.AssetExecutionContext, model: Model) -> dict[str, dg.MetadataValue]:
    """Which columns each column is made of, as far as an asset shows them."""
    try:
        found = lineage(model)
    except InvalidModel as error:
        # The rows are right: DuckDB understood the SQL. Only the picture is missing.
        context.log.warning(f"No column lineage: {error}")
        return {}
    # One asset may write several tables, whose columns have the same names.
    origins = {
        name: sorted({(_upstream(model, source.table), source.column) for source in sources})
        for name, sources in found.items()
    }
    deps = {
        name: [dg.TableColumnDep(asset_key=key, column_name=column) for key, column in columns]
        for name, columns in origins.items()
        if columns
    }
    return (
        {"dagster/column_lineage": dg.MetadataValue.column_lineage(dg.TableColumnLineage(deps))}
        if deps
        else {}
    )


def _picture(cursor: duckdb.DuckDBPyConnection, model: Model) -> dict[str, dg.MetadataValue]:
    """The model's chart, if it has one and there is something to draw."""
    chart, query = model.header.chart, chart_query(model)
    rows = cursor.execute(query).fetchall() if query else []
    if chart is None or not rows:
        return {}
    title = chart.name.replace("_", " ")
    if chart.over and len(rows) >= _LINE_FROM:
        return {chart.name: line([float(amount) for _, amount in rows], title)}
    return {chart.name: bars({str(name): round(amount) for name, amount in rows}, title)}


def _figures(cursor: duckdb.DuckDBPyConnection, model: Model) -> dict[str, dg.MetadataValue]:
    """The model's figures, of which Dagster draws how they change."""
    query = figures_query(model)
    row = cursor.execute(query).fetchone() if query else None
    return figures(dict(zip(model.header.figures, row, strict=True))) if row else {}


def _preview(cursor: duckdb.DuckDBPyConnection, model: Model) -> dg.MetadataValue:
    """The first rows by key (some rows of a view). Ids and figures only: no model has personal data."""
    order = "" if model.is_view else f"order by {', '.join(model.header.key)}"
    found = cursor.execute(f"from {model.table} {order} limit {_PREVIEW_ROWS}")
    names = [column[0] for column in found.description or ()]
    return rows_table(dict(zip(names, map(_shown, row), strict=True)) for row in found.fetchall())


def _shown(value: object) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _result(result: CheckResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=result.check.name,
        passed=result.passed,
        severity=_SEVERITIES[result.check.severity],
        metadata={
            "rows_found": sum(count for _, count in result.findings),
            "findings": rows_table({"what": what, "rows": count} for what, count in result.findings),
        },
    )

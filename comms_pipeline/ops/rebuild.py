"""Computing models whole as an op, as after mending data by hand. How, is `loader.models`' work."""

import dagster as dg
from pydantic import Field

from comms_pipeline.loader.models import rebuild
from comms_pipeline.models.registry import model_named, models
from comms_pipeline.resources.stores import StoresResource


class RebuildConfig(dg.Config):
    """Which models."""

    models: list[str] = Field(
        default_factory=list,
        description="Such as mart.campaign_performance; none: all. Each is computed after those it reads.",
    )


@dg.op(
    description="Computes models whole, each in one transaction: readers see the old rows until the new are there.",
)
def compute_whole(context: dg.OpExecutionContext, config: RebuildConfig, stores: StoresResource) -> None:
    """One materialization for each, so that their assets show it."""
    wanted = {model_named(table).table for table in config.models} or set(models())
    for table in [table for table in models() if table in wanted]:
        done = rebuild(stores, table)
        context.log_event(
            dg.AssetMaterialization(
                table.split("."),
                metadata={
                    **({} if done.rows is None else {"dagster/row_count": done.rows}),
                    "seconds": round(done.seconds, 3),
                    "refreshed": "rebuilt",
                },
            )
        )


@dg.job(
    name="rebuild_models",
    description="Compute models whole, all or those named. Needed only after data was changed by hand: a model whose "
    "definition changes is computed whole by itself.",
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "14400"},
)
def rebuild_job() -> None:
    """One step."""
    compute_whole()

"""The one assembly: everything Dagster sees. Opens nothing; what things do lives elsewhere."""

import dagster as dg

from comms_pipeline.assets import campaign, checks, contacts, events, queue_health, reconciliation, reports
from comms_pipeline.assets.ledger import LEDGER_ASSETS
from comms_pipeline.assets.models import model_assets
from comms_pipeline.jobs import ASSET_JOBS
from comms_pipeline.ops.dispatch import dispatch_asset
from comms_pipeline.ops.maintenance import maintenance_job
from comms_pipeline.ops.rebuild import rebuild_job
from comms_pipeline.ops.replay import replay_job
from comms_pipeline.ops.retention import provider_erasure_job, retention_job
from comms_pipeline.resources.stores import build_resources
from comms_pipeline.schedules import SCHEDULES
from comms_pipeline.sensors import SENSORS
from comms_pipeline.settings import Settings, load_settings


def build_definitions(settings: Settings, overrides: dict[str, object] | None = None) -> dg.Definitions:
    """Every asset, check, job, schedule and sensor; `overrides` replace resources by name."""
    return dg.Definitions(
        assets=[
            *dg.load_assets_from_modules([contacts, campaign, reconciliation, events, reports]),
            *model_assets(),
            dispatch_asset,
            *LEDGER_ASSETS,
        ],
        asset_checks=dg.load_asset_checks_from_modules([checks, queue_health]),
        jobs=[*ASSET_JOBS, maintenance_job, retention_job, provider_erasure_job, replay_job, rebuild_job],
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources={**build_resources(settings), **(overrides or {})},
        # A process per step costs two seconds a step; parallelism lives in the dispatch engine.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster` and `dg` load."""
    return build_definitions(load_settings())

"""`provider_erasures`: watches for erasures that providers have yet to carry out. Asks; erases nothing itself."""

import dagster as dg

from comms_pipeline.ledger import erasure
from comms_pipeline.ops.retention import provider_erasure_job
from comms_pipeline.resources.stores import StoresResource


# A schedule by the minute would fill Dagster's timeline.
@dg.sensor(
    name="provider_erasures",
    # By its name: a sensor that holds an op's job is copied, of which Dagster warns.
    job_name=provider_erasure_job.name,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has providers erase on their side whom we have erased on ours, as soon as it is due.",
)
def provider_erasures(stores: StoresResource) -> dg.RunRequest | dg.SkipReason:
    """A run only when something is due."""
    with stores.ledger() as ledger:
        _, due = erasure.provider_erasures_waiting(ledger)
    return dg.RunRequest() if due else dg.SkipReason("no erasure is due")

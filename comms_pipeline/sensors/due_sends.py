"""`due_sends`: watches the ledger for sends whose time has come. Decides nothing; asks and requests."""

from datetime import timedelta

import dagster as dg

from comms_pipeline.jobs import send_campaign
from comms_pipeline.ledger import operations, sends
from comms_pipeline.partitions import SENDS
from comms_pipeline.planning.occurrences import add_due_occurrences
from comms_pipeline.resources.stores import StoresResource

AHEAD_SECONDS = 30.0
"""A run starts and plans in less, also on a busy machine; its messages wait for their time."""


@dg.sensor(
    name="due_sends",
    job=send_campaign,
    minimum_interval_seconds=2,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Adds the occurrences of recurring campaigns as they fall due, and requests a run for every send "
    "that is due or has work left. Asking twice is harmless: the ledger sends once.",
)
def due_sends(stores: StoresResource) -> dg.SensorResult:
    """Add the partition and request the run, together.

    Dagster looks every five seconds, whatever smaller interval is asked for.
    """
    with stores.ledger() as ledger, ledger.transaction():
        add_due_occurrences(ledger, stores.now() + timedelta(seconds=AHEAD_SECONDS))
        due = sends.request_due_sends(ledger) + operations.request_coming_sends(ledger, AHEAD_SECONDS)
    if not due:
        return dg.SensorResult(skip_reason="no send is due")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{send_id}:{requested_at.isoformat()}", partition_key=send_id, tags={"send": send_id}
            )
            for send_id, requested_at in due
        ],
        dynamic_partitions_requests=[SENDS.build_add_request([send_id for send_id, _ in due])],
    )

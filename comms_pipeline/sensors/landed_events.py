"""`landed_events`: watches for what the lake does not hold yet, and for what its models do not know yet."""

import dagster as dg

from comms_pipeline.jobs import load_events
from comms_pipeline.loader.following import is_waiting, read_marks
from comms_pipeline.loader.watermarks import Mark, newest_model_mark, read_mark
from comms_pipeline.resources.stores import StoresResource


@dg.sensor(
    name="landed_events",
    job=load_events,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests a load when webhooks or outcomes have landed that the lake does not hold yet, or when the "
    "loader brought some that scores and marts do not know yet.",
)
def landed_events(stores: StoresResource) -> dg.RunRequest | dg.SkipReason:
    """One run per position of the marks: a load that is under way is not asked for again."""
    marks = read_marks(stores)
    with stores.lake.reader() as cursor:
        loaded, known = read_mark(cursor, Mark.LOADS), newest_model_mark(cursor)
    if known >= loaded and not is_waiting(stores, marks):
        return dg.SkipReason("nothing has landed or was loaded since the last run")
    # A load that failed leaves the marks where they were: after ten minutes it is asked for again.
    minutes = int(stores.now().timestamp()) // 600
    position = "-".join(f"{mark.xact}.{mark.last_id}" for mark in marks.values())
    return dg.RunRequest(run_key=f"{position}-{loaded}-{minutes}")

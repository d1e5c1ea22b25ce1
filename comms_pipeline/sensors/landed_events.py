"""`landed_events`: watches the ledger's feeds for what the lake does not hold yet."""

import dagster as dg

from comms_pipeline.jobs import load_events
from comms_pipeline.ledger import feeds
from comms_pipeline.ledger.feeds import Feed
from comms_pipeline.loader.watermarks import read_watermark
from comms_pipeline.resources.stores import StoresResource


@dg.sensor(
    name="landed_events",
    job=load_events,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests a load when webhooks or outcomes have landed that the lake does not hold yet.",
)
def landed_events(stores: StoresResource) -> dg.RunRequest | dg.SkipReason:
    """One run per position of the watermarks: a load that is under way is not asked for again."""
    with stores.ledger() as ledger, stores.lake.reader() as cursor:
        marks = {feed: read_watermark(cursor, feed) for feed in Feed}
        waiting = {feed: feeds.waiting(ledger, feed, mark) for feed, mark in marks.items()}
    if not any(waiting.values()):
        return dg.SkipReason("nothing has landed since the last load")
    # A load that failed leaves the watermarks where they were: after ten minutes it is asked for again.
    minutes = int(stores.now().timestamp()) // 600
    position = "-".join(f"{mark.xact}.{mark.last_id}" for mark in marks.values())
    return dg.RunRequest(run_key=f"{position}-{minutes}")

"""Schedules: what runs by the clock. Campaigns' own schedules are data: the `due_sends` sensor runs them."""

from collections.abc import Iterator

import dagster as dg

from comms_pipeline.jobs import load_events, refresh_report, write_digests
from comms_pipeline.ledger import sends
from comms_pipeline.ops.maintenance import maintenance_job
from comms_pipeline.ops.retention import retention_job
from comms_pipeline.resources.stores import StoresResource

_RECENT = 200

nightly_marts = dg.ScheduleDefinition(
    name="nightly_marts",
    job=load_events,
    cron_schedule="30 1 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Refresh events, scores and marts every night, whatever the sensors did by day.",
)


@dg.schedule(
    name="nightly_reports",
    job=refresh_report,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Write the reports of recent sends anew: late events change them.",
)
def nightly_reports(context: dg.ScheduleEvaluationContext, stores: StoresResource) -> Iterator[dg.RunRequest]:
    """One run per recent send that was begun."""
    day = context.scheduled_execution_time.date().isoformat()
    with stores.ledger() as ledger:
        recent = [send.send_id for send in sends.sends(ledger, _RECENT) if send.status in {"sending", "sent"}]
    known = set(context.instance.get_dynamic_partitions("sends"))
    for send_id in recent:
        if send_id in known:
            yield dg.RunRequest(run_key=f"{send_id}:{day}", partition_key=send_id)


weekly_digests = dg.ScheduleDefinition(
    name="weekly_digests",
    job=write_digests,
    cron_schedule="0 5 * * 1",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Write each organisation's digest of the week that is over: Mondays at 05:00 UTC.",
)

weekly_maintenance = dg.ScheduleDefinition(
    name="weekly_maintenance",
    job=maintenance_job,
    cron_schedule="0 3 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Housekeeping in the quiet hours: Sundays at 03:00 UTC.",
)

daily_retention = dg.ScheduleDefinition(
    name="daily_retention",
    job=retention_job,
    cron_schedule="0 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Delete personal data whose term is over.",
)


SCHEDULES = [nightly_marts, nightly_reports, weekly_digests, weekly_maintenance, daily_retention]

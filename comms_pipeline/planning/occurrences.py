"""When campaigns are due: turns their schedules into sends. The clock comes in as an argument."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import psycopg
from cronsim import CronSim

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.errors import InvalidCampaign
from comms_pipeline.domain.schedule import Recurring
from comms_pipeline.ledger import sends
from comms_pipeline.ledger.sends import CampaignVersion

_OCCURRENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")


def send_id_of(campaign_id: str, occurrence: str = "") -> str:
    """A campaign that runs once has one send, named like it; every further occurrence has a name of its own.

    Raises `InvalidCampaign` for a name that is no id: it becomes a partition and a file's name.
    """
    if occurrence and not _OCCURRENCE.fullmatch(occurrence):
        raise InvalidCampaign(
            "--occurrence", f"'{occurrence[:80]}' is no id", "Use letters, digits and '-', at most 63"
        )
    return f"{campaign_id}--{occurrence}" if occurrence else campaign_id


def last_due(schedule: Recurring, after: datetime, now: datetime) -> datetime | None:
    """The latest occurrence in (after, now]; None if there was none.

    After a long outage only the latest is made up for: nobody wants last week's reminders at once.
    """
    occurrences = CronSim(schedule.cron, after.astimezone(ZoneInfo(schedule.time_zone)))
    found = None
    for occurrence in occurrences:
        if occurrence > now:
            break
        found = occurrence
    return found


def add_due_occurrences(connection: psycopg.Connection, now: datetime) -> list[str]:
    """Add a send for every recurring campaign whose next occurrence has come; returns the new send ids."""
    added = []
    for campaign in sends.campaigns(connection):
        schedule = CampaignSpec.model_validate(campaign.spec).schedule
        if isinstance(schedule, Recurring):
            since = sends.last_occurrence(connection, campaign.campaign_id) or campaign.applied_at
            due_at = last_due(schedule, since, now)
            if due_at is not None:
                # In UTC: when clocks go back, two occurrences have the same local time.
                occurrence = due_at.astimezone(UTC).strftime("%Y%m%dT%H%MZ")
                send_id = send_id_of(campaign.campaign_id, occurrence)
                if _create(connection, campaign, send_id, due_at):
                    added.append(send_id)
    return added


def _create(
    connection: psycopg.Connection, campaign: CampaignVersion, send_id: str, due_at: datetime
) -> bool:
    return sends.create_send(
        connection,
        send_id=send_id,
        campaign_id=campaign.campaign_id,
        version=campaign.version,
        due_at=due_at,
    )

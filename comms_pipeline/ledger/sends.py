"""Organisations, campaign versions and sends. A send is one occurrence of a campaign. No batches here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.domain.tiers import Tier
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/sends.sql"


@dataclass(frozen=True, kw_only=True)
class Organisation:
    """Who sends: its name and postal address stand in every marketing message.

    `spec` is what else its file says (`domain.organisation.Organisation.rules`); {} for one without a file.
    """

    organisation_id: str
    name: str
    postal_address: str
    spec: dict[str, Any] = field(default_factory=dict)

    @property
    def topics(self) -> Mapping[str, str]:
        """Types of messages people may choose between, each with the name they see."""
        topics: Mapping[str, str] = self.spec.get("topics", {})
        return topics

    @property
    def tier(self) -> Tier:
        """How much it may send."""
        return Tier(self.spec.get("tier", Tier.UNLIMITED))


@dataclass(frozen=True, kw_only=True)
class CampaignVersion:
    """A campaign as it was applied; `spec` and `templates` never change once stored."""

    campaign_id: str
    version: int
    organisation_id: str
    digest: str
    spec: dict[str, Any]
    templates: dict[str, str]
    applied_at: datetime


@dataclass(frozen=True, kw_only=True)
class Send:
    """One occurrence of one campaign version; also one Dagster partition."""

    send_id: str
    campaign_id: str
    version: int
    due_at: datetime
    status: str
    requested_run_at: datetime | None
    created_at: datetime
    completed_at: datetime | None
    status_reason: str | None = None


def put_organisation(connection: psycopg.Connection, organisation: Organisation) -> None:
    """Create the organisation, or update all that is known of it."""
    parameters = vars(organisation) | {"spec": Jsonb(organisation.spec)}
    connection.execute(named_queries(_SQL)["put_organisation"], parameters)


def get_organisation(connection: psycopg.Connection, organisation_id: str) -> Organisation:
    """Raises `NotFound` for an unknown id."""
    with connection.cursor(row_factory=class_row(Organisation)) as cursor:
        cursor.execute(named_queries(_SQL)["organisation"], {"organisation_id": organisation_id})
        found = cursor.fetchone()
    if found is None:
        raise NotFound(
            f"organisation {organisation_id}",
            "it is not known",
            "Apply a folder whose organisation.yaml has this id",
        )
    return found


def apply_campaign(
    connection: psycopg.Connection,
    *,
    campaign_id: str,
    organisation_id: str,
    digest: str,
    spec: dict[str, Any],
    templates: dict[str, str],
) -> tuple[int, bool]:
    """Store a campaign version; returns (version, whether it is new). The latest content applied again adds none."""
    # One apply at a time per campaign: two would otherwise number the same version.
    connection.execute("select pg_advisory_xact_lock(hashtext(%s))", (campaign_id,))
    latest = connection.execute(
        named_queries(_SQL)["latest_version"], {"campaign_id": campaign_id}
    ).fetchone()
    if latest and latest[1] == digest:
        return latest[0], False
    version = latest[0] + 1 if latest else 1
    connection.execute(
        named_queries(_SQL)["put_version"],
        {
            "campaign_id": campaign_id,
            "version": version,
            "organisation_id": organisation_id,
            "digest": digest,
            "spec": Jsonb(spec),
            "templates": Jsonb(templates),
        },
    )
    return version, True


def get_campaign(
    connection: psycopg.Connection, campaign_id: str, version: int | None = None
) -> CampaignVersion:
    """One version of a campaign, by default the latest. Raises `NotFound`."""
    with connection.cursor(row_factory=class_row(CampaignVersion)) as cursor:
        cursor.execute(named_queries(_SQL)["campaign"], {"campaign_id": campaign_id, "version": version})
        found = cursor.fetchone()
    if found is None:
        raise NotFound(f"campaign {campaign_id}", "it has not been applied", "See `comms campaigns list`")
    return found


def campaigns(connection: psycopg.Connection) -> list[CampaignVersion]:
    """The latest version of every campaign, by id."""
    with connection.cursor(row_factory=class_row(CampaignVersion)) as cursor:
        cursor.execute(named_queries(_SQL)["campaigns"])
        return cursor.fetchall()


def create_send(
    connection: psycopg.Connection,
    *,
    send_id: str,
    campaign_id: str,
    version: int,
    due_at: datetime,
    requested_run_at: datetime | None = None,
) -> bool:
    """Add a send, or move one that has not begun to this version and time; `False` if nothing changed.

    `requested_run_at` says that its run has been asked for already, by whoever creates it.
    """
    parameters = {
        "send_id": send_id,
        "campaign_id": campaign_id,
        "version": version,
        "due_at": due_at,
        "requested_run_at": requested_run_at,
    }
    return connection.execute(named_queries(_SQL)["create_send"], parameters).fetchone() is not None


def get_send(connection: psycopg.Connection, send_id: str) -> Send:
    """Raises `NotFound` for an unknown id."""
    with connection.cursor(row_factory=class_row(Send)) as cursor:
        cursor.execute(named_queries(_SQL)["send"], {"send_id": send_id})
        found = cursor.fetchone()
    if found is None:
        raise NotFound(f"send {send_id}", "it does not exist", "See `comms status`")
    return found


def sends(connection: psycopg.Connection, limit: int = 50) -> list[Send]:
    """The newest sends first."""
    with connection.cursor(row_factory=class_row(Send)) as cursor:
        cursor.execute(named_queries(_SQL)["sends"], {"limit": limit})
        return cursor.fetchall()


def request_due_sends(connection: psycopg.Connection) -> list[tuple[str, datetime]]:
    """Mark the sends that need a run now and return (send id, time of the request), each to one caller only."""
    return [(row[0], row[1]) for row in connection.execute(named_queries(_SQL)["request_due_sends"])]


def start_send(connection: psycopg.Connection, send_id: str) -> bool:
    """Open a send for dispatch (again, if its plan was topped up); `False` if it is paused, failed or cancelled."""
    return connection.execute(named_queries(_SQL)["start_send"], {"send_id": send_id}).fetchone() is not None


def complete_send(connection: psycopg.Connection, send_id: str) -> bool:
    """Close a send with nothing waiting and nothing in doubt; `False` if something is."""
    return (
        connection.execute(named_queries(_SQL)["complete_send"], {"send_id": send_id}).fetchone() is not None
    )


def last_occurrence(connection: psycopg.Connection, campaign_id: str) -> datetime | None:
    """When the latest send of a campaign was or is due."""
    row = connection.execute(named_queries(_SQL)["last_occurrence"], {"campaign_id": campaign_id}).fetchone()
    return row[0] if row else None

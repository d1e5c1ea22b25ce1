"""A send with everything its plan depends on, loaded once. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import psycopg

from comms_pipeline.audience.references import SavedSegment, references_of
from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.ledger import sends
from comms_pipeline.ledger.sends import CampaignVersion, Organisation, Send
from comms_pipeline.planning.occurrences import send_id_of
from comms_pipeline.planning.saved import saved_segments


@dataclass(frozen=True, kw_only=True)
class SendContext:
    """A send, the campaign version it runs, and who sends. `segments`: those saved for its audience to name."""

    send: Send
    spec: CampaignSpec
    organisation: Organisation
    templates: Mapping[str, str]
    segments: Mapping[str, SavedSegment] = field(default_factory=dict)

    @property
    def postal_address(self) -> str:
        """The campaign's own, else the organisation's."""
        return self.spec.postal_address or self.organisation.postal_address


def load_send(connection: psycopg.Connection, send_id: str) -> SendContext:
    """Raises `NotFound` when the send, or its campaign, does not exist."""
    send = sends.get_send(connection, send_id)
    return of_campaign(connection, send, sends.get_campaign(connection, send.campaign_id, send.version))


def of_campaign(connection: psycopg.Connection, send: Send, campaign: CampaignVersion) -> SendContext:
    """A send of a stored campaign version."""
    spec = CampaignSpec.model_validate(campaign.spec)
    organisation_id = campaign.organisation_id
    return SendContext(
        send=send,
        spec=spec,
        organisation=sends.get_organisation(connection, organisation_id),
        templates=campaign.templates,
        segments=saved_segments(connection, organisation_id) if references_of(spec.audience) else {},
    )


def of_campaign_now(connection: psycopg.Connection, campaign_id: str, now: datetime) -> SendContext:
    """A send of the campaign's latest version as if it were due now, which is never stored. Raises `NotFound`."""
    campaign = sends.get_campaign(connection, campaign_id)
    send = Send(
        send_id=send_id_of(campaign_id),
        campaign_id=campaign_id,
        version=campaign.version,
        due_at=now,
        status="scheduled",
        requested_run_at=None,
        created_at=now,
        completed_at=None,
    )
    return of_campaign(connection, send, campaign)

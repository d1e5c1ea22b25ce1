"""A send with everything its plan depends on, loaded once. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.ledger import sends
from comms_pipeline.ledger.sends import CampaignVersion, Organisation, Send


@dataclass(frozen=True, kw_only=True)
class SendContext:
    """A send, the campaign version it runs, and who sends."""

    send: Send
    spec: CampaignSpec
    organisation: Organisation
    templates: Mapping[str, str]

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
    return SendContext(
        send=send,
        spec=CampaignSpec.model_validate(campaign.spec),
        organisation=sends.get_organisation(connection, campaign.organisation_id),
        templates=campaign.templates,
    )

"""A contact's real values for a preview, exactly as a send would fill them in. Only reads; signs no link."""

from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.errors import NotFound
from comms_pipeline.ledger import sends
from comms_pipeline.ledger.sends import CampaignVersion, Organisation, Send
from comms_pipeline.planning.context import SendContext, of_campaign
from comms_pipeline.planning.variables import attribute_kinds, contact_values, template_frame
from comms_pipeline.previews.drafts import Draft
from comms_pipeline.previews.rendering import STAND_INS
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/previews.sql"
_LINKS = ("unsubscribe_url", "preferences_url", "confirm_url")


@dataclass(frozen=True, kw_only=True)
class Reader:
    """For whom drafts are rendered: a contact, and the campaign whose fallbacks fill its gaps."""

    contact_id: str
    context: SendContext

    def frame(self, stores: Stores, draft: Draft) -> pl.DataFrame:
        """The one row a send would render, with links that do nothing. Raises `TemplateError`, `NotFound`."""
        variables = draft.compiled.variables
        with stores.lake_read_only.reader() as cursor:
            kinds = attribute_kinds(cursor, self.context.organisation.organisation_id)
            values = contact_values(cursor, pl.Series("contact_id", [self.contact_id]), kinds, variables)
        nested = {name for name, kind in values.schema.items() if kind.is_nested()}
        own = self.context.spec.fallbacks
        # A gap in a list stays a gap: its fallback, a text, says only that there may be none.
        given = {name: value for name, value in draft.fallbacks.items() if name not in nested}
        spec = self.context.spec.model_copy(update={"fallbacks": {**given, **own}})
        context = replace(self.context, spec=spec)
        values = values.with_columns(pl.lit(STAND_INS[name]).alias(name) for name in _LINKS)
        frame = template_frame(values, context, variables, language=draft.language)
        missing = sorted(variables - set(frame.columns))
        if missing:
            raise NotFound(
                f"variable '{missing[0]}'",
                f"no contact has it, and {draft.name} reads it",
                "Import it, or name a --campaign whose fallbacks hold it",
            )
        return frame


def find_reader(stores: Stores, contact_id: str, campaign: CampaignVersion | None) -> Reader:
    """The contact as a reader of the campaign, or of its organisation's messages. Raises `NotFound`."""
    with stores.lake_read_only.reader() as cursor:
        row = cursor.execute(
            named_queries(_QUERIES)["organisation_of"], {"contact_id": contact_id}
        ).fetchone()
    if row is None or (campaign is not None and row[0] != campaign.organisation_id):
        raise NotFound(
            f"contact {contact_id}",
            "there is no such contact" if row is None else "it is another organisation's",
            'Look for one with `comms query "select contact_id from core.contacts limit 5"`',
        )
    with stores.ledger() as ledger:
        if campaign is not None:
            send = _unsent(campaign.campaign_id, campaign.version, stores.now())
            context = of_campaign(ledger, send, campaign)
        else:
            context = _without_campaign(sends.get_organisation(ledger, str(row[0])), stores.now())
    return Reader(contact_id=contact_id, context=context)


def _without_campaign(organisation: Organisation, now: datetime) -> SendContext:
    """What a message of the organisation is given when no campaign says more."""
    spec = CampaignSpec.model_validate(
        {
            "id": "preview",
            "organisation": organisation.organisation_id,
            "class": "transactional",
            "audience": {"everyone": True},
            "channels": ["sms"],
            "sender": {"from_email": "preview@example.com", "from_name": organisation.name},
            "templates": {"sms": {"text": "preview.txt"}},
        }
    )
    return SendContext(send=_unsent(spec.id, 1, now), spec=spec, organisation=organisation, templates={})


def _unsent(campaign_id: str, version: int, now: datetime) -> Send:
    """A send that is never stored."""
    return Send(
        send_id=campaign_id,
        campaign_id=campaign_id,
        version=version,
        due_at=now,
        status="scheduled",
        requested_run_at=None,
        created_at=now,
        completed_at=None,
    )

"""Applies campaign folders to the ledger: checked whole first, then stored in one transaction."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from comms_pipeline.campaign_files import CampaignFile, load_folder, load_segments
from comms_pipeline.domain.campaign import digest
from comms_pipeline.domain.errors import InvalidCampaign, NotFound, TemplateError
from comms_pipeline.domain.organisation import Organisation
from comms_pipeline.domain.schedule import Once
from comms_pipeline.domain.tiers import TIER_LIMITS, Tier
from comms_pipeline.ledger import caps, limits, sends
from comms_pipeline.planning.occurrences import send_id_of
from comms_pipeline.planning.segments import put_segments, require_saved
from comms_pipeline.planning.templates import TemplateProblems, compile_campaign
from comms_pipeline.stores import Stores


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What applying did to one campaign. `due`: when it will run by itself, in words."""

    campaign_id: str
    version: int
    is_new: bool
    due: str


def apply_folder(stores: Stores, folder: Path) -> list[Applied]:
    """Load, compile and store every campaign of a folder, and its saved segments first, all or none.

    A campaign with a time of its own gets its send. Raises `InvalidCampaignFiles` or `TemplateProblems` with the
    problems of every campaign.
    """
    loaded, saved = load_folder(folder), load_segments(folder)
    _require_compiling(loaded.campaigns)
    applied = []
    with stores.ledger() as ledger, ledger.transaction():
        if loaded.organisation is not None:
            _put_organisation(ledger, loaded.organisation)
        put_segments(ledger, saved, actor="apply")
        for campaign in loaded.campaigns:
            spec = campaign.spec
            require_saved(ledger, spec.organisation, spec.audience)
            version, is_new = sends.apply_campaign(
                ledger,
                campaign_id=spec.id,
                organisation_id=sends.get_organisation(ledger, spec.organisation).organisation_id,
                digest=digest(spec, campaign.templates),
                spec=spec.as_json(),
                templates=dict(campaign.templates),
            )
            if isinstance(spec.schedule, Once):
                sends.create_send(
                    ledger,
                    send_id=send_id_of(spec.id),
                    campaign_id=spec.id,
                    version=version,
                    due_at=spec.schedule.at,
                )
                due = f"{spec.schedule.at:%Y-%m-%d %H:%M %Z}"
            elif spec.schedule is not None:
                due = f"{spec.schedule.cron} {spec.schedule.time_zone}"
            else:
                due = "by hand"
            applied.append(Applied(campaign_id=spec.id, version=version, is_new=is_new, due=due))
    if not applied:
        raise InvalidCampaign(str(folder), "it holds no campaign", "Add a YAML file with an 'id:'")
    return applied


def _put_organisation(ledger: psycopg.Connection, organisation: Organisation) -> None:
    """Store what its file says, with its caps and the quotas of its tier."""
    previous = _stored_tier(ledger, organisation.id)
    sends.put_organisation(
        ledger,
        sends.Organisation(
            organisation_id=organisation.id,
            name=organisation.name,
            postal_address=organisation.postal_address,
            spec=organisation.rules(),
        ),
    )
    caps.put_caps(ledger, organisation.id, [each.cap for each in organisation.caps], actor="apply")
    # Without a tier, quotas that an operator has set by hand stay; those of an earlier tier go.
    if organisation.tier is not Tier.UNLIMITED or previous is not Tier.UNLIMITED:
        allowed = TIER_LIMITS[organisation.tier]
        scope = f"organisation:{organisation.id}"
        limits.put_quota(ledger, scope, "hour", allowed.per_hour)
        limits.put_quota(ledger, scope, "day", allowed.per_day)


def _stored_tier(ledger: psycopg.Connection, organisation_id: str) -> Tier:
    try:
        return sends.get_organisation(ledger, organisation_id).tier
    except NotFound:
        return Tier.UNLIMITED


def _require_compiling(campaigns: Iterable[CampaignFile]) -> None:
    problems: list[TemplateError] = []
    for campaign in campaigns:
        try:
            compile_campaign(campaign.spec, campaign.templates)
        except TemplateProblems as error:
            problems += error.problems
    if problems:
        raise TemplateProblems(problems)

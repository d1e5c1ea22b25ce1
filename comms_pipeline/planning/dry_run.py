"""A campaign's plan without its consequences: the real stages inside a lake transaction that is rolled back."""

from dataclasses import dataclass

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.ledger import sends
from comms_pipeline.ledger.sends import Send
from comms_pipeline.planning import stages
from comms_pipeline.planning.context import of_campaign
from comms_pipeline.planning.occurrences import send_id_of
from comms_pipeline.planning.stages import Planned
from comms_pipeline.stores import Stores


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a send would do now. `exclusions` are (rule, evidence, contacts)."""

    audience: int
    excluded: int
    planned: Planned
    exclusions: list[tuple[str, str, int]]


class _RolledBack(Exception):
    """Ends the transaction without a commit."""


def dry_run(stores: Stores, campaign_id: str) -> DryRun:
    """Plan the campaign's send as it would be planned now and throw the plan away.

    Raises what planning raises: `InvalidSegment`, `TemplateError`, `NotFound`.
    """
    send_id = send_id_of(campaign_id)
    now = stores.now()
    with stores.ledger() as ledger:
        campaign = sends.get_campaign(ledger, campaign_id)
        context = of_campaign(
            ledger,
            Send(
                send_id=send_id,
                campaign_id=campaign_id,
                version=campaign.version,
                due_at=now,
                status="scheduled",
                requested_run_at=None,
                created_at=now,
                completed_at=None,
            ),
            campaign,
        )
        result: DryRun | None = None
        try:
            with stores.lake.writer() as writer:
                stages.audience_into(writer, stores, context)
                stages.decisions_into(writer, ledger, stores, context)
                planned = stages.messages_into(writer, stores, context)
                funnel = stages.funnel(writer.cursor, send_id)
                result = DryRun(
                    audience=funnel.audience,
                    excluded=funnel.excluded,
                    planned=planned,
                    exclusions=[tuple(row) for row in stages.exclusions(writer.cursor, send_id).iter_rows()],
                )
                raise _RolledBack
        except _RolledBack:
            pass
    if result is None:
        raise CommsError(f"campaign {campaign_id}", "its plan was not made", "Try again")
    return result

"""The check of a whole campaign before it goes out: messages of a few real contacts, held against the rules.

Renders through `Rendering`, so that what is checked is what would be sent. Writes nothing, and says nothing about
single contacts; that is `eligibility`.
"""

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import polars as pl

from comms_pipeline.compliance.campaign_facts import CampaignFacts, Sample
from comms_pipeline.compliance.campaign_rules import CampaignCheck, check_facts, load_rule_book
from comms_pipeline.domain.campaign import Tracking
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.message import Channel, message_ids
from comms_pipeline.planning.audience import matching_contacts
from comms_pipeline.planning.context import SendContext, of_campaign_now
from comms_pipeline.planning.rendering import Keys, Rendered, Rendering
from comms_pipeline.planning.templates import check_variables, compile_campaign
from comms_pipeline.planning.variables import OWN_COLUMNS
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

QUERIES = "lake/queries/campaign_check.sql"
SAMPLES = 5
"""Contacts for whom each message is rendered: enough for branches to show, few enough to be instant."""


class NotSendable(CommsError):
    """A campaign breaks a rule that stops every message of it."""


def check_campaign(
    stores: Stores, campaign: SendContext | str, *, audience_size: int | None = None
) -> CampaignCheck:
    """Check a campaign by its id, with whom it means now; or a send, with the audience that is written for it.

    `audience_size` stands in for the number of contacts in that audience. Raises what planning raises: `NotFound`,
    `InvalidSegment`, `TemplateError`.
    """
    if isinstance(campaign, str):
        with stores.ledger() as ledger:
            context = of_campaign_now(ledger, campaign, stores.now())
    else:
        context = campaign
    with stores.lake.reader() as cursor:
        if isinstance(campaign, str):
            audience = matching_contacts(cursor, stores, context)
        else:
            parameters = {"send_id": context.send.send_id}
            audience = cursor.execute(named_queries(QUERIES)["audience_of_send"], parameters).pl()
        return check_audience(cursor, stores, context, audience, audience_size=audience_size)


def check_audience(
    cursor: duckdb.DuckDBPyConnection,
    stores: Stores,
    context: SendContext,
    audience: pl.DataFrame,
    *,
    audience_size: int | None = None,
) -> CampaignCheck:
    """Check a campaign for an audience (`contact_id`), within an open transaction if you like."""
    # Links as written, not by way of us: what they show and where they lead is what is judged.
    spec = context.spec.model_copy(update={"tracking": Tracking.NONE})
    keys = Keys(secret=stores.secret, tokens=stores.token_keys, public_url=stores.settings.public_url)
    compiled = compile_campaign(spec, context.templates)
    with Rendering(cursor, replace(context, spec=spec), compiled, keys) as rendering:
        samples = tuple(_samples(cursor, rendering, audience))
        one_click = frozenset(channel for channel in spec.channels if rendering.has_one_click(channel))
    facts = CampaignFacts(
        message_class=spec.message_class,
        channels=spec.channels,
        is_adult=spec.adult,
        from_email=spec.sender.from_email,
        from_name=spec.sender.from_name,
        organisation_name=context.organisation.name,
        postal_address=context.postal_address,
        public_url=keys.public_url,
        one_click=one_click,
        audience_size=audience.height if audience_size is None else audience_size,
        tier=context.organisation.tier,
        samples=samples,
    )
    return check_facts(facts, load_rule_book())


def require_sendable(check: CampaignCheck, campaign_id: str) -> None:
    """Raises `NotSendable` naming the first blocking item, its rule and what mends it."""
    for item in check.blocking:
        rule = item.rule
        raise NotSendable(
            f"campaign {campaign_id}",
            f"{item.found} (rule {rule.id} v{rule.version}, {rule.source})",
            rule.fix,
        )


def _samples(
    cursor: duckdb.DuckDBPyConnection, rendering: Rendering, audience: pl.DataFrame
) -> Iterator[Sample]:
    """Every message of the campaign for a few contacts that its channel reaches."""
    reachable = {
        channel: _reachable(cursor, audience, channel) for channel in rendering.context.spec.channels
    }
    if any(len(contacts) for contacts in reachable.values()):
        spec, known = rendering.context.spec, OWN_COLUMNS.union(rendering.kinds)
        check_variables(spec, rendering.compiled, known)
    for key in rendering.compiled.messages:
        contact_ids = reachable[key[0]]
        if len(contact_ids):
            ids = message_ids(rendering.context.send.send_id, contact_ids.to_list(), key[0])
            contacts = pl.DataFrame({"contact_id": contact_ids, "message_id": ids})
            yield from _samples_of(rendering, rendering.render(key, contacts))


def _reachable(cursor: duckdb.DuckDBPyConnection, audience: pl.DataFrame, channel: Channel) -> pl.Series:
    cursor.register("wanted_contacts", audience.to_arrow())
    parameters = {"channel": str(channel), "size": SAMPLES}
    found = cursor.execute(named_queries(QUERIES)["reachable"], parameters).pl()
    cursor.unregister("wanted_contacts")
    return found["contact_id"].cast(pl.String)


def _samples_of(rendering: Rendering, rendered: Rendered) -> Iterator[Sample]:
    channel, variant, language = rendered.key
    has_languages = len(rendering.context.spec.languages) > 1
    opt_outs = [
        rendered.values[name] for name in ("unsubscribe_url", "preferences_url") if name in rendered.values
    ]
    for group in rendered.groups:
        parts = {part: group.join(part).to_list() for part in group.parts}
        for position, row in enumerate(group.rows.to_list()):
            said = {part: str(texts[position]) for part, texts in parts.items()}
            yield Sample(
                channel=channel,
                variant=variant,
                language=language if has_languages else "",
                subject=said.pop("subject", ""),
                html=said.pop("html", ""),
                # A Content template's own words are the provider's; what fills it is ours.
                text="\n".join(said.values()),
                opt_out_urls=tuple(str(urls[row]) for urls in opt_outs),
            )

"""A campaign's plan without its consequences: the real stages inside a lake transaction that is rolled back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl
import psycopg

from comms_pipeline.compliance.campaign_rules import CampaignCheck
from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.dispatch import warm_up
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.hours import Hours
from comms_pipeline.domain.tiers import TIER_LIMITS, Tier
from comms_pipeline.domain.zones import zone
from comms_pipeline.ledger import limits
from comms_pipeline.planning import campaign_check, stages
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.planning.context import SendContext, of_campaign_now
from comms_pipeline.planning.costs import LaneCost, costs_of
from comms_pipeline.planning.forecast import Allowance, Forecast, Period, Wave, forecast
from comms_pipeline.planning.remedies import CAPS
from comms_pipeline.planning.stages import Planned
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/dry_run.sql"
_ONE_EACH = frozenset({"twilio", "smtp"})
"""Providers that take one message per request; the others take a batch."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Later:
    """Messages that go later than the send begins, by their recipients' clock (`hour`, naive, full).

    `deferred`: of these, because of hours at which they may not go; the others for their own best time.
    """

    hour: datetime
    messages: int
    deferred: int


@dataclass(frozen=True, kw_only=True)
class Through:
    """One limit, and when the last message would go if there were no other."""

    allowance: Allowance
    finish_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a send would do now.

    `exclusions` are (rule, evidence, contacts). `messages` has `channel`, `lane`, `variant`, `language`, `messages`,
    `segments`. `capped` counts contacts who get nothing because of a cap, among other reasons perhaps.
    `most_recipients` is what the organisation's tier allows a campaign; None is no limit. `check` is the campaign's
    own compliance check.
    """

    audience: int
    excluded: int
    planned: Planned
    exclusions: list[tuple[str, str, int]]
    messages: pl.DataFrame
    later: list[Later]
    costs: list[LaneCost]
    capped: int
    tier: Tier
    most_recipients: int | None
    through: list[Through]
    forecast: Forecast
    check: CampaignCheck


class _RolledBack(Exception):
    """Ends the transaction without a commit."""


def dry_run(stores: Stores, campaign_id: str) -> DryRun:
    """Plan the campaign's send as it would be planned now and throw the plan away.

    Raises what planning raises: `InvalidSegment`, `TemplateError`, `NotFound`.
    """
    result: DryRun | None = None
    with stores.ledger() as ledger:
        context = of_campaign_now(ledger, campaign_id, stores.now())
        try:
            with stores.lake.writer() as writer:
                send_id = context.send.send_id
                stages.audience_into(writer, stores, context)
                stages.decisions_into(writer, ledger, stores, context)
                row = writer.cursor.execute(
                    named_queries(QUERIES)["next_generation"], {"send_id": send_id}
                ).fetchone()
                planned = stages.messages_into(writer, stores, context)
                result = _result(writer.cursor, ledger, stores, context, planned, row[0] if row else 0)
                raise _RolledBack
        except _RolledBack:
            pass
    if result is None:
        raise CommsError(f"campaign {campaign_id}", "its plan was not made", "Try again")
    return result


def _result(
    cursor: duckdb.DuckDBPyConnection,
    ledger: psycopg.Connection,
    stores: Stores,
    context: SendContext,
    planned: Planned,
    generation: int,
) -> DryRun:
    # Planning took its time: what is due at once is due now.
    send_id, start = context.send.send_id, stores.now()
    new = {"send_id": send_id, "generation": generation}
    messages = cursor.execute(named_queries(_QUERIES)["messages"], new).pl()
    waves = [
        Wave(**row)
        for row in cursor.execute(named_queries(_QUERIES)["waves"], new).pl().iter_rows(named=True)
    ]
    lanes = messages["lane"].unique().sort().to_list()
    rates = _rates(stores, context, lanes)
    allowances = _allowances(ledger, stores, context, lanes)
    funnel = stages.funnel(cursor, send_id)
    return DryRun(
        audience=funnel.audience,
        excluded=funnel.excluded,
        planned=planned,
        exclusions=[tuple(row) for row in stages.exclusions(cursor, send_id).iter_rows()],
        messages=messages,
        later=_later(cursor.execute(named_queries(_QUERIES)["later"], {**new, "start": start}).pl()),
        costs=costs_of(messages, stores.settings.prices),
        capped=_capped(cursor, send_id),
        tier=context.organisation.tier,
        most_recipients=TIER_LIMITS[context.organisation.tier].recipients,
        through=[
            Through(
                allowance=each,
                finish_at=forecast(waves, start=start, per_second={}, allowances=[each]).finish_at,
            )
            for each in allowances
        ],
        forecast=forecast(waves, start=start, per_second=rates, allowances=allowances),
        check=_check(cursor, stores, context),
    )


def _check(cursor: duckdb.DuckDBPyConnection, stores: Stores, context: SendContext) -> CampaignCheck:
    audience = cursor.execute(
        named_queries(campaign_check.QUERIES)["audience_of_send"], {"send_id": context.send.send_id}
    ).pl()
    return campaign_check.check_audience(cursor, stores, context, audience)


def _capped(cursor: duckdb.DuckDBPyConnection, send_id: str) -> int:
    rules = [rule.id for rule in load_rules() if type(rule.check) in CAPS]
    row = cursor.execute(
        named_queries(_QUERIES)["excluded_by"], {"send_id": send_id, "rules": rules}
    ).fetchone()
    return int(row[0]) if row else 0


def _later(groups: pl.DataFrame) -> list[Later]:
    """By full hours of the recipients' clocks: the first zone of their hours, UTC where any time will do."""
    found: dict[datetime, tuple[int, int]] = {}
    for hours, due_at, messages, deferred in groups.iter_rows():
        clock = zone(Hours.parse(hours).zones[0]) if hours is not None else UTC
        local = due_at.astimezone(clock).replace(minute=0, second=0, microsecond=0, tzinfo=None)
        before = found.get(local, (0, 0))
        found[local] = (before[0] + messages, before[1] + deferred)
    return [
        Later(hour=hour, messages=messages, deferred=deferred)
        for hour, (messages, deferred) in sorted(found.items())
    ]


def _rates(stores: Stores, context: SendContext, lanes: Sequence[str]) -> dict[str, float]:
    """Messages a second, of the lanes that have a limit."""
    rates = {}
    for lane in lanes:
        rate = stores.providers.rate(lane)
        if rate is None:
            continue
        batch = min(stores.providers.for_lane(lane).limits.batch_size, context.spec.batch_size)
        rates[lane] = rate.per_second * (1 if lane.partition(":")[2] in _ONE_EACH else batch)
    return rates


def _allowances(
    ledger: psycopg.Connection, stores: Stores, context: SendContext, lanes: Sequence[str]
) -> list[Allowance]:
    """The quotas of the organisation (its tier's among them) and of the lanes, and the warm-ups of the lanes."""
    own = {f"organisation:{context.organisation.organisation_id}": None}
    scopes: dict[str, str | None] = {**own, **{f"lane:{lane}": lane for lane in lanes}}
    quotas = limits.quotas(ledger)
    found = [
        Allowance(
            name=quota.scope,
            period=Period(quota.period),
            allowed=quota.allowed,
            used=quota.used,
            lane=scopes[quota.scope],
        )
        for quota in quotas
        if quota.scope in scopes
    ]
    used = {quota.scope: quota.used for quota in quotas}
    today = context.send.due_at.astimezone(UTC).date()
    for lane in lanes:
        start = stores.settings.warm_up.get(lane)
        allowed = warm_up.cap_on(today, start) if start else None
        if start is None or allowed is None:
            continue
        rising, day = [], today + _DAY
        while (cap := warm_up.cap_on(day, start)) is not None:
            rising.append(cap)
            day += _DAY
        found.append(
            Allowance(
                name=warm_up.scope(lane),
                period=Period.DAY,
                allowed=allowed,
                used=used.get(warm_up.scope(lane), 0),
                lane=lane,
                rising=tuple(rising),
            )
        )
    return found

"""Who may be reached: gathers the facts, runs the rules, keeps what was decided before."""

from datetime import datetime

import duckdb
import polars as pl
import psycopg

from comms_pipeline.compliance.decide import decide
from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import suppressions
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.planning.choices import is_held_out
from comms_pipeline.sqlfiles import named_queries

ADDRESS_COLUMN = {Channel.EMAIL: "email", Channel.SMS: "phone", Channel.WHATSAPP: "phone"}


def decisions_of(
    cursor: duckdb.DuckDBPyConnection,
    ledger: psycopg.Connection,
    spec: CampaignSpec,
    send_id: str,
    *,
    secret: bytes,
    now: datetime,
) -> pl.DataFrame:
    """Rows of `campaign.decisions` for a send: one per contact of its audience and channel of its campaign."""
    parameters = {"send_id": send_id}
    facts = cursor.execute(named_queries(QUERIES)["eligibility_facts"], parameters).pl()
    kept = cursor.execute(named_queries(QUERIES)["decisions_kept"], parameters).pl()
    fresh = [_decide_channel(facts, ledger, spec, channel, secret) for channel in spec.channels]
    # pl() gives DuckDB's own name of the zone; one spelling is enough.
    kept = kept.with_columns(pl.col("decided_at").dt.convert_time_zone("UTC"))
    dated = (frame.with_columns(decided_at=pl.lit(now)) for frame in fresh)
    return pl.concat([kept, *dated], how="diagonal_relaxed").with_columns(send_id=pl.lit(send_id))


def _decide_channel(
    facts: pl.DataFrame, ledger: psycopg.Connection, spec: CampaignSpec, channel: Channel, secret: bytes
) -> pl.DataFrame:
    """Decisions for those who are not planned yet; those who are count as holders of their address."""
    held_out = is_held_out(facts["contact_id"], spec.id, spec.holdout)
    contacts = facts.select(
        "contact_id",
        "consent_source",
        "is_planned",
        address=pl.col(ADDRESS_COLUMN[channel]),
        holdout=pl.when(pl.lit(held_out)).then(pl.lit(f"{spec.holdout * 100:g} %")),
        # Of those who share an address, the planned one keeps it, else one whom we may write to.
        precedence=pl.when("is_planned")
        .then(0)
        .when(pl.col("consent_source").is_not_null())
        .then(1)
        .otherwise(2),
    ).with_columns(address_key=address_keys(facts[ADDRESS_COLUMN[channel]], channel, secret))
    keys = contacts["address_key"].drop_nulls().unique().to_list()
    reasons = suppressions.reasons(ledger, spec.organisation, channel, keys)
    contacts = contacts.with_columns(
        suppression_reason=pl.col("address_key").replace_strict(
            list(reasons), list(reasons.values()), default=None, return_dtype=pl.String
        )
        if reasons
        else pl.lit(None, pl.String)
    )
    decided = decide(contacts, load_rules(), channel=channel, message_class=spec.message_class)
    return decided.filter(~contacts["is_planned"])

"""Who may be reached: runs the rules over the facts of an audience, slice by slice. Who is planned stays decided."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

import duckdb
import polars as pl
import psycopg

from comms_pipeline.compliance.decide import decide
from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import caps
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.facts import Facts


def decisions_of(
    cursor: duckdb.DuckDBPyConnection,
    ledger: psycopg.Connection,
    context: SendContext,
    *,
    secret: bytes,
    now: datetime,
) -> Iterator[pl.DataFrame]:
    """Rows of `campaign.decisions` for whoever of the audience is not planned yet: one per contact and channel.

    In slices; the cursor is busy until the last one is read.
    """
    spec = context.spec
    at = max(context.send.due_at, now)
    organisation_caps = caps.caps_of(ledger, context.organisation.organisation_id)
    rules = load_rules()
    facts = Facts(cursor, ledger, context, secret=secret, at=at)

    def decided(contacts: pl.DataFrame, channel: Channel) -> pl.DataFrame:
        decisions = decide(
            facts.of_channel(contacts, channel),
            rules,
            channel=channel,
            message_class=spec.message_class,
            topic=spec.topic,
            at=at,
            caps=organisation_caps,
            hours=spec.hours,
        )
        return decisions.with_columns(send_id=pl.lit(context.send.send_id), decided_at=pl.lit(now))

    # A channel each: columns are computed outside the interpreter's lock.
    with ThreadPoolExecutor(len(spec.channels)) as channels:
        for contacts in facts.slices():
            yield from channels.map(partial(decided, contacts), spec.channels)

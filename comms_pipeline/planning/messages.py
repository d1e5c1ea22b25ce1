"""The plan of a send: who gets what, when, through what. One message per contact; ids only, no content."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from comms_pipeline.domain.message import Channel, message_ids
from comms_pipeline.domain.sms import segments_expr
from comms_pipeline.personalization.message import CompiledMessage
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.planning.choices import variant_column
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.templates import CompiledCampaign, check_blanks, check_variables
from comms_pipeline.planning.variables import (
    OWN_COLUMNS,
    attribute_kinds,
    contact_values,
    coverage,
    template_frame,
)
from comms_pipeline.providers.registry import Providers
from comms_pipeline.sqlfiles import named_queries

SLICE = 50_000
"""Contacts rendered at a time: what bounds memory, whatever the size of the audience."""
_UNSUBSCRIBE_LENGTH = "https://example.org/u/" + "x" * 120


def plan_messages(
    cursor: duckdb.DuckDBPyConnection,
    context: SendContext,
    compiled: CompiledCampaign,
    providers: Providers,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Rows of `campaign.messages` for allowed contacts whom the plan lacks: a new generation of the plan.

    A contact gets one message, on the first of the campaign's channels it is allowed on. Templates are
    checked against the contacts and rendered once here, so that a bad one fails before anything is queued.
    Raises `TemplateError`, `ProviderMisconfigured`.
    """
    send_id = context.send.send_id
    contacts = cursor.execute(named_queries(QUERIES)["plannable"], {"send_id": send_id}).pl()
    generation = cursor.execute(named_queries(QUERIES)["next_generation"], {"send_id": send_id}).fetchone()
    chosen = pl.coalesce(
        pl.when(pl.col("channels").list.contains(str(channel))).then(pl.lit(str(channel)))
        for channel in context.spec.channels
    )
    contacts = contacts.select(
        "contact_id",
        "language",
        pl.col("engagement_score").fill_null(0.0),
        channel=chosen,
        variant=variant_column(contacts["contact_id"], context.spec.id, context.spec.variants),
    )
    if contacts.is_empty():
        return _empty()
    kinds = attribute_kinds(cursor, context.organisation.organisation_id)
    check_variables(context.spec, compiled, OWN_COLUMNS.union(kinds))
    planned = [_plan_slice(cursor, context, compiled, kinds, part) for part in contacts.iter_slices(SLICE)]
    lanes = {
        str(channel): providers.lane_for(channel)
        for channel in context.spec.channels
        if (contacts["channel"] == str(channel)).any()
    }
    return pl.concat(planned).select(
        send_id=pl.lit(send_id),
        generation=pl.lit(generation[0] if generation else 0, pl.Int32),
        message_id="message_id",
        contact_id="contact_id",
        channel="channel",
        lane=pl.col("channel").replace_strict(lanes, return_dtype=pl.String),
        variant="variant",
        language="language",
        score="score",
        segments="segments",
        due_at=pl.lit(max(context.send.due_at, now)),
        planned_at=pl.lit(now),
    )


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema={"message_id": pl.String, "contact_id": pl.String, "channel": pl.String})


def _plan_slice(
    cursor: duckdb.DuckDBPyConnection,
    context: SendContext,
    compiled: CompiledCampaign,
    kinds: Mapping[str, Any],
    contacts: pl.DataFrame,
) -> pl.DataFrame:
    """`_plan_group` of every channel and variant."""
    parts = []
    groups = contacts.partition_by("channel", "variant", as_dict=True, maintain_order=True)
    for (channel, variant), group in groups.items():
        message = compiled.messages[Channel(str(channel)), str(variant)]
        values = contact_values(cursor, group["contact_id"], kinds, message.variables)
        parts.append(_plan_group(context, message, Channel(str(channel)), group, values))
    return pl.concat(parts)


def _plan_group(
    context: SendContext,
    message: CompiledMessage,
    channel: Channel,
    group: pl.DataFrame,
    values: pl.DataFrame,
) -> pl.DataFrame:
    """Ids, score and segments of the contacts of one channel and variant, whose `values` are in the same order."""
    # Half of the score is what we can say to a person, half is how much they have listened so far.
    score = values.select(
        0.5 * coverage(values, message.variables) + 0.5 * pl.lit(group["engagement_score"])
    ).to_series()
    frame = template_frame(
        values.with_columns(unsubscribe_url=pl.lit(_UNSUBSCRIBE_LENGTH)), context, message.variables
    )
    segments = pl.repeat(None, group.height, dtype=pl.Int32, eager=True)
    rendered = message.evaluate(frame)
    check_blanks(context.spec, message, frame, rendered)
    if channel is Channel.SMS:
        texts = pl.concat(
            pl.DataFrame({"row": part.rows, "text": part.join("text")}) for part in rendered
        ).sort("row")
        segments = texts.select(segments_expr(pl.col("text")).cast(pl.Int32))["text"]
    return group.select(
        "contact_id",
        "channel",
        "variant",
        "language",
        score=score,
        message_id=pl.Series(message_ids(context.send.send_id, group["contact_id"].to_list(), channel)),
    ).with_columns(segments=segments)

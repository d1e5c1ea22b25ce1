"""The plan of a send: who gets what, when, through what. One message per contact; ids only, no content."""

from collections.abc import Iterator
from datetime import datetime

import duckdb
import polars as pl

from comms_pipeline.domain.message import Channel, message_ids
from comms_pipeline.domain.sms import segments_expr
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.planning.choices import language_column, variant_column
from comms_pipeline.planning.findings import Findings
from comms_pipeline.planning.rendering import SLICE, Rendered, Rendering
from comms_pipeline.planning.templates import check_variables
from comms_pipeline.planning.variables import OWN_COLUMNS, coverage
from comms_pipeline.providers.registry import Providers
from comms_pipeline.sqlfiles import named_queries


def plan_messages(
    cursor: duckdb.DuckDBPyConnection, rendering: Rendering, providers: Providers, *, now: datetime
) -> Iterator[pl.DataFrame]:
    """Rows of `campaign.messages` for allowed contacts whom the plan lacks, in slices: a new generation of the plan.

    A contact gets one message. Templates are checked against the contacts and rendered once here, so that a bad
    one fails before anything is queued. Raises `TemplateError`, `ProviderMisconfigured`.
    """
    context = rendering.context
    parameters = {"send_id": context.send.send_id}
    contacts = cursor.execute(named_queries(QUERIES)["plannable"], parameters).pl()
    if contacts.is_empty():
        return
    generation = cursor.execute(named_queries(QUERIES)["next_generation"], parameters).fetchone()
    check_variables(context.spec, rendering.compiled, OWN_COLUMNS.union(rendering.kinds))
    findings = Findings(context)
    for part in choices_of(contacts, rendering).iter_slices(SLICE):
        planned = _plan_slice(rendering, findings, part)
        lanes = {channel: providers.lane_for(Channel(channel)) for channel in planned["channel"].unique()}
        yield planned.select(
            send_id=pl.lit(context.send.send_id),
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
    findings.finish()


def choices_of(contacts: pl.DataFrame, rendering: Rendering) -> pl.DataFrame:
    """What is chosen for each contact: `channel`, `variant`, `language`."""
    spec = rendering.context.spec
    chosen = pl.coalesce(
        pl.when(pl.col("channels").list.contains(str(channel))).then(pl.lit(str(channel)))
        for channel in spec.channels
    )
    return contacts.select(
        "contact_id",
        pl.col("engagement_score").fill_null(0.0),
        channel=chosen,
        variant=variant_column(contacts["contact_id"], spec.id, spec.variants),
        language=language_column(contacts["language"], spec.languages),
    )


def _plan_slice(rendering: Rendering, findings: Findings, contacts: pl.DataFrame) -> pl.DataFrame:
    parts = []
    groups = contacts.partition_by("channel", "variant", "language", as_dict=True, maintain_order=True)
    for (channel, variant, language), group in groups.items():
        key = (Channel(str(channel)), str(variant), str(language))
        send_id = rendering.context.send.send_id
        ids = pl.Series(message_ids(send_id, group["contact_id"].to_list(), key[0]))
        group = group.with_columns(message_id=ids)
        rendered = rendering.render(key, group)
        findings.add(rendered)
        parts.append(_planned(group, rendered))
    return pl.concat(parts)


def _planned(contacts: pl.DataFrame, rendered: Rendered) -> pl.DataFrame:
    """`contacts`, who get the same message, with `score` and `segments`."""
    # Half of the score is what we can say to a person, half is how much they have listened so far.
    score = rendered.values.select(
        0.5 * coverage(rendered.values, rendered.message.variables)
        + 0.5 * pl.lit(contacts["engagement_score"])
    ).to_series()
    return contacts.with_columns(score=score, segments=_segments(contacts, rendered))


def _segments(contacts: pl.DataFrame, rendered: Rendered) -> pl.Series:
    """SMS segments per contact; null for other channels."""
    if contacts["channel"][0] != Channel.SMS:
        return pl.repeat(None, contacts.height, dtype=pl.Int32, eager=True)
    texts = pl.concat(
        pl.DataFrame({"row": group.rows, "text": group.join("text")}) for group in rendered.groups
    ).sort("row")
    return texts.select(segments_expr(pl.col("text")).cast(pl.Int32)).to_series()

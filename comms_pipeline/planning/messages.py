"""The plan of a send: who gets what, when, through what. One message per contact; ids only, no content."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from comms_pipeline.domain.campaign import CampaignSpec, ChannelChoice
from comms_pipeline.domain.hours import first_open_column
from comms_pipeline.domain.message import Channel, message_ids
from comms_pipeline.domain.prices import Price
from comms_pipeline.domain.schedule import Recurring
from comms_pipeline.domain.sms import segments_expr
from comms_pipeline.personalization.scores import score
from comms_pipeline.personalization.send_times import due_times
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.planning.choices import (
    ENOUGH_MESSAGES,
    assigned_variant_column,
    channel_column,
    language_column,
    variant_column,
)
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.costs import cost_columns
from comms_pipeline.planning.facts import assigned_by
from comms_pipeline.planning.findings import Findings
from comms_pipeline.planning.rendering import SLICE, Rendered, Rendering
from comms_pipeline.planning.templates import check_variables
from comms_pipeline.planning.variables import OWN_COLUMNS, coverage
from comms_pipeline.providers.registry import Providers
from comms_pipeline.sqlfiles import named_queries

_HOURS: Mapping[Channel, str] = {channel: f"hours_{channel}" for channel in Channel}
"""Where a plannable contact has the hours of each channel."""


def plan_messages(
    cursor: duckdb.DuckDBPyConnection,
    rendering: Rendering,
    providers: Providers,
    findings: Findings,
    *,
    prices: Mapping[str, Price],
    now: datetime,
) -> Iterator[pl.DataFrame]:
    """Rows of `campaign.messages` for allowed contacts whom the plan lacks, in slices: a new generation of the plan.

    A contact gets one message. Templates are checked against the contacts and rendered once here, so that a bad
    one fails before anything is queued; `findings` gathers what is wrong or lacking. `prices` by lane. Raises
    `TemplateError`, `ProviderMisconfigured`.
    """
    context = rendering.context
    row = cursor.execute(
        named_queries(QUERIES)["next_generation"], {"send_id": context.send.send_id}
    ).fetchone()
    generation, first_planned_at = row or (0, None)
    choosing = _Choosing(cursor=cursor, context=context, first_planned_at=first_planned_at or now, now=now)
    is_first = True
    for part in _plannable(cursor, context, now):
        if is_first:
            check_variables(context.spec, rendering.compiled, OWN_COLUMNS.union(rendering.kinds))
            is_first = False
        planned = _plan_slice(rendering, findings, choosing.choices_of(part))
        lanes = {channel: providers.lane_for(Channel(channel)) for channel in planned["channel"].unique()}
        yield planned.select(
            send_id=pl.lit(context.send.send_id),
            generation=pl.lit(generation, pl.Int32),
            message_id="message_id",
            contact_id="contact_id",
            channel="channel",
            lane=pl.col("channel").replace_strict(lanes, return_dtype=pl.String),
            variant="variant",
            language="language",
            score="score",
            segments="segments",
            due_at="due_at",
            planned_at=pl.lit(now),
            topic=pl.lit(context.spec.topic),
            hours="hours",
            domain="domain",
            time_zone="time_zone",
        ).with_columns(cost_columns(prices))
    findings.finish()


def _plannable(
    cursor: duckdb.DuckDBPyConnection, context: SendContext, now: datetime
) -> Iterator[pl.DataFrame]:
    """Allowed contacts whom the plan lacks, in slices of the audience."""
    parameters: dict[str, object] = {
        "send_id": context.send.send_id,
        "assigned_by": assigned_by(context.spec),
        "now": now,
        "size": SLICE,
        "after": "",
    }
    while True:
        part = cursor.execute(named_queries(QUERIES)["plannable"], parameters).pl()
        wanted = part.filter(pl.col("channels").is_not_null())
        if wanted.height:
            yield wanted
        if part.height < SLICE:
            return
        parameters["after"] = part["contact_id"][-1]


@dataclass(frozen=True, kw_only=True)
class _Choosing:
    """Chooses for slices of contacts, with what the lake knows of their habits."""

    cursor: duckdb.DuckDBPyConnection
    context: SendContext
    first_planned_at: datetime
    now: datetime

    def choices_of(self, contacts: pl.DataFrame) -> pl.DataFrame:
        """`contacts` with what is chosen for each: `channel`, `domain`, `variant`, `language`, `due_at`, `hours`.

        `due_at` lies within the hours at which the contact may be reached on that channel; null: at any time.
        `domain` is where the channel reaches the contact, coarse enough to name nobody.
        """
        spec = self.context.spec
        self.cursor.register("wanted_contacts", contacts.select("contact_id").to_arrow())
        chosen = contacts.select(
            "contact_id",
            "days_since_engaged",
            "engagement_rate",
            "time_zone",
            self._channels(contacts),
            variant=_variants(contacts, spec),
            language=language_column(contacts["language"], spec.languages),
            due_at=self._due_times(contacts),
            **{name: name for name in _HOURS.values()},
        ).with_columns(
            hours=pl.coalesce(
                pl.when(pl.col("channel") == str(channel)).then(name) for channel, name in _HOURS.items()
            )
        )
        chosen = chosen.join(
            self._found("contact_domains", {}), on="contact_id", how="left", maintain_order="left"
        )
        self.cursor.unregister("wanted_contacts")
        opening = first_open_column(chosen["hours"], chosen["due_at"])
        # Whoever never can be reached is excluded before; their next chance is for the dispatcher to find.
        return chosen.drop(*_HOURS.values()).with_columns(
            due_at=opening.fill_null(chosen["due_at"]),
            domain=pl.when(channel=str(Channel.EMAIL)).then("email_domain").otherwise("calling_code"),
        )

    def _channels(self, contacts: pl.DataFrame) -> pl.Series:
        spec = self.context.spec
        affinities = pl.DataFrame(
            schema={"contact_id": pl.String, "channel": pl.String, "affinity": pl.Float64}
        )
        if spec.channel_choice is ChannelChoice.ADAPTIVE and len(spec.channels) > 1:
            affinities = self._found("channel_affinities", {"enough_messages": ENOUGH_MESSAGES})
        return channel_column(contacts, affinities, spec.channels, spec.channel_choice)

    def _due_times(self, contacts: pl.DataFrame) -> pl.Expr | pl.Series:
        send_time = self.context.spec.send_time
        start = max(self.context.send.due_at, self.now)
        if send_time is None:
            return pl.lit(start)
        # Whoever joins the plan later shares its window, so that the send comes to an end.
        end = max(self.context.send.due_at, self.first_planned_at) + timedelta(hours=send_time.within_hours)
        return due_times(
            contacts,
            self._found("contact_hours", {"shift_hours": self._shift_hours}),
            self._common_hours,
            start=start,
            end=max(start, end),
            default_zone=self._default_zone,
        )

    @cached_property
    def _common_hours(self) -> pl.DataFrame:
        organisation_id = self.context.organisation.organisation_id
        parameters = {"organisation": organisation_id, "shift_hours": self._shift_hours}
        return self._found("organisation_hours", parameters)

    @property
    def _default_zone(self) -> str:
        """Where contacts live whose time zone is not known: where the campaign's clock is, else UTC."""
        schedule = self.context.spec.schedule
        return schedule.time_zone if isinstance(schedule, Recurring) else "UTC"

    @property
    def _shift_hours(self) -> int:
        """Whole hours from UTC to the default zone, for hours that the lake has by UTC."""
        offset = self.now.astimezone(ZoneInfo(self._default_zone)).utcoffset() or timedelta()
        return offset // timedelta(hours=1)

    def _found(self, query: str, parameters: Mapping[str, object]) -> pl.DataFrame:
        return self.cursor.execute(named_queries(QUERIES)[query], parameters).pl()


def _variants(contacts: pl.DataFrame, spec: CampaignSpec) -> pl.Series:
    if spec.experiment.assign_by is not None:
        return assigned_variant_column(contacts["assigned"], spec.experiment.arms, spec.id)
    return variant_column(contacts["contact_id"], spec.id, spec.variants)


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
    scored = rendered.values.select(
        score(
            coverage(rendered.values, rendered.message.variables),
            pl.lit(contacts["days_since_engaged"]),
            pl.lit(contacts["engagement_rate"]),
        )
    ).to_series()
    return contacts.with_columns(score=scored, segments=_segments(contacts, rendered))


def _segments(contacts: pl.DataFrame, rendered: Rendered) -> pl.Series:
    """SMS segments per contact; null for other channels."""
    if contacts["channel"][0] != Channel.SMS:
        return pl.repeat(None, contacts.height, dtype=pl.Int32, eager=True)
    texts = pl.concat(
        pl.DataFrame({"row": group.rows, "text": group.join("text")}) for group in rendered.groups
    ).sort("row")
    return texts.select(segments_expr(pl.col("text")).cast(pl.Int32)).to_series()

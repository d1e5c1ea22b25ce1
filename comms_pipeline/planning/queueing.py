"""Turns a generation of the plan into batches: contents and columnar payloads. The ledger stores them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from comms_pipeline.dispatch.payload import pack
from comms_pipeline.domain.campaign import CampaignSpec, Tracking
from comms_pipeline.domain.content import Content, Skeleton
from comms_pipeline.domain.message import PRIORITY, Channel
from comms_pipeline.ledger.batches import NewBatch
from comms_pipeline.personalization.message import RenderedGroup
from comms_pipeline.planning.rendering import SLICE, Rendered, Rendering
from comms_pipeline.planning.templates import MessageKey
from comms_pipeline.providers.base import Limits, joined
from comms_pipeline.providers.registry import Providers
from comms_pipeline.sqlfiles import named_queries

_QUERIES = "lake/queries/queueing.sql"


_TAG_BYTES = 20
"""What names a slot in a provider's substitutions; it counts as well as the value."""


@dataclass(frozen=True, kw_only=True)
class Queued:
    """Some batches and the contents they share, by content id."""

    contents: dict[str, dict[str, Any]]
    batches: list[NewBatch]


def batches_of(
    cursor: duckdb.DuckDBPyConnection, rendering: Rendering, providers: Providers, generation: int
) -> Iterator[Queued]:
    """The batches of one generation of a plan, in slices of flat memory. Raises `TemplateError`, `ContactsChanged`."""
    plan = {"send_id": rendering.context.send.send_id, "generation": generation}
    # As a frame: DuckDB needs another library for times as Python objects.
    groups = cursor.execute(named_queries(_QUERIES)["planned_groups"], plan).pl()
    for group in groups.iter_rows(named=True):
        builder = _Builder(
            rendering=rendering,
            lane=group["lane"],
            limits=providers.for_lane(group["lane"]).limits,
            channel=Channel(group["channel"]),
        )
        key = (builder.channel, group["variant"], group["language"])
        for part in _slices(cursor, plan | group):
            yield builder.build(rendering.render(key, part), part.select("due_at", "hours"))


def _slices(cursor: duckdb.DuckDBPyConnection, group: Mapping[str, object]) -> Iterator[pl.DataFrame]:
    """The messages of one group, at most `SLICE` at a time, by contact.

    Columns: `message_id`, `contact_id`, `due_at`, `hours`.
    """
    # The cursor renders each slice before the next is read: no result can stay open on it.
    message_id = contact_id = ""
    while True:
        last = {"message_id": message_id, "contact_id": contact_id, "size": SLICE}
        part = cursor.execute(named_queries(_QUERIES)["planned_slice"], {**group, **last}).pl()
        if part.height:
            yield part
        if part.height < SLICE:
            return
        message_id, contact_id = part["message_id"][-1], part["contact_id"][-1]


@dataclass(frozen=True, kw_only=True)
class _Builder:
    """Batches of one lane; those of a batch are due at one time and may be reached at the same hours."""

    rendering: Rendering
    lane: str
    limits: Limits
    channel: Channel

    @property
    def spec(self) -> CampaignSpec:
        return self.rendering.context.spec

    @property
    def has_one_click(self) -> bool:
        return self.rendering.has_one_click(self.channel)

    def build(self, rendered: Rendered, times: pl.DataFrame) -> Queued:
        """`times` has `due_at` and `hours` for each row of `rendered`."""
        contents: dict[str, dict[str, Any]] = {}
        batches: list[NewBatch] = []
        size = min(self.limits.batch_size, self.spec.batch_size)
        for group in rendered.groups:
            for content, payload in self._payloads(rendered, group, times):
                contents[content.content_id] = content.to_dict()
                groups = payload.partition_by(times.columns, as_dict=True, maintain_order=True)
                for (due_at, hours), same in groups.items():
                    for part in same.drop(times.columns).iter_slices(size):
                        batches.append(self._batch(content.content_id, part, due_at, hours))
        return Queued(contents=contents, batches=batches)

    def _payloads(
        self, rendered: Rendered, group: RenderedGroup, times: pl.DataFrame
    ) -> Iterator[tuple[Content, pl.DataFrame]]:
        """The group's content with its recipients; those whose slots are too large get contents of their own."""
        columns = [
            "message_id",
            "contact_id",
            "address",
            "address_key",
            *(["unsubscribe_url"] if self.has_one_click else []),
            *times.columns,
        ]
        payload = rendered.recipients.hstack(times)[group.rows].select(columns).hstack(group.slots)
        if self.limits.slot_bytes is not None and group.slots.width:
            size = group.slots.select(pl.sum_horizontal(pl.all().str.len_bytes())).to_series()
            is_large = size + _TAG_BYTES * group.slots.width > self.limits.slot_bytes
            for single in payload.filter(is_large).iter_slices(1):
                parts: dict[str, Skeleton] = {
                    name: (joined(skeleton, single).item(),) for name, skeleton in group.parts.items()
                }
                yield self._content(rendered.key, parts), single.select(columns)
            payload = payload.filter(~is_large)
        if payload.height:
            yield self._content(rendered.key, dict(group.parts)), payload

    def _content(self, key: MessageKey, parts: dict[str, Skeleton]) -> Content:
        sender = self.spec.sender
        if self.channel is Channel.SMS:
            return Content(campaign_id=self.spec.id, parts=parts, sender=sender.sms_from or "")
        if self.channel is Channel.WHATSAPP:
            content_sid = self.spec.content_sid(*key)
            return Content(campaign_id=self.spec.id, parts=parts, sender="", content_sid=content_sid)
        return Content(
            campaign_id=self.spec.id,
            parts=parts,
            sender=sender.from_email,
            sender_name=sender.from_name,
            reply_to=sender.reply_to or "",
            has_one_click=self.has_one_click,
            is_tracked=self.spec.tracking is Tracking.PROVIDER,
        )

    def _batch(self, content_id: str, payload: pl.DataFrame, due_at: datetime, hours: str | None) -> NewBatch:
        return NewBatch(
            lane=self.lane,
            channel=self.channel,
            content_id=content_id,
            priority=PRIORITY[self.spec.message_class],
            message_count=payload.height,
            payload=pack(payload),
            due_at=due_at,
            message_class=self.spec.message_class,
            topic=self.spec.topic,
            hours=hours,
        )

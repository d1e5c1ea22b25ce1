"""Turns a generation of the plan into batches: contents and columnar payloads. The ledger stores them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from comms_pipeline.dispatch.payload import pack
from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.content import Content, Skeleton
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.message import PRIORITY, Channel, MessageClass
from comms_pipeline.domain.tokens import Purpose, TokenKeys
from comms_pipeline.ledger.batches import NewBatch
from comms_pipeline.personalization.message import RenderedGroup
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.eligibility import ADDRESS_COLUMN
from comms_pipeline.planning.messages import SLICE
from comms_pipeline.planning.templates import CompiledCampaign
from comms_pipeline.planning.variables import attribute_kinds, contact_values, template_frame
from comms_pipeline.providers.base import Limits, joined
from comms_pipeline.providers.registry import Providers
from comms_pipeline.sqlfiles import named_queries


class ContactsChanged(CommsError):
    """Contacts of a plan cannot be written to any more; nothing of its generation was enqueued."""


@dataclass(frozen=True, kw_only=True)
class Queued:
    """Some batches and the contents they share, by content id."""

    contents: dict[str, dict[str, Any]]
    batches: list[NewBatch]


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What signs links and hashes addresses; `public_url` is where the links lead."""

    secret: bytes
    tokens: TokenKeys
    public_url: str


def batches_of(
    cursor: duckdb.DuckDBPyConnection,
    context: SendContext,
    compiled: CompiledCampaign,
    providers: Providers,
    keys: Keys,
    generation: int,
) -> Iterator[Queued]:
    """The batches of one generation of a plan, in slices of flat memory. Raises `TemplateError`."""
    parameters: dict[str, object] = {"send_id": context.send.send_id, "generation": generation}
    plan = cursor.execute(named_queries(QUERIES)["planned_messages"], parameters).pl()
    kinds = attribute_kinds(cursor, context.organisation.organisation_id)
    groups = plan.partition_by("lane", "channel", "variant", "due_at", as_dict=True, maintain_order=True)
    for (lane, channel, variant, due_at), group in groups.items():
        builder = _Builder(
            context=context,
            compiled=compiled,
            kinds=kinds,
            keys=keys,
            lane=str(lane),
            limits=providers.for_lane(str(lane)).limits,
            channel=Channel(str(channel)),
            variant=str(variant),
            due_at=due_at,
        )
        for part in group.iter_slices(SLICE):
            yield builder.build(cursor, part)


@dataclass(frozen=True, kw_only=True)
class _Builder:
    """Batches of one lane, channel, variant and due time."""

    context: SendContext
    compiled: CompiledCampaign
    kinds: Mapping[str, Any]
    keys: Keys
    lane: str
    limits: Limits
    channel: Channel
    variant: str
    due_at: datetime

    @property
    def has_one_click(self) -> bool:
        return self.channel is Channel.EMAIL and self.context.spec.message_class is MessageClass.MARKETING

    def build(self, cursor: duckdb.DuckDBPyConnection, plan: pl.DataFrame) -> Queued:
        message = self.compiled.messages[self.channel, self.variant]
        values = contact_values(cursor, plan["contact_id"], self.kinds, message.variables)
        # Attributes may have names such as "address": what is ours stays apart from what templates read.
        recipients = self._recipients(plan, values[ADDRESS_COLUMN[self.channel]])
        if self.has_one_click or "unsubscribe_url" in message.variables:
            urls = self._unsubscribe_urls(recipients)
            recipients, values = (each.with_columns(unsubscribe_url=urls) for each in (recipients, values))
        frame = template_frame(values, self.context, message.variables)
        contents: dict[str, dict[str, Any]] = {}
        batches: list[NewBatch] = []
        size = min(self.limits.batch_size, self.context.spec.batch_size)
        for group in message.evaluate(frame):
            for content, payload in self._payloads(recipients, group):
                contents[content.content_id] = content.to_dict()
                for part in payload.iter_slices(size):
                    batches.append(self._batch(content.content_id, part))
        return Queued(contents=contents, batches=batches)

    def _recipients(self, plan: pl.DataFrame, addresses: pl.Series) -> pl.DataFrame:
        if lost := addresses.null_count():
            raise ContactsChanged(
                f"send {self.context.send.send_id}",
                f"{lost} of its planned contacts have no {self.channel} address any more",
                "Import their addresses again, then run it again",
            )
        return plan.select(
            "message_id",
            "contact_id",
            address=addresses,
            address_key=address_keys(addresses, self.channel, self.keys.secret),
        )

    def _unsubscribe_urls(self, recipients: pl.DataFrame) -> pl.Series:
        tokens = self.keys.tokens.sign_column(
            Purpose.UNSUBSCRIBE,
            organisation_id=self.context.organisation.organisation_id,
            contact_ids=recipients["contact_id"],
            channel=self.channel,
            message_ids=recipients["message_id"],
            address_keys=recipients["address_key"],
        )
        return f"{self.keys.public_url}/u/" + tokens

    def _payloads(
        self, recipients: pl.DataFrame, group: RenderedGroup
    ) -> Iterator[tuple[Content, pl.DataFrame]]:
        """The group's content with its recipients; those whose slots are too large get contents of their own."""
        columns = [
            "message_id",
            "address",
            "address_key",
            *(["unsubscribe_url"] if self.has_one_click else []),
        ]
        payload = recipients[group.rows.to_list()].select(columns).hstack(group.slots)
        if self.limits.slot_bytes is not None and group.slots.width:
            size = group.slots.select(pl.sum_horizontal(pl.all().str.len_bytes()))[group.slots.columns[0]]
            is_large = size > self.limits.slot_bytes
            for single in payload.filter(is_large).iter_slices(1):
                parts: dict[str, Skeleton] = {
                    name: (joined(skeleton, single).item(),) for name, skeleton in group.parts.items()
                }
                yield self._content(parts), single.select(columns)
            payload = payload.filter(~is_large)
        if payload.height:
            yield self._content(dict(group.parts)), payload

    def _content(self, parts: dict[str, Skeleton]) -> Content:
        sender = self.context.spec.sender
        if self.channel is Channel.SMS:
            return Content(campaign_id=self.context.spec.id, parts=parts, sender=sender.sms_from or "")
        return Content(
            campaign_id=self.context.spec.id,
            parts=parts,
            sender=sender.from_email,
            sender_name=sender.from_name,
            reply_to=sender.reply_to or "",
            has_one_click=self.has_one_click,
        )

    def _batch(self, content_id: str, payload: pl.DataFrame) -> NewBatch:
        return NewBatch(
            lane=self.lane,
            channel=self.channel,
            content_id=content_id,
            priority=PRIORITY[self.context.spec.message_class],
            message_count=payload.height,
            payload=pack(payload),
            due_at=self.due_at,
        )

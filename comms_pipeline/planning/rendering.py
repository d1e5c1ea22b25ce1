"""Renders a campaign for slices of contacts: their values, links and fallbacks through the compiled templates.

The plan (which checks and counts) and the queue (which stores) render through here, so that what was checked is
what is sent. Decides nothing about who gets a message.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import duckdb
import polars as pl

from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.campaign import Tracking
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.links import Links
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.tokens import TokenKeys
from comms_pipeline.personalization.bodies import Bodies
from comms_pipeline.personalization.message import CompiledMessage, RenderedGroup
from comms_pipeline.personalization.opaque import OpaqueRenderer
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.holders import ADDRESS_COLUMN
from comms_pipeline.planning.templates import CompiledCampaign, MessageKey
from comms_pipeline.planning.variables import attribute_kinds, contact_values, template_frame

SLICE = 50_000
"""Contacts rendered at a time: what bounds memory, whatever the size of the audience."""


class ContactsChanged(CommsError):
    """Contacts of a plan cannot be written to any more; nothing of its generation was enqueued."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What signs links and hashes addresses; `public_url` is where the links lead."""

    secret: bytes
    tokens: TokenKeys
    public_url: str


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A slice of contacts who get the same message, in one order throughout.

    `recipients`: `message_id`, `contact_id`, `address`, `address_key`, and `unsubscribe_url` where the message has
    one. `values`: what their record holds. `frame`: what the templates read. `groups` partition the rows; their
    parts are finished bodies. `faults`: what is wrong with the pages, in words. `public_url`: where our own links
    lead.
    """

    key: MessageKey
    message: CompiledMessage
    recipients: pl.DataFrame
    values: pl.DataFrame
    frame: pl.DataFrame
    groups: list[RenderedGroup]
    faults: tuple[str, ...]
    public_url: str


class Rendering:
    """Renders one campaign's messages. Open it (`with`) to share one child process between all slices."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        context: SendContext,
        compiled: CompiledCampaign,
        keys: Keys,
    ) -> None:
        self.context = context
        self.compiled = compiled
        self.kinds: Mapping[str, Any] = attribute_kinds(cursor, context.organisation.organisation_id)
        self._cursor = cursor
        self._keys = keys
        self._bodies: dict[MessageKey, Bodies] = {}
        self._stack = ExitStack()
        self._renderer: OpaqueRenderer | None = None

    def __enter__(self) -> Self:
        self._renderer = self._stack.enter_context(OpaqueRenderer())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def has_one_click(self, channel: Channel) -> bool:
        """Whether messages of this channel carry List-Unsubscribe headers."""
        return channel is Channel.EMAIL and self.context.spec.message_class is MessageClass.MARKETING

    def render(self, key: MessageKey, contacts: pl.DataFrame) -> Rendered:
        """The message `key` for `contacts` (`message_id`, `contact_id`), at most `SLICE` of them.

        Raises `TemplateError`, `UnsafeTarget`, and `ContactsChanged` for contacts without an address on the channel.
        """
        channel, _, language = key
        message = self.compiled.messages[key]
        values = contact_values(self._cursor, contacts["contact_id"], self.kinds, message.variables)
        # Attributes may have names such as "address": what is ours stays apart from what templates read.
        recipients = self._recipients(contacts, channel, values[ADDRESS_COLUMN[channel]])
        links = self._links(channel)
        if self.has_one_click(channel) or "unsubscribe_url" in message.variables:
            urls = links.unsubscribe_urls(recipients).alias("unsubscribe_url")
            recipients, values = (each.with_columns(urls) for each in (recipients, values))
        if "preferences_url" in message.variables:
            values = values.with_columns(links.preferences_urls(recipients).alias("preferences_url"))
        if "confirm_url" in message.variables:
            values = values.with_columns(links.confirm_urls(recipients).alias("confirm_url"))
        frame = template_frame(values, self.context, message.variables, language=language)
        groups = message.evaluate(frame, renderer=self._renderer)
        faults: tuple[str, ...] = ()
        if channel is Channel.EMAIL:
            spec = self.context.spec
            is_ours, is_tracked = spec.tracking is Tracking.OWN, spec.tracking is not Tracking.NONE
            empty = Bodies(
                tracking=links if is_ours else None, trap=links if is_tracked and spec.trap_link else None
            )
            bodies = self._bodies.setdefault(key, empty)
            groups = [bodies.finish(group, recipients) for group in groups]
            faults = bodies.faults
        return Rendered(
            key=key,
            message=message,
            recipients=recipients,
            values=values,
            frame=frame,
            groups=groups,
            faults=faults,
            public_url=self._keys.public_url,
        )

    def _links(self, channel: Channel) -> Links:
        return Links(
            keys=self._keys.tokens,
            public_url=self._keys.public_url,
            organisation_id=self.context.organisation.organisation_id,
            channel=channel,
        )

    def _recipients(self, contacts: pl.DataFrame, channel: Channel, addresses: pl.Series) -> pl.DataFrame:
        if lost := addresses.null_count():
            raise ContactsChanged(
                f"send {self.context.send.send_id}",
                f"{lost} of its planned contacts have no {channel} address any more",
                "Import their addresses again, then run it again",
            )
        return contacts.select(
            "message_id",
            "contact_id",
            address=addresses,
            address_key=address_keys(addresses, channel, self._keys.secret),
        )

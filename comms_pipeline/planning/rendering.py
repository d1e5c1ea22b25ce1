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
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.tokens import Purpose, TokenKeys
from comms_pipeline.personalization.message import CompiledMessage, RenderedGroup
from comms_pipeline.personalization.opaque import OpaqueRenderer
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.eligibility import ADDRESS_COLUMN
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
    one. `values`: what their record holds. `frame`: what the templates read. `groups` partition the rows.
    """

    message: CompiledMessage
    recipients: pl.DataFrame
    values: pl.DataFrame
    frame: pl.DataFrame
    groups: list[RenderedGroup]


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

        Raises `TemplateError`, and `ContactsChanged` for contacts without an address on the channel.
        """
        channel = key[0]
        message = self.compiled.messages[key]
        values = contact_values(self._cursor, contacts["contact_id"], self.kinds, message.variables)
        # Attributes may have names such as "address": what is ours stays apart from what templates read.
        recipients = self._recipients(contacts, channel, values[ADDRESS_COLUMN[channel]])
        if self.has_one_click(channel) or "unsubscribe_url" in message.variables:
            urls = self._unsubscribe_urls(recipients, channel)
            recipients, values = (each.with_columns(unsubscribe_url=urls) for each in (recipients, values))
        frame = template_frame(values, self.context, message.variables)
        return Rendered(
            message=message,
            recipients=recipients,
            values=values,
            frame=frame,
            groups=message.evaluate(frame, renderer=self._renderer),
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

    def _unsubscribe_urls(self, recipients: pl.DataFrame, channel: Channel) -> pl.Series:
        tokens = self._keys.tokens.sign_column(
            Purpose.UNSUBSCRIBE,
            organisation_id=self.context.organisation.organisation_id,
            contact_ids=recipients["contact_id"],
            channel=channel,
            message_ids=recipients["message_id"],
            address_keys=recipients["address_key"],
        )
        return f"{self._keys.public_url}/u/" + tokens

"""Which templates a campaign writes with: by channel, and how a language or a variant differs. Reads no file."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from comms_pipeline.domain.fields import FileName, Language, SingleLine, Slug
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.validation import Strict


class EmailTemplates(Strict):
    """Subject and preheader (inline Jinja, or `file:name`), HTML and text files.

    Without a text file, the text is derived from the HTML.
    """

    subject: SingleLine
    preheader: SingleLine | None = None
    """What inboxes show after the subject; hidden in the open message."""
    html: FileName
    text: FileName | None = None


class SmsTemplates(Strict):
    """One text file."""

    text: FileName


class Templates(Strict):
    """Templates by channel."""

    email: EmailTemplates | None = None
    sms: SmsTemplates | None = None


class EmailOverrides(Strict):
    """What a language or a variant does differently."""

    subject: SingleLine | None = None
    preheader: SingleLine | None = None
    html: FileName | None = None
    text: FileName | None = None


class TemplateOverrides(Strict):
    """What a language or a variant does differently, by channel."""

    email: EmailOverrides | None = None
    sms: SmsTemplates | None = None

    def parts(self) -> frozenset[tuple[str, str]]:
        """The (channel, part) pairs it changes."""
        changed = self.model_dump(exclude_none=True)
        return frozenset((channel, part) for channel, parts in changed.items() for part in parts)


Translations = Mapping[Language, TemplateOverrides]
"""Overrides by language tag."""


class Variant(Strict):
    """One arm of a test. Contacts are shared out in proportion to the weights."""

    name: Slug
    weight: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    templates: TemplateOverrides = TemplateOverrides()
    translations: Mapping[Language, TemplateOverrides] = {}


ChannelTemplates = EmailTemplates | SmsTemplates


def overlaid(base: ChannelTemplates, channel: Channel, overrides: TemplateOverrides) -> ChannelTemplates:
    """`base` with what `overrides` changes for this channel."""
    changed: BaseModel | None = getattr(overrides, channel, None)
    return base if changed is None else base.model_copy(update=changed.model_dump(exclude_none=True))

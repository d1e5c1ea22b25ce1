"""Which templates a campaign writes with: by channel, and how a language or a variant differs. Reads no file."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from comms_pipeline.domain.fields import ContentSid, FileName, Language, SingleLine, Slug, VariableNumber
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.validation import Strict, fault


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


class WhatsAppTemplates(Strict):
    """A text file, or one of the account's Content templates with its variables.

    WhatsApp takes a text only within a day of the contact's own last message, a Content template at any time.
    """

    text: FileName | None = None
    content_sid: ContentSid | None = None
    content_variables: Mapping[VariableNumber, SingleLine] = {}
    """Inline Jinja by the number of the placeholder it fills."""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.text is None and self.content_sid is None:
            raise fault("WhatsApp has nothing to say", "Add 'text:' with a file, or 'content_sid:'")
        if self.text is not None and self.content_sid is not None:
            raise fault(
                "WhatsApp has both a text and a Content template",
                "Keep 'content_sid:' to reach everybody, 'text:' to answer who wrote within a day",
            )
        if self.content_variables and self.content_sid is None:
            raise fault("content variables need a Content template", "Add 'content_sid:'")
        return self


class Templates(Strict):
    """Templates by channel."""

    email: EmailTemplates | None = None
    sms: SmsTemplates | None = None
    whatsapp: WhatsAppTemplates | None = None


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
    whatsapp: WhatsAppTemplates | None = None
    """Instead of the other one, as a whole: a Content template and its variables belong together."""

    def parts(self) -> frozenset[tuple[str, str]]:
        """The (channel, part) pairs it changes."""
        changed = self.model_dump(exclude_none=True, exclude={"whatsapp"})
        pairs = {(channel, part) for channel, parts in changed.items() for part in parts}
        return frozenset(pairs | ({(str(Channel.WHATSAPP), "message")} if self.whatsapp else set()))


Translations = Mapping[Language, TemplateOverrides]
"""Overrides by language tag."""


class Variant(Strict):
    """One arm of a test. Contacts are shared out in proportion to the weights."""

    name: Slug
    weight: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    templates: TemplateOverrides = TemplateOverrides()
    translations: Mapping[Language, TemplateOverrides] = {}


ChannelTemplates = EmailTemplates | SmsTemplates | WhatsAppTemplates


def overlaid(base: ChannelTemplates, channel: Channel, overrides: TemplateOverrides) -> ChannelTemplates:
    """`base` with what `overrides` changes for this channel."""
    changed: BaseModel | None = getattr(overrides, channel, None)
    if isinstance(changed, WhatsAppTemplates):
        return changed
    return base if changed is None else base.model_copy(update=changed.model_dump(exclude_none=True))

"""What a campaign is: who, what, through which channels, when. Reads no file, renders nothing."""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationInfo,
    field_validator,
)

from comms_pipeline.domain.campaign_templates import (
    ChannelTemplates,
    EmailTemplates,
    SmsTemplates,
    TemplateOverrides,
    Templates,
    Translations,
    Variant,
    WhatsAppTemplates,
    overlaid,
)
from comms_pipeline.domain.experiment import HOLDOUT, Experiment
from comms_pipeline.domain.fields import EmailAddress, Language, SingleLine, Slug, SmsFrom
from comms_pipeline.domain.message import GENERAL_TOPIC, Channel, MessageClass
from comms_pipeline.domain.schedule import SCHEDULE_KEYS, Schedule
from comms_pipeline.domain.segment import SEGMENT_KEYS, Audience, FieldPath
from comms_pipeline.domain.sending_hours import SendingHours
from comms_pipeline.domain.validation import KnownKeys, Strict, fault, keys_of, nearest, single_line

MAX_BATCH_SIZE = 1_000
"""Recipients SendGrid takes in one request."""

# Strict: false must not become 0, nor 1 true.
Fallback = StrictBool | StrictInt | StrictFloat | StrictStr


class Sender(Strict):
    """From whom messages come."""

    from_email: EmailAddress
    from_name: SingleLine
    reply_to: EmailAddress | None = None
    sms_from: SmsFrom | None = None


class ChannelChoice(StrEnum):
    """Which of the channels a contact may be reached on is taken."""

    ADAPTIVE = "adaptive"
    """The contact's own preference, else the one they respond to most, else the first listed."""
    LISTED = "listed"
    """The first listed, always."""


class Tracking(StrEnum):
    """Who notes opens and clicks of an e-mail."""

    PROVIDER = "provider"
    OWN = "own"
    """Links and pixel lead to our own web app."""
    NONE = "none"


class SendTime(Strict):
    """Each contact at the local hour they respond most, within so many hours of the due time."""

    within_hours: Annotated[int, Field(ge=1, le=168)]


class CampaignSpec(Strict):
    """One campaign as its file says it. Field order matters: later checks look at earlier fields."""

    id: Slug
    organisation: Slug
    message_class: MessageClass = Field(default=MessageClass.MARKETING, alias="class")
    emergency_reason: Annotated[str, Field(max_length=200), AfterValidator(single_line)] = Field(
        default="", validate_default=True
    )
    """Why an emergency may reach people at any hour; stands in the audit trail."""
    topic: Slug = GENERAL_TOPIC
    """The type of message, one of the organisation's; people may want one and not another."""
    adult: StrictBool = False
    """Whether it is sexually oriented material, which its subject must say."""
    description: str = ""
    audience: Audience
    channels: tuple[Channel, ...]
    """In order of preference; see `channel_choice`."""
    sender: Sender
    postal_address: str = Field(default="", validate_default=True)
    language: Language = "en"
    """What `templates` are written in."""
    templates: Templates
    translations: Mapping[Language, TemplateOverrides] = {}
    """What is different in other languages; a contact of none of them gets `language`."""
    variants: tuple[Variant, ...] = ()
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the contacts who get nothing, to compare with."""
    experiment: Experiment = Experiment()
    """How a test of `variants`, or against the holdout, is assigned and read."""
    channel_choice: ChannelChoice = ChannelChoice.ADAPTIVE
    send_time: SendTime | None = None
    tracking: Tracking = Tracking.PROVIDER
    trap_link: StrictBool = True
    """Whether tracked e-mails carry a link that no person sees: who follows it is a machine."""
    fallbacks: Mapping[FieldPath, Fallback] = {}
    schedule: Schedule | None = None
    hours: SendingHours | None = None
    """When it may reach people; None: whenever rules allow."""
    batch_size: Annotated[int, Field(ge=1, le=MAX_BATCH_SIZE)] = MAX_BATCH_SIZE

    @field_validator("emergency_reason")
    @classmethod
    def _for_emergencies(cls, value: str, info: ValidationInfo) -> str:
        is_emergency = info.data.get("message_class") is MessageClass.EMERGENCY
        if is_emergency and not value.strip():
            raise fault(
                "an emergency needs a reason", "Add 'emergency_reason:'; it goes into the audit trail"
            )
        if value and not is_emergency and "message_class" in info.data:
            raise fault(
                f"a {info.data['message_class']} campaign gives a reason for an emergency",
                "Remove 'emergency_reason:', or write class: emergency",
            )
        return value.strip()

    @field_validator("channels")
    @classmethod
    def _once_each(cls, value: tuple[Channel, ...]) -> tuple[Channel, ...]:
        if not value:
            raise fault("no channel is listed", "Write channels: [email, sms]")
        if len(set(value)) < len(value):
            raise fault("a channel is listed twice", "List each channel once")
        return value

    @field_validator("postal_address")
    @classmethod
    def _there_for_marketing_email(cls, value: str, info: ValidationInfo) -> str:
        is_marketing = info.data.get("message_class") is MessageClass.MARKETING
        if is_marketing and Channel.EMAIL in info.data.get("channels", ()) and not value.strip():
            # 15 U.S.C. 7704(a)(5)(A)(iii)
            raise fault(
                "marketing e-mail needs a postal address",
                "Add 'postal_address:' here or in organisation.yaml",
            )
        return value

    @field_validator("templates")
    @classmethod
    def _there_for_every_channel(cls, value: Templates, info: ValidationInfo) -> Templates:
        for channel in info.data.get("channels", ()):
            if getattr(value, channel) is None:
                raise fault(
                    f"channel '{channel}' has no templates",
                    f"Add '{channel}:' under templates, or drop the channel",
                )
        return value

    @field_validator("translations")
    @classmethod
    def _of_known_channels(cls, value: Translations, info: ValidationInfo) -> Translations:
        for language, overrides in value.items():
            if language == info.data.get("language"):
                raise fault(
                    f"'{language}' is the language of 'templates' already",
                    "Remove it from translations, or name another 'language:'",
                )
            _require_base(f"translation '{language}'", overrides, info.data.get("templates"))
        return value

    @field_validator("variants")
    @classmethod
    def _distinct_and_whole(cls, value: tuple[Variant, ...], info: ValidationInfo) -> tuple[Variant, ...]:
        if len({variant.name for variant in value}) < len(value):
            raise fault("two variants have the same name", "Give each variant its own name")
        if HOLDOUT in {variant.name for variant in value}:
            raise fault(f"'{HOLDOUT}' is no name for a variant", "Choose another; it means who gets nothing")
        translations: Translations = info.data.get("translations", {})
        for variant in value:
            culprit = f"variant '{variant.name}'"
            _require_base(culprit, variant.templates, info.data.get("templates"))
            for language, overrides in variant.translations.items():
                if language not in translations:
                    raise fault(
                        f"{culprit} translates into '{language}', the campaign does not",
                        nearest(language, translations) if translations else "Add it under 'translations:'",
                    )
                _require_base(culprit, overrides, info.data.get("templates"))
            for language in translations:
                # Else readers of that language would get the variant in another one, and only that part of it.
                translated = variant.translations.get(language, TemplateOverrides()).parts()
                for channel, part in sorted(variant.templates.parts() - translated):
                    raise fault(
                        f"{culprit} changes the {part} of {channel}, which '{language}' then lacks",
                        f"Add it under the variant's translations: {language}: {channel}:",
                    )
        return value

    @field_validator("holdout")
    @classmethod
    def _withholds_marketing_only(cls, value: float, info: ValidationInfo) -> float:
        message_class = info.data.get("message_class")
        if value and message_class in (MessageClass.TRANSACTIONAL, MessageClass.EMERGENCY):
            raise fault(
                f"a holdout would keep {message_class} messages from some contacts",
                "Remove 'holdout:'; only marketing may be withheld",
            )
        return value

    @field_validator("experiment")
    @classmethod
    def _compares_what_there_is(cls, value: Experiment, info: ValidationInfo) -> Experiment:
        if {"variants", "holdout"} <= info.data.keys():
            value.require_fit([variant.name for variant in info.data["variants"]], info.data["holdout"])
        return value

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values with the keys of the file; `model_validate` reads it back."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language there are templates in; the first is for all who read none of them."""
        return (self.language, *self.translations)

    def templates_of(
        self, channel: Channel, variant: str = "", language: str | None = None
    ) -> ChannelTemplates:
        """The templates of one channel, with a translation and a variant laid over; "" is no variant.

        Raises `KeyError` for a channel without templates, or a variant or language of another name.
        """
        templates: ChannelTemplates | None = getattr(self.templates, channel, None)
        if templates is None:
            raise KeyError(channel)
        is_translated = language not in (None, self.language)
        if is_translated:
            templates = overlaid(templates, channel, self.translations[str(language)])
        if variant:
            chosen = {each.name: each for each in self.variants}[variant]
            templates = overlaid(templates, channel, chosen.templates)
            if is_translated and language in chosen.translations:
                templates = overlaid(templates, channel, chosen.translations[str(language)])
        return templates

    def content_sid(self, channel: Channel, variant: str = "", language: str | None = None) -> str:
        """The Content template that a message is made of; empty for one we write ourselves."""
        chosen = self.templates_of(channel, variant, language)
        return (chosen.content_sid or "") if isinstance(chosen, WhatsAppTemplates) else ""


def _require_base(culprit: str, overrides: TemplateOverrides, templates: Templates | None) -> None:
    for channel in Templates.model_fields if templates else ():
        if getattr(overrides, channel) is not None and getattr(templates, channel) is None:
            raise fault(
                f"{culprit} overrides missing {channel} templates",
                "Add them to 'templates'",
            )


def digest(spec: CampaignSpec, templates: Mapping[str, str]) -> str:
    """SHA-256 (hex) over the whole content of a campaign; the same for the same content on every machine."""
    content = {"spec": spec.as_json(), "templates": dict(templates)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


CAMPAIGN_KEYS: KnownKeys = {
    "": keys_of(CampaignSpec),
    "sender": keys_of(Sender),
    "templates": keys_of(Templates),
    "email": keys_of(EmailTemplates),
    "sms": keys_of(SmsTemplates),
    "whatsapp": keys_of(WhatsAppTemplates),
    "variants": keys_of(Variant),
    "experiment": keys_of(Experiment),
    "translations": keys_of(TemplateOverrides),
    "send_time": keys_of(SendTime),
    "hours": keys_of(SendingHours),
    **SEGMENT_KEYS,
    **SCHEDULE_KEYS,
}
"""For `validation.faults`."""

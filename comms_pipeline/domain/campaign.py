"""What a campaign is: who, what, through which channels, when. Reads no file, renders nothing."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator

from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.schedule import SCHEDULE_KEYS, Schedule
from comms_pipeline.domain.segment import SEGMENT_KEYS, Audience, FieldPath, Scalar
from comms_pipeline.domain.validation import KnownKeys, Strict, fault, keys_of, nearest, single_line

MAX_BATCH_SIZE = 1_000
"""Recipients SendGrid takes in one request."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FILE_PREFIX = "file:"
_SENDABLE = (Channel.EMAIL, Channel.SMS)
# Twilio's senders: E.164, short code, Messaging Service SID, alphanumeric id (with at least one letter).
_SMS_FROM = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|MG[0-9a-f]{32}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise fault(f"'{value[:80]}' is not an id", "Use up to 63 of a-z, 0-9 and '-', not starting with '-'")
    return value


def _email_address(value: str) -> str:
    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:
        raise fault("the e-mail address is not valid", "Write e.g. hello@lakeside.example") from None


def _sms_from(value: str) -> str:
    if not _SMS_FROM.fullmatch(value):
        raise fault(
            "the SMS sender is not valid",
            "Use '+' and digits, a short code, a Messaging Service SID or a name",
        )
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise fault("the text is empty", "Fill it in, or remove the key")
    return value


Slug = Annotated[str, AfterValidator(_slug)]
EmailAddress = Annotated[str, AfterValidator(_email_address)]
SingleLine = Annotated[str, Field(max_length=998), AfterValidator(_not_blank), AfterValidator(single_line)]
FileName = Annotated[str, Field(max_length=255), AfterValidator(_not_blank), AfterValidator(single_line)]
Fallback = Annotated[Scalar, Field(union_mode="left_to_right")]


class Organisation(Strict):
    """Whose contacts and campaigns these are; `organisation.yaml`."""

    id: Slug
    name: SingleLine
    postal_address: str = ""


class Sender(Strict):
    """From whom messages come."""

    from_email: EmailAddress
    from_name: SingleLine
    reply_to: EmailAddress | None = None
    sms_from: Annotated[str, AfterValidator(_sms_from)] | None = None


class EmailTemplates(Strict):
    """Subject (inline Jinja, or `file:name`), HTML file, text file (without it, derived from the HTML)."""

    subject: SingleLine
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
    """What a variant does differently."""

    subject: SingleLine | None = None
    html: FileName | None = None
    text: FileName | None = None


class TemplateOverrides(Strict):
    """What a variant does differently, by channel."""

    email: EmailOverrides | None = None
    sms: SmsTemplates | None = None


class Variant(Strict):
    """One arm of a test. Contacts are shared out in proportion to the weights."""

    name: Slug
    weight: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    templates: TemplateOverrides = TemplateOverrides()


class CampaignSpec(Strict):
    """One campaign as its file says it. Field order matters: later checks look at earlier fields."""

    id: Slug
    organisation: Slug
    message_class: MessageClass = Field(default=MessageClass.MARKETING, alias="class")
    description: str = ""
    audience: Audience
    channels: tuple[Channel, ...]
    """In order of preference; the first one a contact can be reached on wins."""
    sender: Sender
    postal_address: str = Field(default="", validate_default=True)
    templates: Templates
    variants: tuple[Variant, ...] = ()
    fallbacks: Mapping[FieldPath, Fallback] = {}
    schedule: Schedule | None = None
    batch_size: Annotated[int, Field(ge=1, le=MAX_BATCH_SIZE)] = MAX_BATCH_SIZE

    @field_validator("channels")
    @classmethod
    def _sendable_once_each(cls, value: tuple[Channel, ...]) -> tuple[Channel, ...]:
        if not value:
            raise fault("no channel is listed", "Write channels: [email, sms]")
        if len(set(value)) < len(value):
            raise fault("a channel is listed twice", "List each channel once")
        for channel in value:
            if channel not in _SENDABLE:
                raise fault(f"campaigns cannot use the channel '{channel}'", nearest(channel, _SENDABLE))
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

    @field_validator("variants")
    @classmethod
    def _distinct_and_of_known_channels(
        cls, value: tuple[Variant, ...], info: ValidationInfo
    ) -> tuple[Variant, ...]:
        if len({variant.name for variant in value}) < len(value):
            raise fault("two variants have the same name", "Give each variant its own name")
        templates = info.data.get("templates")
        for variant in value if templates else ():
            for channel in Templates.model_fields:
                if getattr(variant.templates, channel) is not None and getattr(templates, channel) is None:
                    raise fault(
                        f"variant '{variant.name}' overrides missing {channel} templates",
                        "Add them to 'templates'",
                    )
        return value

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values with the keys of the file; `model_validate` reads it back."""
        return self.model_dump(mode="json", by_alias=True)

    def templates_of(self, channel: Channel, variant: str = "") -> EmailTemplates | SmsTemplates:
        """The templates of one channel, with a variant's overrides laid over; "" is no variant.

        Raises `KeyError` for a channel without templates or a variant of another name.
        """
        base: EmailTemplates | SmsTemplates | None = getattr(self.templates, channel, None)
        if base is None:
            raise KeyError(channel)
        if not variant:
            return base
        overrides = {each.name: each.templates for each in self.variants}[variant]
        changed: BaseModel | None = getattr(overrides, channel)
        return base if changed is None else base.model_copy(update=changed.model_dump(exclude_none=True))


@dataclass(frozen=True, kw_only=True)
class NamedTemplate:
    """A template's text and the name it goes by in errors (its file; `subject` when written inline)."""

    name: str
    source: str

    @classmethod
    def named(cls, reference: str, templates: Mapping[str, str]) -> Self:
        """The template file called `reference`. Raises `KeyError` when it was not collected."""
        return cls(name=reference, source=templates[reference])


def subject_file(subject: str) -> str | None:
    """The file a subject is in, or None when it is written inline."""
    return subject.removeprefix(_FILE_PREFIX).strip() if subject.startswith(_FILE_PREFIX) else None


def message_sources(
    spec: CampaignSpec, templates: Mapping[str, str], channel: Channel, variant: str = ""
) -> dict[str, NamedTemplate]:
    """What to compile for one channel and variant, by part: `subject`, `html`, `text` (SMS: `text` only).

    An e-mail that leaves its text to be derived has no `text`. `templates` is what `load_campaign` collected.
    """
    chosen = spec.templates_of(channel, variant)
    parts: dict[str, NamedTemplate] = {}
    if isinstance(chosen, EmailTemplates):
        file = subject_file(chosen.subject)
        named = (
            NamedTemplate.named(file, templates)
            if file
            else NamedTemplate(name="subject", source=chosen.subject)
        )
        parts["subject"] = NamedTemplate(name=named.name, source=named.source.strip())
        parts["html"] = NamedTemplate.named(chosen.html, templates)
    if chosen.text:
        parts["text"] = NamedTemplate.named(chosen.text, templates)
    return parts


def template_references(spec: CampaignSpec) -> dict[tuple[str | int, ...], str]:
    """Every template file the campaign names, by where it names it."""
    found: dict[tuple[str | int, ...], str] = {}
    owners: list[tuple[tuple[str | int, ...], Templates | TemplateOverrides]] = [((), spec.templates)]
    owners += [(("variants", position), variant.templates) for position, variant in enumerate(spec.variants)]
    for prefix, templates in owners:
        for channel, parts in templates.model_dump(exclude_none=True).items():
            for part, value in parts.items():
                file = subject_file(value) if part == "subject" else value
                if file is not None:
                    found[(*prefix, "templates", channel, part)] = file
    return found


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
    "variants": keys_of(Variant),
    **SEGMENT_KEYS,
    **SCHEDULE_KEYS,
}
"""For `validation.faults`."""

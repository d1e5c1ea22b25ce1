"""The texts to compile for a message of a campaign, and every file a campaign names. Reads no file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.campaign_templates import (
    EmailTemplates,
    TemplateOverrides,
    Templates,
    WhatsAppTemplates,
)
from comms_pipeline.domain.content import variable_part
from comms_pipeline.domain.message import Channel

_FILE_PREFIX = "file:"
_INLINE = ("subject", "preheader")
"""Parts written in the campaign file itself, unless they begin with `file:`."""
_FILES = ("html", "text")
"""Parts that are always files."""

Place = tuple[str | int, ...]
"""Keys and list positions in a campaign file."""


@dataclass(frozen=True, kw_only=True)
class NamedTemplate:
    """A template's text and the name it goes by in errors (its file; `subject` when written inline)."""

    name: str
    source: str

    @classmethod
    def named(cls, reference: str, templates: Mapping[str, str]) -> Self:
        """The template file called `reference`. Raises `KeyError` when it was not collected."""
        return cls(name=reference, source=templates[reference])


def inline_file(text: str) -> str | None:
    """The file a subject or preheader is in, or None when it is written inline."""
    return text.removeprefix(_FILE_PREFIX).strip() if text.startswith(_FILE_PREFIX) else None


def message_sources(
    spec: CampaignSpec,
    templates: Mapping[str, str],
    channel: Channel,
    variant: str = "",
    language: str | None = None,
) -> dict[str, NamedTemplate]:
    """What to compile for one channel, variant and language, by part: `subject`, `preheader`, `html`, `text`.

    An e-mail that leaves its text to be derived has no `text`; SMS has nothing else, and so has WhatsApp unless it
    sends a Content template: then there is a part for each of its variables (`content.variable_part`). `templates` is
    what `load_campaign` collected.
    """
    chosen = spec.templates_of(channel, variant, language)
    parts: dict[str, NamedTemplate] = {}
    if isinstance(chosen, EmailTemplates):
        for part in _INLINE:
            text = getattr(chosen, part)
            if text is None:
                continue
            file = inline_file(text)
            named = NamedTemplate.named(file, templates) if file else NamedTemplate(name=part, source=text)
            parts[part] = NamedTemplate(name=named.name, source=named.source.strip())
        parts["html"] = NamedTemplate.named(chosen.html, templates)
    if isinstance(chosen, WhatsAppTemplates):
        for number, text in chosen.content_variables.items():
            name = f"content variable {number}"
            parts[variable_part(number)] = NamedTemplate(name=name, source=text)
    if chosen.text:
        parts["text"] = NamedTemplate.named(chosen.text, templates)
    return parts


def template_references(spec: CampaignSpec) -> dict[Place, str]:
    """Every template file the campaign names, by where it names it."""
    found: dict[Place, str] = {}
    for prefix, templates in _owners(spec):
        for channel, parts in templates.model_dump(exclude_none=True).items():
            for part, value in parts.items():
                if part in _FILES:
                    found[(*prefix, channel, part)] = value
                elif part in _INLINE and (file := inline_file(value)) is not None:
                    found[(*prefix, channel, part)] = file
    return found


def one_line_files(spec: CampaignSpec) -> frozenset[str]:
    """The files that hold a subject or preheader."""
    return frozenset(file for place, file in template_references(spec).items() if place[-1] in _INLINE)


def _owners(spec: CampaignSpec) -> Iterator[tuple[Place, Templates | TemplateOverrides]]:
    yield ("templates",), spec.templates
    for language, overrides in spec.translations.items():
        yield ("translations", language), overrides
    for position, variant in enumerate(spec.variants):
        yield ("variants", position, "templates"), variant.templates
        for language, overrides in variant.translations.items():
            yield ("variants", position, "translations", language), overrides

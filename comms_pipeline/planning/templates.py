"""A campaign's templates, compiled per channel and variant, with what is wrong found before anything is sent."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.template_sources import message_sources
from comms_pipeline.personalization.message import (
    CompiledMessage,
    TemplateSource,
    compile_message,
)
from comms_pipeline.planning.choices import ONLY_VARIANT
from comms_pipeline.planning.plain_text import derived_text, with_derived
from comms_pipeline.planning.variables import PROVIDED

_HTML_PARTS = ("html", "preheader")

MessageKey = tuple[Channel, str, str]
"""Channel, variant and language: what a message's text depends on, but for the contact."""


@dataclass(frozen=True, kw_only=True)
class CompiledCampaign:
    """Compiled messages by what their text depends on."""

    messages: Mapping[MessageKey, CompiledMessage]

    @property
    def variables(self) -> frozenset[str]:
        """Every top-level name any of the templates reads."""
        return frozenset().union(*(message.variables for message in self.messages.values()))


def compile_campaign(spec: CampaignSpec, templates: Mapping[str, str]) -> CompiledCampaign:
    """Compile every template the campaign can use. Raises `TemplateError` naming template, line and fix."""
    names = [variant.name for variant in spec.variants] or [ONLY_VARIANT]
    return CompiledCampaign(
        messages={
            (channel, name, language): _compile(spec, templates, (channel, name, language))
            for channel in spec.channels
            for name in names
            for language in spec.languages
        }
    )


def _compile(spec: CampaignSpec, templates: Mapping[str, str], key: MessageKey) -> CompiledMessage:
    channel, variant, language = key
    parts = {
        part: TemplateSource(name=source.name, text=source.source, is_html=part in _HTML_PARTS)
        for part, source in message_sources(spec, templates, channel, variant, language).items()
    }
    if channel is Channel.EMAIL and "text" not in parts:
        page = parts["html"]
        parts["text"] = TemplateSource(name=page.name, text=derived_text(page.text), is_html=False)
        return compile_message(parts, includes=with_derived(templates))
    return compile_message(parts, includes=templates)


def check_variables(spec: CampaignSpec, compiled: CompiledCampaign, known: Collection[str]) -> None:
    """Check that every variable is a contact field, an attribute in `known`, provided, or has a fallback.

    Raises `TemplateError` naming the first that is not, with the nearest name there is.
    """
    names = set(known) | PROVIDED | set(spec.fallbacks)
    for name in sorted(compiled.variables - names):
        nearest = difflib.get_close_matches(name, names, n=1)
        fix = f"Did you mean '{nearest[0]}'?" if nearest else "Add it to the contacts, or under 'fallbacks:'"
        raise TemplateError(f"campaign {spec.id}", f"its templates read '{name}', which no contact has", fix)

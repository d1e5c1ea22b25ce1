"""A campaign's templates, compiled per channel and variant, with what is wrong found before anything is sent."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.template_sources import message_sources
from comms_pipeline.personalization.bodies import PREHEADER
from comms_pipeline.personalization.message import CompiledMessage, TemplateSource, compile_message
from comms_pipeline.planning.choices import ONLY_VARIANT
from comms_pipeline.planning.variables import PROVIDED

_HTML_PARTS = ("html", PREHEADER)

MessageKey = tuple[Channel, str, str]
"""Channel, variant and language: what a message's text depends on, but for the contact."""


class TemplateProblems(TemplateError):
    """Everything that is wrong; reads as the first problem. `problems` holds one `TemplateError` each."""

    def __init__(self, problems: Sequence[TemplateError]) -> None:
        first = problems[0]
        super().__init__(first.culprit, first.problem, first.fix)
        self.problems = tuple(problems)


@dataclass(frozen=True, kw_only=True)
class CompiledCampaign:
    """Compiled messages by what their text depends on."""

    messages: Mapping[MessageKey, CompiledMessage]

    @property
    def variables(self) -> frozenset[str]:
        """Every top-level name any of the templates reads."""
        return frozenset().union(*(message.variables for message in self.messages.values()))


def compile_campaign(spec: CampaignSpec, templates: Mapping[str, str]) -> CompiledCampaign:
    """Compile every template the campaign can use. Raises `TemplateProblems` naming templates, lines and fixes."""
    names = [variant.name for variant in spec.variants] or [ONLY_VARIANT]
    messages: dict[MessageKey, CompiledMessage] = {}
    problems: dict[str, TemplateError] = {}
    for key in product(spec.channels, names, spec.languages):
        try:
            messages[key] = _compile(spec, templates, key)
        except TemplateError as error:
            problems[str(error)] = error  # variants share templates, and their faults
    if problems:
        raise TemplateProblems(list(problems.values()))
    return CompiledCampaign(messages=messages)


def _compile(spec: CampaignSpec, templates: Mapping[str, str], key: MessageKey) -> CompiledMessage:
    channel, variant, language = key
    parts = {
        part: TemplateSource(name=source.name, text=source.source, is_html=part in _HTML_PARTS)
        for part, source in message_sources(spec, templates, channel, variant, language).items()
    }
    return compile_message(parts, includes=templates, language=language)


def check_variables(spec: CampaignSpec, compiled: CompiledCampaign, known: Collection[str]) -> None:
    """Check that every variable is a contact field, an attribute in `known`, provided, or has a fallback.

    Raises `TemplateError` naming the first that is not, with the nearest name there is.
    """
    names = set(known) | PROVIDED | set(spec.fallbacks)
    for name in sorted(compiled.variables - names):
        nearest = difflib.get_close_matches(name, names, n=1)
        fix = f"Did you mean '{nearest[0]}'?" if nearest else "Add it to the contacts, or under 'fallbacks:'"
        raise TemplateError(f"campaign {spec.id}", f"its templates read '{name}', which no contact has", fix)

"""What people name (a built-in template, a file, a campaign) → drafts: one message on one channel, ready to compile.

Reads template files; renders and checks nothing.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import jinja2
from jinja2 import meta

from comms_pipeline.builtin_templates import (
    BUILTIN_FOLDER,
    PART_SUFFIXES,
    BuiltinTemplate,
    Scalar,
    TextChannel,
    builtin_source,
    builtin_sources,
    builtin_template,
    builtin_templates,
)
from comms_pipeline.campaign_files import load_campaign, load_folder
from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.domain.message import MessageClass
from comms_pipeline.domain.template_sources import message_sources, template_references
from comms_pipeline.personalization.locales import DEFAULT_LANGUAGE
from comms_pipeline.personalization.message import CompiledMessage, TemplateSource, compile_message

_HTML_PARTS = frozenset({"html", "preheader"})
_YAML_SUFFIXES = frozenset({".yaml", ".yml"})
_MAX_FILES = 200


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One message on one channel. `message_class` is None where nothing says what law it falls under.

    `includes` are templates by the name the parts give them; `declared` are the variables of a manifest, None
    without one; `examples` and `fallbacks` are values by variable.
    """

    name: str
    channel: TextChannel
    parts: Mapping[str, TemplateSource]
    includes: Mapping[str, str]
    message_class: MessageClass | None = None
    language: str = DEFAULT_LANGUAGE
    declared: frozenset[str] | None = None
    examples: Mapping[str, object] = field(default_factory=dict)
    fallbacks: Mapping[str, Scalar] = field(default_factory=dict)

    @cached_property
    def compiled(self) -> CompiledMessage:
        """Raises `TemplateError` with template, line, column and excerpt."""
        return compile_message(self.parts, includes=self.includes, language=self.language)


def drafts_of(named: str) -> list[Draft]:
    """The drafts of a built-in template, a template file, a campaign file, or a folder of campaigns.

    Raises `NotFound`, `TemplateError`, `InvalidCampaign`.
    """
    path = Path(named)
    if path.is_dir():
        return [
            draft
            for campaign in load_folder(path).campaigns
            for draft in campaign_drafts(campaign.spec, campaign.templates)
        ]
    if not path.is_file():
        return builtin_drafts(builtin_template(named))
    if path.suffix in _YAML_SUFFIXES:
        campaign = load_campaign(path)
        return campaign_drafts(campaign.spec, campaign.templates)
    return [file_draft(path)]


def builtin_drafts(template: BuiltinTemplate) -> list[Draft]:
    """One draft for each channel of a built-in template."""
    return [
        Draft(
            name=template.name,
            channel=channel,
            parts={
                part: _source(name, builtin_source(name) or "", part)
                for part, name in template.parts(channel).items()
            },
            includes=builtin_sources(),
            message_class=template.message_class,
            language=template.language,
            declared=frozenset(template.variables),
            examples=template.examples(),
            fallbacks=template.fallbacks(),
        )
        for channel in template.channels
    ]


def campaign_drafts(spec: CampaignSpec, templates: Mapping[str, str]) -> list[Draft]:
    """One draft for each channel, variant and language of a campaign. Templates used twice are drafted once."""
    includes = {**builtin_sources(), **templates}
    examples, fallbacks = _known_values(
        {**dict.fromkeys(template_references(spec).values(), ""), **templates}
    )
    examples |= {"sender_name": spec.sender.from_name, "campaign_id": spec.id, **spec.fallbacks}
    if spec.postal_address:
        examples["postal_address"] = spec.postal_address
    found: dict[object, Draft] = {}
    for channel in spec.channels:
        for variant in [each.name for each in spec.variants] or [""]:
            for language in spec.languages:
                named = message_sources(spec, includes, channel, variant, language)
                parts = {part: _source(each.name, each.source, part) for part, each in named.items()}
                words = [spec.id, variant, language if language != spec.language else ""]
                draft = Draft(
                    name="-".join(word for word in words if word),
                    channel=TextChannel(channel.value),
                    parts=parts,
                    includes=includes,
                    message_class=spec.message_class,
                    language=language,
                    examples=examples,
                    fallbacks={**fallbacks, **spec.fallbacks},
                )
                found.setdefault((channel, language, *parts.items()), draft)
    return list(found.values())


def file_draft(path: Path) -> Draft:
    """A template file as the only part of its message; its name says which: `x.html`, `x.sms.txt`, `x.txt`.

    What it includes or extends is looked for below its folder.
    """
    channel, part = _place_of(path.name)
    source = _text(path)
    own = _includes(path, source)
    examples, fallbacks = _known_values(own)
    return Draft(
        name=path.name.partition(".")[0],
        channel=channel,
        parts={part: _source(str(path), source, part)},
        includes={**builtin_sources(), **own},
        examples=examples,
        fallbacks=fallbacks,
    )


def _source(name: str, text: str, part: str) -> TemplateSource:
    # A file ends with a line break; a subject must not.
    return TemplateSource(name=name, text=text.strip("\n"), is_html=part in _HTML_PARTS)


def _place_of(file: str) -> tuple[TextChannel, str]:
    """The channel and part a file's name stands for, by its longest ending."""
    endings = {
        suffix: (channel, part) for channel, parts in PART_SUFFIXES.items() for part, suffix in parts.items()
    }
    for suffix in sorted(endings, key=len, reverse=True):
        if file.endswith(suffix):
            return endings[suffix]
    raise TemplateError(
        file,
        "its name does not say what it is",
        "Call it .html, .txt, .subject.txt, .sms.txt or .whatsapp.txt",
    )


def _includes(path: Path, source: str) -> dict[str, str]:
    """Whatever a file includes, extends or imports, and so on. What is not there the compiler reports."""
    found: dict[str, str] = {}
    waiting = deque(_references(source))
    while waiting:
        name = waiting.popleft()
        text = builtin_source(name)
        inside = path.parent / name
        if name in found or len(found) > _MAX_FILES:
            continue
        if text is None:
            if not inside.is_file() or not inside.resolve().is_relative_to(path.parent.resolve()):
                continue
            text = _text(inside)
        found[name] = text
        waiting.extend(_references(text))
    return found


def _references(source: str) -> list[str]:
    try:
        tree = jinja2.Environment(autoescape=True).parse(source)
    except jinja2.TemplateSyntaxError:
        return []  # the compiler says where
    return [name for name in meta.find_referenced_templates(tree) if name]


def _known_values(used: Mapping[str, str]) -> tuple[dict[str, object], dict[str, Scalar]]:
    """Examples and fallbacks of the built-in templates that are among `used`, or named there."""
    texts = [*used, *(name for text in used.values() for name in _references(text))]
    examples: dict[str, object] = {}
    fallbacks: dict[str, Scalar] = {}
    for template in builtin_templates():
        if any(name.startswith(f"{BUILTIN_FOLDER}{template.name}.") for name in texts):
            examples = template.examples() | examples
            fallbacks = template.fallbacks() | fallbacks
    return examples, fallbacks


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise TemplateError(str(path), "it is not UTF-8 text", "Save it as UTF-8") from None
    except OSError as error:
        raise TemplateError(
            str(path), f"it cannot be read ({error.strerror})", "Check its permissions"
        ) from None

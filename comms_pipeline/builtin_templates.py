"""The templates that come with us: their texts by name, and what their manifests say. Renders nothing.

A template is a manifest `GROUP/NAME.yaml` under `templates/messages/` and beside it one file per part. Files go by
their path below the reserved folder `builtin/`: `builtin/business/invoice.html`; templates that include or extend one
say the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from comms_pipeline.domain.errors import NotFound, TemplateError
from comms_pipeline.domain.message import MessageClass
from comms_pipeline.domain.validation import KnownKeys, Strict, close_match, fault, faults, keys_of
from comms_pipeline.domain.yaml_marks import YamlSyntaxError, parse_yaml

BUILTIN_FOLDER = "builtin/"
"""What the names of built-in files begin with; no campaign has a folder of this name."""

Scalar = str | bool | int | float
Record = Mapping[str, Scalar]
_MANIFEST_SUFFIX = ".yaml"


class TextChannel(StrEnum):
    """What a built-in template is written for; more than campaigns send on."""

    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"
    MESSENGER = "messenger"


PART_SUFFIXES: Mapping[TextChannel, Mapping[str, str]] = {
    TextChannel.EMAIL: {"subject": ".subject.txt", "html": ".html", "text": ".txt"},
    TextChannel.SMS: {"text": ".sms.txt"},
    TextChannel.WHATSAPP: {"text": ".whatsapp.txt"},
    TextChannel.MESSENGER: {"text": ".messenger.txt"},
}
"""Part → how its file's name ends, by channel."""


class Variable(Strict):
    """What a template reads. Without a fallback every contact must have it."""

    description: str
    example: Annotated[Scalar | tuple[Record, ...], Field(union_mode="left_to_right")]
    fallback: Annotated[Scalar | None, Field(union_mode="left_to_right")] = None

    @property
    def is_required(self) -> bool:
        """Whether a message cannot do without it."""
        return self.fallback is None


class _ManifestFile(Strict):
    """A manifest as written."""

    title: str
    description: str
    message_class: MessageClass = Field(alias="class")
    language: str
    channels: tuple[TextChannel, ...]
    variables: Mapping[str, Variable]

    @model_validator(mode="after")
    def _has_a_channel(self) -> Self:
        if not self.channels:
            raise fault("no channel is listed", "Write channels: [email]")
        return self


_KEYS: KnownKeys = {"": keys_of(_ManifestFile), "variables": keys_of(Variable)}


@dataclass(frozen=True, kw_only=True)
class BuiltinTemplate:
    """One message that comes with us; `name` is `group/name`."""

    name: str
    title: str
    description: str
    message_class: MessageClass
    language: str
    channels: tuple[TextChannel, ...]
    variables: Mapping[str, Variable]

    def parts(self, channel: TextChannel) -> dict[str, str]:
        """The file of every part: `{"subject": "builtin/business/invoice.subject.txt", …}`."""
        return {
            part: f"{BUILTIN_FOLDER}{self.name}{suffix}" for part, suffix in PART_SUFFIXES[channel].items()
        }

    def examples(self) -> dict[str, object]:
        """Every variable's example, enough to render the template without a contact."""
        return {
            name: list(value.example) if isinstance(value.example, tuple) else value.example
            for name, value in self.variables.items()
        }

    def fallbacks(self) -> dict[str, Scalar]:
        """What to write where a contact lacks a value, for the variables that are not required."""
        return {name: value.fallback for name, value in self.variables.items() if value.fallback is not None}


def builtin_names() -> tuple[str, ...]:
    """The name of every built-in file: `builtin/base.html`, `builtin/business/invoice.html`, …"""
    return tuple(sorted(_sources()))


def builtin_source(name: str) -> str | None:
    """The text of a built-in file, or None when there is none of this name."""
    return _sources().get(name)


def builtin_sources() -> Mapping[str, str]:
    """Every built-in file by its name, for the includes of a message."""
    return _sources()


@cache
def builtin_templates() -> tuple[BuiltinTemplate, ...]:
    """Every built-in template, by name. Raises `TemplateError` for a broken manifest."""
    return tuple(_template(name, text) for name, text in sorted(_read(_root(), "")) if _is_manifest(name))


def builtin_template(name: str) -> BuiltinTemplate:
    """The template `group/name`, also by the name of one of its files. Raises `NotFound` with the nearest name."""
    by_name = {template.name: template for template in builtin_templates()}
    asked = name.removeprefix(BUILTIN_FOLDER)
    if asked not in by_name:
        group, _, file = asked.rpartition("/")
        asked = f"{group}/{file.partition('.')[0]}"
    if asked in by_name:
        return by_name[asked]
    close = close_match(asked, by_name)
    fix = f"Did you mean '{close}'?" if close else "See `comms templates list`"
    raise NotFound(f"template '{name}'", "there is no such file and no built-in template", fix)


def builtin_fallbacks(names: Iterable[str]) -> dict[str, Scalar]:
    """The fallbacks of the built-in templates that any of these files belong to; what a campaign says goes first."""
    templates = {name: template for template in builtin_templates() for name in _files_of(template)}
    found: dict[str, Scalar] = {}
    for name in names:
        if name in templates:
            found = templates[name].fallbacks() | found
    return found


def _files_of(template: BuiltinTemplate) -> list[str]:
    return [file for channel in template.channels for file in template.parts(channel).values()]


def _root() -> Traversable:
    return files("comms_pipeline").joinpath("templates/messages")


@cache
def _sources() -> Mapping[str, str]:
    return {BUILTIN_FOLDER + name: text for name, text in _read(_root(), "") if not _is_manifest(name)}


def _is_manifest(name: str) -> bool:
    return name.endswith(_MANIFEST_SUFFIX)


def _read(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _read(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith((".html", ".txt", _MANIFEST_SUFFIX)):
            found.append((prefix + entry.name, entry.read_text(encoding="utf-8")))
    return found


def _template(file: str, text: str) -> BuiltinTemplate:
    culprit = BUILTIN_FOLDER + file
    try:
        document = parse_yaml(text)
        written = _ManifestFile.model_validate(document.value)
    except YamlSyntaxError as error:
        raise TemplateError(f"{culprit}:{error.line}", error.problem, error.fix) from None
    except ValidationError as error:
        first = faults(error, _KEYS)[0]
        raise TemplateError(f"{culprit}:{document.line(first.path)}", first.problem, first.fix) from None
    return BuiltinTemplate(
        name=file.removesuffix(_MANIFEST_SUFFIX),
        title=written.title,
        description=written.description,
        message_class=written.message_class,
        language=written.language,
        channels=written.channels,
        variables=written.variables,
    )

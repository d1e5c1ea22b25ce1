"""Reads campaigns from disk: folders of YAML files and the templates they name. Writes and renders nothing.

A folder holds `organisation.yaml`, one YAML file per campaign, templates, and saved segments in `segments/`. Contact
mappings (`*.map.yaml`) may lie beside them and are passed over. Templates below `builtin/` are those that come with us.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import jinja2
from jinja2 import nodes
from pydantic import ValidationError

from comms_pipeline.audience.definition import check_sql
from comms_pipeline.builtin_templates import (
    BUILTIN_FOLDER,
    builtin_fallbacks,
    builtin_names,
    builtin_source,
)
from comms_pipeline.domain.campaign import CAMPAIGN_KEYS, CampaignSpec
from comms_pipeline.domain.errors import InvalidCampaign, InvalidSegment
from comms_pipeline.domain.message import GENERAL_TOPIC
from comms_pipeline.domain.organisation import ORGANISATION_KEYS, Organisation
from comms_pipeline.domain.saved_segment import SEGMENT_FILE_KEYS, SegmentSpec
from comms_pipeline.domain.template_sources import one_line_files, template_references
from comms_pipeline.domain.validation import KnownKeys, close_match, faults, nearest
from comms_pipeline.domain.yaml_marks import MarkedYaml, YamlSyntaxError, parse_yaml

ORGANISATION_FILE = "organisation.yaml"
SEGMENT_FOLDER = "segments"
MAX_FILE_BYTES = 1_048_576

_YAML_SUFFIXES = frozenset({".yaml", ".yml"})


class InvalidCampaignFiles(InvalidCampaign):
    """Everything that is wrong; reads as the first problem. `problems` holds one `InvalidCampaign` each."""

    def __init__(self, problems: Sequence[InvalidCampaign]) -> None:
        first = problems[0]
        super().__init__(first.culprit, first.problem, first.fix)
        self.problems = tuple(problems)


class CampaignFile(NamedTuple):
    """A campaign and the text of every template it needs, by its path below the campaign's folder."""

    spec: CampaignSpec
    templates: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class CampaignFolder:
    """An organisation (None without `organisation.yaml`) and its campaigns, in order of file name."""

    organisation: Organisation | None
    campaigns: tuple[CampaignFile, ...]


def load_folder(folder: Path) -> CampaignFolder:
    """Read a folder's organisation and all its campaigns.

    Raises `InvalidCampaignFiles` with the problems of every file.
    """
    if not folder.is_dir():
        raise _single(str(folder), "there is no such folder", "Name a folder of campaign files")
    organisation = _organisation_beside(folder)
    campaigns: dict[str, CampaignFile] = {}
    problems: list[InvalidCampaign] = []
    for path in _campaign_paths(folder):
        try:
            campaign = load_campaign(path)
        except InvalidCampaignFiles as error:
            problems += error.problems
            continue
        if campaign.spec.id in campaigns:
            problem = f"another file of this folder has the id '{campaign.spec.id}' too"
            problems.append(InvalidCampaign(str(path), problem, "Give each campaign its own id"))
        campaigns[campaign.spec.id] = campaign
    if problems:
        raise InvalidCampaignFiles(problems)
    if not campaigns:
        raise _single(str(folder), "it holds no campaign file", "Add a .yaml file with a campaign")
    return CampaignFolder(organisation=organisation, campaigns=tuple(campaigns.values()))


def load_campaign(path: Path) -> CampaignFile:
    """Read one campaign file and collect its templates, with whatever these include or extend.

    Without a `postal_address` of its own the campaign takes the one of `organisation.yaml` beside it. Built-in
    templates are collected like others, so that a stored campaign stays as it is, and bring their fallbacks.
    Raises `InvalidCampaignFiles`; culprits are `file:line`.
    """
    organisation = _organisation_beside(path.parent)
    document = _document(path)
    values = document.value
    if organisation and isinstance(values, dict) and values.get("organisation") == organisation.id:
        values = {"postal_address": organisation.postal_address, **values}
    try:
        spec = CampaignSpec.model_validate(values)
    except ValidationError as error:
        raise _invalid(path, document, error) from None
    problems = list(_mismatches(path, document, spec, organisation))
    collector = _TemplateCollector(folder=path.parent)
    for where, name in template_references(spec).items():
        collector.collect(name, f"{path}:{document.line(where)}")
    problems += collector.problems + _long_subjects(spec, collector.templates, path.parent)
    if problems:
        raise InvalidCampaignFiles(problems)
    if fallbacks := builtin_fallbacks(collector.templates):
        spec = spec.model_copy(update={"fallbacks": {**fallbacks, **spec.fallbacks}})
    return CampaignFile(spec=spec, templates=collector.templates)


def load_segments(folder: Path) -> dict[str, SegmentSpec]:
    """Read `segments/NAME.yaml` of a folder, by name; none without that folder. Each goes with an organisation.

    What a segment says of other segments is not looked at. Raises `InvalidCampaignFiles` with the problems of every
    file.
    """
    organisation = _organisation_beside(folder)
    place = folder / SEGMENT_FOLDER
    found: dict[str, SegmentSpec] = {}
    problems: list[InvalidCampaign] = []
    for path in _campaign_paths(place) if place.is_dir() else []:
        try:
            found[path.stem] = _load_segment(path, organisation)
        except InvalidCampaignFiles as error:
            problems += error.problems
    if problems:
        raise InvalidCampaignFiles(problems)
    return found


def _load_segment(path: Path, organisation: Organisation | None) -> SegmentSpec:
    document = _document(path)
    values = document.value
    if isinstance(values, dict):
        values = {"name": path.stem, **({"organisation": organisation.id} if organisation else {}), **values}
    try:
        spec = SegmentSpec.model_validate(values)
    except ValidationError as error:
        raise _invalid(path, document, error, SEGMENT_FILE_KEYS) from None
    if spec.name != path.stem:
        raise _single(f"{path}:{document.line(['name'])}", "its name is not the file's", "Leave 'name:' out")
    if organisation and spec.organisation != organisation.id:
        problem = f"organisation '{spec.organisation}' is not the one of {ORGANISATION_FILE}"
        raise _single(f"{path}:{document.line(['organisation'])}", problem, f"Write {organisation.id}")
    try:
        check_sql(spec.audience)
    except InvalidSegment as error:
        culprit = f"{path}:{document.line(['audience', 'sql'])}"
        raise _single(culprit, f"{error.culprit}: {error.problem}", error.fix) from None
    return spec


def load_organisation(path: Path) -> Organisation:
    """Read an `organisation.yaml`. Raises `InvalidCampaignFiles`; culprits are `file:line`."""
    document = _document(path)
    try:
        return Organisation.model_validate(document.value)
    except ValidationError as error:
        raise _invalid(path, document, error, ORGANISATION_KEYS) from None


def _single(culprit: str, problem: str, fix: str) -> InvalidCampaignFiles:
    return InvalidCampaignFiles([InvalidCampaign(culprit, problem, fix)])


def _campaign_paths(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in _YAML_SUFFIXES
        and path.name != ORGANISATION_FILE
        and not path.stem.endswith(".map")
        and not path.name.startswith(".")
    )


def _organisation_beside(folder: Path) -> Organisation | None:
    path = folder / ORGANISATION_FILE
    return load_organisation(path) if path.exists() else None


def _document(path: Path) -> MarkedYaml:
    try:
        return parse_yaml(_text(path))
    except _UnusableFileError as error:
        raise _single(str(path), error.problem, error.fix) from None
    except YamlSyntaxError as error:
        raise _single(f"{path}:{error.line}", error.problem, error.fix) from None


def _invalid(
    path: Path,
    document: MarkedYaml,
    error: ValidationError,
    known_keys: KnownKeys = CAMPAIGN_KEYS,
) -> InvalidCampaignFiles:
    found = faults(error, known_keys)
    lines = [document.line(fault.path) for fault in found]
    return InvalidCampaignFiles(
        [
            InvalidCampaign(f"{path}:{line}", fault.problem, fault.fix)
            for line, fault in sorted(zip(lines, found, strict=True), key=lambda pair: pair[0])
        ]
    )


def _mismatches(
    path: Path, document: MarkedYaml, spec: CampaignSpec, organisation: Organisation | None
) -> Iterator[InvalidCampaign]:
    if organisation and spec.organisation != organisation.id:
        problem = f"organisation '{spec.organisation}' is not the one of {ORGANISATION_FILE}"
        culprit = f"{path}:{document.line(['organisation'])}"
        yield InvalidCampaign(culprit, problem, f"Write {organisation.id}")
    # Without the file beside it, the organisation's topics are nobody's to know here.
    elif organisation and spec.topic not in (known := {GENERAL_TOPIC, *organisation.topics}):
        problem = f"topic '{spec.topic}' is not in {ORGANISATION_FILE}"
        fix = nearest(spec.topic, known) if organisation.topics else "Add 'topics:' to it"
        yield InvalidCampaign(f"{path}:{document.line(['topic'])}", problem, fix)
    try:
        check_sql(spec.audience)
    except InvalidSegment as error:
        culprit = f"{path}:{document.line(['audience', 'sql'])}"
        yield InvalidCampaign(culprit, f"{error.culprit}: {error.problem}", error.fix)


def _long_subjects(spec: CampaignSpec, templates: Mapping[str, str], folder: Path) -> list[InvalidCampaign]:
    return [
        InvalidCampaign(
            str(folder / file), "a subject or preheader has several lines", "Write it on one line"
        )
        for file in sorted(one_line_files(spec) & set(templates))
        if len(templates[file].strip().splitlines()) > 1
    ]


class _UnusableFileError(Exception):
    """A file cannot be read, or must not be."""

    def __init__(self, problem: str, fix: str) -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(problem)


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise _UnusableFileError("there is no such file", "Check the path")
        content = path.read_bytes()
    except OSError as error:
        raise _UnusableFileError(f"it cannot be read ({error.strerror})", "Check its permissions") from None
    if len(content) > MAX_FILE_BYTES:
        raise _UnusableFileError(
            "it is larger than 1 MiB", "Shorten it; host images elsewhere and link to them"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _UnusableFileError("it is not UTF-8 text", "Save it as UTF-8") from None


def _builtin(name: str) -> str:
    source = builtin_source(name)
    if source is None:
        close = close_match(name, builtin_names())
        fix = f"Did you mean '{close}'?" if close else "See `comms templates list`"
        raise _UnusableFileError("there is no such built-in template", fix)
    return source


@dataclass(frozen=True, kw_only=True)
class _TemplateCollector:
    """Gathers templates below `folder`, never from outside it, and what they include, extend or import."""

    folder: Path
    templates: dict[str, str] = field(default_factory=dict)
    problems: list[InvalidCampaign] = field(default_factory=list)

    def collect(self, name: str, culprit: str) -> None:
        """Take in one template and all it needs. `culprit` is the place that names it."""
        waiting = deque([(name, culprit)])
        while waiting:
            name, culprit = waiting.popleft()
            if name in self.templates:
                continue
            try:
                self.templates[name] = self._read(name)
                waiting.extend(self._references(name))
            except _UnusableFileError as error:
                self.problems.append(
                    InvalidCampaign(culprit, f"template '{name}': {error.problem}", error.fix)
                )
            except jinja2.TemplateSyntaxError as error:
                problem = (error.message or "syntax error").rstrip(".")
                self.problems.append(
                    InvalidCampaign(f"{self._place(name)}:{error.lineno}", problem, "Correct the template")
                )

    def _place(self, name: str) -> str:
        return name if name.startswith(BUILTIN_FOLDER) else str(self.folder / name)

    def _read(self, name: str) -> str:
        if name.startswith(BUILTIN_FOLDER):
            return _builtin(name)
        parts = PurePosixPath(name).parts
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name or "\x00" in name:
            raise _UnusableFileError("the path leads out of the campaign's folder", "Keep templates below it")
        path = self.folder / name
        # `resolve` follows links: one may lie inside the folder and point out of it.
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise _UnusableFileError("the path leads out of the campaign's folder", "Keep templates below it")
        if not path.is_file():
            beside = [each.name for each in path.parent.glob("*") if each.is_file()]
            close = close_match(path.name, beside)
            raise _UnusableFileError(
                "there is no such file", f"Did you mean '{close}'?" if close else "Create it"
            )
        return _text(path)

    def _references(self, name: str) -> Iterator[tuple[str, str]]:
        """Templates that one template names, each with the place that names it."""
        tree = jinja2.Environment(autoescape=True).parse(self.templates[name])
        for node in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
            culprit = f"{self._place(name)}:{node.lineno}"
            template = getattr(node, "template", None)
            value = template.value if isinstance(template, nodes.Const) else None
            if not isinstance(value, str):
                problem = "the name of an included template is not a plain text"
                self.problems.append(InvalidCampaign(culprit, problem, 'Write {% include "footer.html" %}'))
            else:
                yield value, culprit

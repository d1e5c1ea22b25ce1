"""The documentation agrees with the code: settings, commands, links, keys, tables, and the files it shows."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from comms_pipeline.campaign_files import load_folder
from comms_pipeline.cli.main import app
from comms_pipeline.contacts.mapping import ContactMapping, Target, load_mapping
from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.segment import Operator
from comms_pipeline.planning.variables import PROVIDED
from comms_pipeline.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|[\s/$])comms((?:[ \t]+(?:--)?[\w-]+)*)", re.MULTILINE)
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
GUIDE_FILE = re.compile(r"`bakery/([\w.]+)`[^`]*```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"create table if not exists (\w+\.\w+) \(\n(.*?)\n\);", re.DOTALL)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def first_cells(text: str) -> set[str]:
    """The code spans in the first column of every table."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {span for cell in cells for span in CODE_SPAN.findall(cell)}


def anchors(text: str) -> set[str]:
    """The anchors that headings get on the usual sites."""
    headings = HEADING.findall(FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_named(text: str) -> Iterator[list[str]]:
    """The words after `comms` wherever code names a command."""
    pieces = [body for _, body in FENCE.findall(text)] + CODE_SPAN.findall(FENCE.sub("", text))
    for piece in pieces:
        yield from (match[1].split() for match in COMMAND.finditer(piece))


def commands_there_are() -> dict[str, set[str]]:
    """The options of every command, by its full name."""
    found = {}
    groups = [("", typer.main.get_command(app))]
    for prefix, group in groups:
        for name, command in getattr(group, "commands", {}).items():
            full = f"{prefix} {name}".strip()
            if hasattr(command, "commands"):
                groups.append((full, command))
            else:
                found[full] = {option for each in command.params for option in each.opts} | {"--help"}
    return found


def test_every_setting_is_documented_with_its_default() -> None:
    page = text_of("docs/configuration.md")
    assert first_cells(page) == {PREFIX + name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, str | int | float | Path) and field.default != "":
            (row,) = re.findall(rf"^\| `{PREFIX}{name.upper()}` \| (.*?) \|", page, re.MULTILINE)
            assert str(field.default).lower() in row, name


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


@every_page
def test_every_command_named_exists(page: Path) -> None:
    there_are = commands_there_are()
    for words in commands_named(page.read_text(encoding="utf-8")):
        names = [word for word in words if not word.startswith("--")]
        full = next((name for name in there_are if name.split() == names[: len(name.split())]), None)
        is_group = any(name.split()[: len(names)] == names for name in there_are)
        assert full or is_group, f"comms {' '.join(words)}"
        options = {word for word in words if word.startswith("--")} - {"--home"}
        assert options <= there_are.get(full or "", set()), f"comms {' '.join(words)}"


def test_the_readme_lists_every_command() -> None:
    listed = {" ".join(words) for words in commands_named(text_of("README.md"))}
    for name in commands_there_are():
        assert any(words == name or words.startswith(f"{name} ") for words in listed), name


def test_files_of_the_first_campaign_are_valid(tmp_path: Path) -> None:
    files = dict(GUIDE_FILE.findall(text_of("docs/guides/first-campaign.md")))
    for name, body in files.items():
        (tmp_path / name).write_text(body, encoding="utf-8")
    folder = load_folder(tmp_path)
    assert [campaign.spec.id for campaign in folder.campaigns] == ["saturday-bread"]
    assert folder.organisation is not None
    assert folder.organisation.id == load_mapping(tmp_path / "customers.map.yaml").organisation
    assert len(files["customers.csv"].splitlines()) == 9


def keys_of_file(model: type[BaseModel]) -> set[str]:
    """What people write, where that differs from the name in code."""
    return {field.alias or name for name, field in model.model_fields.items()}


def test_every_key_of_a_campaign_file_is_documented() -> None:
    cells = first_cells(text_of("docs/guides/campaign-files.md"))
    assert keys_of_file(CampaignSpec) <= cells
    assert {str(operator) for operator in Operator} <= cells
    assert cells >= PROVIDED


def test_every_key_of_a_mapping_is_documented() -> None:
    cells = first_cells(text_of("docs/guides/importing-contacts.md"))
    assert {key for key in keys_of_file(ContactMapping) if key != "consent"} <= cells
    assert {"consent.source", "consent.at", "consent.kind"} <= cells
    assert {str(target) for target in Target} <= cells


@every_page
def test_python_shown_imports_what_exists(page: Path) -> None:
    blocks = [body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == "python"]
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)
            elif isinstance(node, ast.Import):
                assert all(importlib.import_module(name.name) for name in node.names)

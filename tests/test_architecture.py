"""What must hold of the layout and the distribution, beyond what import-linter says of imports."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from comms_pipeline.audience.sql import RELATIONS
from comms_pipeline.sqlfiles import named_queries

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "comms_pipeline"
WAREHOUSE = ROOT / "warehouse"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 450
# Dagster reads annotations at run time: postponed they are only text.
DAGSTER_MODULES = [
    *PACKAGE.glob("*.py"),
    *(path for name in ("assets", "ops", "sensors", "resources") for path in PACKAGE.glob(f"{name}/*.py")),
]
# Models are found by their folder, not by their names.
SQL_FILES = sorted(
    path
    for path in WAREHOUSE.rglob("*.sql")
    if "-- name: " in path.read_text("utf-8") and not path.is_relative_to(WAREHOUSE / "lake/models")
)

# Fails on what an import must not do: reach for the network, or write, or read anything of the installation.
WATCHED_IMPORT = """
import importlib, json, os, pkgutil, sys

def watch(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "sqlite3.connect", "os.mkdir", "os.remove"}:
        seen.append(f"{module}: {event}")
    if event == "open":
        path, mode = str(arguments[0]), arguments[1] or ""
        if set(mode) & set("wax+") or path.startswith(os.environ["COMMS_HOME"]) or path.endswith(".env"):
            seen.append(f"{module}: open {path} {mode}")

seen, module = [], ""
sys.addaudithook(watch)
import comms_pipeline
for found in pkgutil.walk_packages(comms_pipeline.__path__, "comms_pipeline."):
    module = found.name
    # The first runs the command line; the second brings its own habits, and is imported when a check runs.
    if module not in {"comms_pipeline.cli.__main__", "comms_pipeline.assets.expectations"}:
        importlib.import_module(module)
print(json.dumps({"seen": seen, "modules": sorted(sys.modules)}))
"""
DEFINITIONS_IMPORT = "import json, sys, comms_pipeline.definitions; print(json.dumps(sorted(sys.modules)))"


def isolated(code: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter, in a folder of its own, with a home nobody can use."""
    locked = tmp_path / "file-not-folder"
    locked.touch()
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "COMMS_HOME": str(locked / "home"),
            "COMMS_DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_says_what_lives_in_it_and_fits_in_one_head(path: Path) -> None:
    assert ast.get_docstring(tree(path)), "no docstring"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_tests_are_no_packages_and_have_names_of_their_own() -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert [str(path) for path in files if path.name == "__init__.py"] == []
    names = [path.name for path in files if path.name.startswith("test_")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_dagster_modules_keep_their_annotations() -> None:
    postponed = [
        path.name
        for path in DAGSTER_MODULES
        for node in tree(path).body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    assert postponed == []


def test_dagster_finds_the_same_location_by_either_way() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["dg"]["project"]
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    assert workspace == {
        "load_from": [
            {
                "python_module": {
                    "module_name": "comms_pipeline.definitions",
                    "location_name": "comms_pipeline",
                }
            }
        ]
    }
    assert project["code_location_name"] == "comms_pipeline"
    assert project["code_location_target_module"] == "comms_pipeline.definitions"


def test_importing_does_nothing(tmp_path: Path) -> None:
    run = isolated(WATCHED_IMPORT, tmp_path)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["seen"] == []


def test_definitions_import_nothing_heavy_and_no_sandbox(tmp_path: Path) -> None:
    run = isolated(DEFINITIONS_IMPORT, tmp_path)
    assert run.returncode == 0, run.stderr
    modules = set(json.loads(run.stdout))
    unwanted = {"great_expectations", "twilio", "sendgrid", "comms_pipeline.sandbox", "comms_pipeline.web"}
    assert modules & unwanted == set()
    assert "comms_pipeline.ops.dispatch" in modules


def test_command_line_starts_without_dagster(tmp_path: Path) -> None:
    run = isolated("import json, sys, comms_pipeline.cli.main; print(json.dumps([*sys.modules]))", tmp_path)
    assert run.returncode == 0, run.stderr
    assert set(json.loads(run.stdout)) & {"dagster", "great_expectations", "pandas", "uvicorn"} == set()


def texts() -> Iterator[str]:
    """Every text in our code that may name a query or its file, as a pattern: what is put in may be anything."""
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.escape(node.value)
            elif isinstance(node, ast.JoinedStr):
                given = [each.value if isinstance(each, ast.Constant) else None for each in node.values]
                if len("".join(filter(None, given))) > 4:
                    yield "".join(r"\w+" if text is None else re.escape(text) for text in given)


def test_every_named_query_is_used() -> None:
    # Queries that are put together: `own_` and the name of a relation, `of_` and what an event is asked by.
    patterns = {*texts(), *(f"own_{name}" for name in RELATIONS), "of_campaign", "of_topic", "of_channel"}
    used = re.compile("|".join(f"(?:{pattern})" for pattern in patterns if len(pattern) < 60))
    unused = [
        f"{path.relative_to(WAREHOUSE)}: {name}"
        for path in SQL_FILES
        for name in named_queries(str(path.relative_to(WAREHOUSE)))
        if not used.fullmatch(name)
    ]
    assert unused == []


def test_every_query_asked_for_exists() -> None:
    known = {name for path in SQL_FILES for name in named_queries(str(path.relative_to(WAREHOUSE)))}
    asked = [
        node.slice.value
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", "") == "named_queries"
        and isinstance(node.slice, ast.Constant)
    ]
    assert len(asked) > 40
    assert sorted(set(asked) - known) == []


def test_every_sql_file_is_asked_for() -> None:
    asked = set(texts())
    absent = [path.name for path in SQL_FILES if re.escape(str(path.relative_to(WAREHOUSE))) not in asked]
    assert absent == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.xdist_group("wheel")
def test_wheel_carries_everything_that_is_not_code(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    beside = {
        f"comms_pipeline/_project/{path.relative_to(ROOT).as_posix()}"
        for folder in ("warehouse", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inside = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted((beside | inside) - names) == []
    assert {
        "comms_pipeline/_project/warehouse/ledger/migrations/0001_ledger.sql",
        "comms_pipeline/_project/examples/wedding/guests.csv",
        "comms_pipeline/_project/Procfile",
        "comms_pipeline/_project/workspace.yaml",
        "comms_pipeline/templates/report.html",
        "comms_pipeline/web/templates/confirm.html",
        "comms_pipeline/compliance/rules/reachability.yaml",
    } <= names
    assert [name for name in names if "__pycache__" in name or name.startswith("tests")] == []


@pytest.mark.xdist_group("wheel")
def test_installed_wheel_finds_its_files(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "a place with spaces"
    zipfile.ZipFile(wheel).extractall(installed)
    code = (
        "import json; from comms_pipeline.sqlfiles import named_queries, warehouse_root;"
        "from comms_pipeline.cli.project_files import project_file;"
        "from comms_pipeline.campaign_files import load_folder;"
        "print(json.dumps([str(warehouse_root()), str(project_file('workspace.yaml')),"
        "len(load_folder(project_file('examples') / 'wedding').campaigns),"
        "'claim_due' in named_queries('ledger/queries/batches.sql')]))"
    )
    run = isolated(code, tmp_path, PYTHONPATH=str(installed))
    assert run.returncode == 0, run.stderr
    packed = installed / "comms_pipeline/_project"
    assert json.loads(run.stdout) == [str(packed / "warehouse"), str(packed / "workspace.yaml"), 3, True]

"""All models there are, in the order in which they can be computed."""

from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import MappingProxyType

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.models.header import InvalidModel, Model, read_model, read_shared_columns
from comms_pipeline.sqlfiles import warehouse_root

FOLDER = "lake/models"
SHARED = "columns.yaml"
LAYERS = ("raw", "core", "mart")


@cache
def models() -> Mapping[str, Model]:
    """Every model by its table, each after those it reads.

    Raises `InvalidModel` for a file that cannot be used, and where models read each other in a circle.
    """
    return in_order(read_folder(warehouse_root() / FOLDER))


@cache
def model_named(table: str) -> Model:
    """The model of `schema.name`; reads no other. Raises `NotFound`, `InvalidModel`."""
    folder = warehouse_root() / FOLDER
    for path in model_files(folder):
        if _table(path) == table:
            return _read(path, _shared(folder))
    raise NotFound(f"model {table}", "there is no such model", f"Choose one of: {', '.join(models())}")


def text_of_all() -> str:
    """The text of every file, which changes when any of them does."""
    files = [warehouse_root() / FOLDER / SHARED, *model_files(warehouse_root() / FOLDER)]
    return "\n".join(f"{path.name}\n{path.read_text(encoding='utf-8')}" for path in files)


def model_files(folder: Path) -> list[Path]:
    """The files of all models under `folder`, always in the same order."""
    return sorted(path for layer in LAYERS for path in (folder / layer).glob("*.sql"))


def read_folder(folder: Path) -> list[Model]:
    """The models of `folder`/LAYER/NAME.sql, with the columns of its `columns.yaml`. Raises `InvalidModel`."""
    shared = _shared(folder)
    return [_read(path, shared) for path in model_files(folder)]


def _shared(folder: Path) -> Mapping[str, object]:
    path = folder / SHARED
    text = path.read_text(encoding="utf-8") if path.exists() else "{}"
    return read_shared_columns(f"warehouse/{FOLDER}/{SHARED}", text)


def _table(path: Path) -> str:
    return f"{path.parent.name}.{path.stem}"


def _read(path: Path, shared: Mapping[str, object]) -> Model:
    file = f"warehouse/{FOLDER}/{path.parent.name}/{path.name}"
    return read_model(_table(path), file, path.read_text(encoding="utf-8"), shared)


def in_order(found: Iterable[Model]) -> Mapping[str, Model]:
    """The models by table, each after those it reads. Raises `InvalidModel` for a circle."""
    # sqlglot takes a quarter of a second, and most who open the lake find it up to date.
    from comms_pipeline.models.sql import reads

    by_table = {model.table: model for model in found}
    sorter = TopologicalSorter(
        {table: sorted(reads(model) & by_table.keys()) for table, model in by_table.items()}
    )
    try:
        ordered = list(sorter.static_order())
    except CycleError as error:
        circle = " → ".join(error.args[1])
        first = by_table[error.args[1][0]]
        raise InvalidModel(
            first.file,
            f"models read each other in a circle: {circle}",
            "Let one of them read what the other is made of",
        ) from None
    return MappingProxyType({table: by_table[table] for table in ordered})

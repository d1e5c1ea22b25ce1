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


def model_named(table: str) -> Model:
    """The model of `schema.name`. Raises `NotFound`."""
    found = models().get(table)
    if found is None:
        raise NotFound(f"model {table}", "there is no such model", f"Choose one of: {', '.join(models())}")
    return found


def text_of_all() -> str:
    """The text of every file, which changes when any of them does."""
    files = [warehouse_root() / FOLDER / SHARED, *model_files(warehouse_root() / FOLDER)]
    return "\n".join(f"{path.name}\n{path.read_text(encoding='utf-8')}" for path in files)


def model_files(folder: Path) -> list[Path]:
    """The files of all models under `folder`, always in the same order."""
    return sorted(path for layer in LAYERS for path in (folder / layer).glob("*.sql"))


def read_folder(folder: Path) -> list[Model]:
    """The models of `folder`/LAYER/NAME.sql, with the columns of its `columns.yaml`. Raises `InvalidModel`."""
    path = folder / SHARED
    text = path.read_text(encoding="utf-8") if path.exists() else "{}"
    shared = read_shared_columns(f"warehouse/{FOLDER}/{SHARED}", text)
    return [
        read_model(
            f"{path.parent.name}.{path.stem}",
            f"warehouse/{FOLDER}/{path.parent.name}/{path.name}",
            path.read_text(encoding="utf-8"),
            shared,
        )
        for path in model_files(folder)
    ]


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

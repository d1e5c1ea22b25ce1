"""The data dictionary: every table of the lake as Markdown, from the models' headers and the schema's comments."""

from collections.abc import Iterable, Iterator

from comms_pipeline.models.base_tables import BaseTable, base_tables
from comms_pipeline.models.header import Column, Model
from comms_pipeline.models.registry import models
from comms_pipeline.models.sql import reads

_LAYERS = {
    "raw": "As it came, and how far it is loaded.",
    "core": "Cleaned, joined, scored.",
    "campaign": "The plan of each send, and its books.",
    "mart": "To look at: counts and rates.",
}
_OPENING = """\
# Data dictionary

Every table of the lake. Made by `make dictionary` from `warehouse/lake/schema.sql` and the headers under
`warehouse/lake/models`; edit those. How to ask is in [querying](guides/querying.md).

Times are UTC. Addresses and names are in `core.contacts` only. A *share* lies in 0 to 1 and is null where there is
nothing to divide by; *micros* are millionths of the currency.
"""


def render() -> str:
    """The whole page."""
    return "\n".join([_OPENING, *(part for layer in _LAYERS for part in _layer(layer))])


def _layer(layer: str) -> Iterator[str]:
    yield f"## {layer}\n\n{_LAYERS[layer]}\n"
    pages = {table: _base_page(table, base) for table, base in base_tables().items()}
    pages |= {table: _model_page(model) for table, model in models().items()}
    yield from (page for table, page in sorted(pages.items()) if table.startswith(f"{layer}."))


def _base_page(table: str, base: BaseTable) -> str:
    rows = (
        (f"`{name}`", f"`{column.type}`", "" if column.is_present else "may be null", column.note)
        for name, column in base.columns.items()
    )
    grain = base.grain[:1].upper() + base.grain[1:]
    return f"### `{table}`\n\n{grain}\n\n{_table(('column', 'type', '', 'meaning'), rows)}"


def _model_page(model: Model) -> str:
    header = model.header
    rows = (
        (f"`{name}`", f"`{column.type}`", column.unit or "", f"{column.description}{_tests(column)}")
        for name, column in header.columns.items()
    )
    facts = [
        f"One row: {header.grain}.",
        f"Key: {_names(header.key)}.",
        f"Made of: {_names(sorted(reads(model)))}." if reads(model) else "",
        f"[Its definition](../{model.file})",
    ]
    return (
        f"### `{model.table}`\n\n{header.description}\n\n{' '.join(filter(None, facts))}\n\n"
        f"{_table(('column', 'type', 'unit', 'meaning'), rows)}"
    )


def _tests(column: Column) -> str:
    """What a reader may rely on, after the description."""
    known = f" One of {_names(map(str, column.accepted))}." if column.accepted else ""
    found = "".join(f" In `{relation.relation}`." for relation in column.relations)
    ended = "" if column.description.endswith((".", "…")) or not (known or found) else "."
    return f"{ended}{known}{found}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        + "\n"
    )


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201

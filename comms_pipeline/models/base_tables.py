"""The lake's own tables, as `warehouse/lake/schema.sql` writes them: columns, and what their comments say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from comms_pipeline.sqlfiles import warehouse_root

_TABLE = re.compile(
    r"((?:^-- [^\n]*\n)*)^create table if not exists (\w+\.\w+) \(\n(.*?)\n\);", re.MULTILINE | re.DOTALL
)
_COLUMN = re.compile(r"^ {4}(?P<name>\w+)\s+(?P<type>.+?)(?P<present> not null)?,?\s*(?:-- (?P<note>.*))?$")


@dataclass(frozen=True, kw_only=True)
class BaseColumn:
    """One column: its type, whether it is always there, and the comment beside it."""

    type: str
    is_present: bool
    note: str


@dataclass(frozen=True, kw_only=True)
class BaseTable:
    """One table that loaders write. `grain` is what one row is and what else the comment above it says."""

    grain: str
    columns: Mapping[str, BaseColumn]


@cache
def base_tables() -> Mapping[str, BaseTable]:
    """Every table of the schema, by "schema.name", in its order."""
    text = (warehouse_root() / "lake/schema.sql").read_text(encoding="utf-8")
    return {
        table: BaseTable(grain=_grain(said), columns=_columns(body))
        for said, table, body in _TABLE.findall(text)
    }


def _grain(comment: str) -> str:
    words = " ".join(line.removeprefix("-- ").strip() for line in comment.splitlines())
    return words.removeprefix("Grain: ")


def _columns(body: str) -> dict[str, BaseColumn]:
    found = filter(None, map(_COLUMN.match, body.splitlines()))
    return {
        match["name"]: BaseColumn(
            type=match["type"], is_present=match["present"] is not None, note=match["note"] or ""
        )
        for match in found
    }

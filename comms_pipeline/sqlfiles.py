"""Finds the SQL under `warehouse/`. Knows files and names, never a connection."""

import re
from functools import cache
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def warehouse_root() -> Path:
    """The `warehouse` folder: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    packed = package / "_project/warehouse"
    return packed if packed.is_dir() else package.parent / "warehouse"


@cache
def named_queries(relative_path: str) -> dict[str, str]:
    """Queries of one file under `warehouse/`, by the name in their `-- name: x` header line.

    Parameters inside are named, `%(limit)s` for Postgres and `$limit` for DuckDB.
    """
    text = (warehouse_root() / relative_path).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return {name: body.strip().rstrip(";") for name, body in zip(parts[1::2], parts[2::2], strict=True)}

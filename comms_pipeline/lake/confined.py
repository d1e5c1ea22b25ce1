"""Runs SQL that people wrote in a process of its own, beside the fence it has passed: read-only, and bounded.

A process, because DuckDB looks at neither its clock nor its memory limit while it plans, and a short text can be
planned for ever.
"""

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from comms_pipeline.lake.lake import Lake

_MEGABYTE = 1024**2
# Address space is more than memory: what Python, DuckDB and its extensions map before any query.
_MAPPED_MEGABYTES = 3_072


@dataclass(frozen=True, kw_only=True)
class LakeSite:
    """Where a lake is; as `Lake` takes it."""

    catalog: str
    data_path: str
    extension_folder: str


def run_confined(
    site: LakeSite, sql: str, parameters: Mapping[str, object], *, seconds: float, megabytes: int
) -> pl.DataFrame:
    """The rows of one query on the lake as it is committed, its process gone afterwards.

    It reads nothing but the lake, spills nothing to disk, and has so much time, its start included, and memory.
    Times among `parameters` arrive as text: the SQL must cast them. Raises the query's own `duckdb.Error`;
    `InterruptException` when the time is over and `OutOfMemoryException` when the memory is.
    """
    order = {"site": asdict(site), "sql": sql, "parameters": dict(parameters), "megabytes": megabytes}
    try:
        done = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-m", __name__],
            input=json.dumps(order, default=_as_text).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            # One arena of malloc, not one per thread: they count as address space.
            env={**os.environ, "MALLOC_ARENA_MAX": "2"},
        )
    except subprocess.TimeoutExpired:
        raise duckdb.InterruptException("it ran out of time") from None
    head, found, rows = done.stdout.partition(b"\n")
    if done.returncode != 0 or not found:
        raise duckdb.OutOfMemoryException("it ran out of memory")
    answer = json.loads(head)
    if answer["error"] is not None:
        kind = getattr(duckdb, answer["error"], duckdb.Error)
        raise (kind if issubclass(kind, duckdb.Error) else duckdb.Error)(answer["message"])
    return pl.read_ipc_stream(io.BytesIO(rows))


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _confine(lake: Lake, folder: str) -> None:
    """Shut the instance off from files and network, for good."""
    cursor = lake.connect()
    try:
        cursor.execute("set global temp_directory = ''")
        quoted = folder.replace("'", "''")
        cursor.execute(f"set global allowed_directories = ['{quoted}']")
        cursor.execute("set global enable_external_access = false")
        cursor.execute("set global lock_configuration = true")
    finally:
        cursor.close()


def _work(order: dict[str, object]) -> tuple[dict[str, str | None], bytes]:
    """What the process does: the head of its answer, and the rows."""
    site = LakeSite(**order["site"])  # type: ignore[arg-type]  # made of one
    megabytes = int(str(order["megabytes"]))
    lake = Lake(
        catalog=site.catalog,
        data_path=Path(site.data_path),
        extension_folder=Path(site.extension_folder),
        is_read_only=True,
        memory_limit=f"{megabytes}MiB",
    )
    _confine(lake, site.data_path)
    space = (megabytes + _MAPPED_MEGABYTES) * _MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    rows = io.BytesIO()
    try:
        with lake.reader() as cursor:
            cursor.execute(str(order["sql"]), order["parameters"]).pl().write_ipc_stream(rows)
    except duckdb.Error as error:
        return {"error": type(error).__name__, "message": str(error)}, b""
    return {"error": None}, rows.getvalue()


def main() -> None:
    """Read one order from standard input and answer it on standard output."""
    head, rows = _work(json.load(sys.stdin.buffer))
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + rows)


if __name__ == "__main__":
    main()

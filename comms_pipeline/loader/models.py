"""Computes models: whole, or only the rows of keys of which something is new. What a model is, is `models`' to say.

A model's mark moves in the lake transaction that writes its rows, so that nothing is left out or taken for done.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl

from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.loader.computed import computed
from comms_pipeline.loader.watermarks import NOTHING_YET, Mark, read_mark
from comms_pipeline.models.header import InvalidModel, Model
from comms_pipeline.models.registry import model_named
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

OVERLAP = timedelta(days=1)
"""How much earlier than its last run a model looks again at what has only a time: clocks differ, runs take time."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a run did: `rows` the model has now (None of a view), `written` in this run, of how many `keys_changed`.

    `keys_changed` is None where all rows were computed.
    """

    table: str
    rows: int | None
    written: int
    keys_changed: int | None
    seconds: float

    @property
    def is_whole(self) -> bool:
        """Whether every row was computed."""
        return self.keys_changed is None


@dataclass(frozen=True, kw_only=True)
class _Marks:
    after: int = NOTHING_YET
    refreshed_at: datetime = _LONG_AGO
    digest: str = ""


def rebuild(stores: Stores, table: str) -> Refreshed:
    """Compute all rows of `table` ("schema.name") anew, in one transaction.

    Gives the rows that all the runs before would have given. Raises `NotFound`, `InvalidModel`.
    """
    return _run(stores, model_named(table), is_whole=True)


def refresh(stores: Stores, table: str) -> Refreshed:
    """Bring `table` up to date: only what changed where the model can, whole where it cannot or is defined anew.

    Raises `NotFound`, `InvalidModel`.
    """
    return _run(stores, model_named(table), is_whole=False)


def _run(stores: Stores, model: Model, *, is_whole: bool) -> Refreshed:
    began = time.perf_counter()
    if model.is_view:
        # Counting a view would compute all of it.
        return Refreshed(table=model.table, rows=None, written=0, keys_changed=None, seconds=0.0)
    # Python reads the lake by itself, and must not wait for the lock that its own run holds.
    frame = computed(model)(stores) if model.is_python else None
    with stores.lake.writer() as writer:
        marks = _Marks() if is_whole or not model.changed else _read_marks(writer.cursor, model)
        written, keys = _compute(writer, model, frame, marks, stores.now)
        rows = _count(writer.cursor, model.table)
    seconds = time.perf_counter() - began
    return Refreshed(table=model.table, rows=rows, written=written, keys_changed=keys, seconds=seconds)


def _compute(
    writer: LakeWriter, model: Model, frame: pl.DataFrame | None, marks: _Marks, now: Callable[[], datetime]
) -> tuple[int, int | None]:
    """Write the rows and the mark; returns rows written and, of an incremental run, the keys they belong to."""
    cursor, moment = writer.cursor, now()
    upto = read_mark(cursor, Mark.LOADS) if model.changed else NOTHING_YET
    keys = _find_changed(cursor, model, marks, moment) if model.changed else None
    is_whole = marks.digest == "" or keys is None
    if keys == 0 and not is_whole:
        if upto > marks.after:
            _move_marks(writer, model, upto, moment)
        return 0, 0
    if frame is None:
        _execute(cursor, f"create or replace temp table rebuilt as {model.select}", now=moment)
    else:
        cursor.register("computed_rows", frame.to_arrow())
        cursor.execute("create or replace temp table rebuilt as from computed_rows")
        cursor.unregister("computed_rows")
    _require_columns(cursor, model)
    cursor.execute(f"delete from {model.table}" + ("" if is_whole else f" where {_is_changed(model)}"))
    cursor.execute(f"insert into {model.table} by name from rebuilt")
    written = _count(cursor, "rebuilt")
    cursor.execute("drop table rebuilt; drop table if exists changed")
    if model.changed:
        _move_marks(writer, model, upto, moment)
    return written, None if is_whole else keys


def _find_changed(cursor: duckdb.DuckDBPyConnection, model: Model, marks: _Marks, now: datetime) -> int:
    """Make the temp table `changed` of the keys to compute; returns how many."""
    keys = ", ".join(model.header.incremental)
    present = " and ".join(f"{key} is not null" for key in model.header.incremental)
    since = max(marks.refreshed_at - OVERLAP, _LONG_AGO)
    _execute(
        cursor,
        f"create or replace temp table changed as select distinct {keys} from ({model.changed}) found ({keys}) "
        f"where {present}",
        after=marks.after,
        since=since,
        now=now,
    )
    return _count(cursor, "changed")


def _is_changed(model: Model) -> str:
    keys = ", ".join(model.header.incremental)
    return f"({keys}) in (select ({keys}) from changed)" if "," in keys else f"{keys} in (from changed)"


def _execute(cursor: duckdb.DuckDBPyConnection, statement: str, **parameters: object) -> None:
    """Execute it with those of the parameters that it names: DuckDB refuses the others."""
    [parsed] = cursor.extract_statements(statement)
    cursor.execute(parsed, {name: parameters[name] for name in parsed.named_parameters})


def _require_columns(cursor: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Inserting by name would leave a column that is not computed empty without a word."""
    computed_columns = {row[0] for row in cursor.execute("describe rebuilt").fetchall()}
    differing = computed_columns ^ model.header.columns.keys()
    if differing:
        raise InvalidModel(
            model.file,
            f"its rows and its header differ in: {', '.join(sorted(differing))}",
            "Name the same columns in both",
        )


def _read_marks(cursor: duckdb.DuckDBPyConnection, model: Model) -> _Marks:
    """Where the last run stopped; nothing yet where the model was never computed, or by another definition."""
    query = named_queries("lake/queries/models.sql")["mark"]
    row = cursor.execute(query, {"model": model.table}).fetchone()
    if row is None or row[2] != model.digest:
        return _Marks()
    return _Marks(after=row[0], refreshed_at=row[1], digest=row[2])


def _move_marks(writer: LakeWriter, model: Model, after: int, now: datetime) -> None:
    mark = {"model": [model.table], "after": [after], "refreshed_at": [now], "digest": [model.digest]}
    writer.replace_keys("raw.model_marks", "model", pl.DataFrame(mark))


def _count(cursor: duckdb.DuckDBPyConnection, table: str) -> int:
    row = cursor.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0

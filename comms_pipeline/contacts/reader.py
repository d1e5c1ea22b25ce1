"""A contact file (CSV, Parquet, JSON) → a DuckDB table of numbered rows, shut off from the outside world.

The file is read once, whole, before anything is handed out, so that a broken file imports nothing. The table
may outgrow memory: DuckDB then spills to a private temporary folder. What columns mean is not known here.
"""

import csv
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from comms_pipeline.contacts.csv_records import (
    DELIMITERS,
    MALFORMED,
    guess_delimiter,
    read_chunks,
    read_header,
)
from comms_pipeline.contacts.files import FileFormat, encoding_of, format_of
from comms_pipeline.domain.errors import InvalidContactFile

ROW = "__row"
"""The table's column with the data row's number in the file, from 1. Malformed rows leave gaps."""

_TABLE = "source"
_MEMORY_LIMIT = "384MB"
_SAMPLE_CHARACTERS = 64 * 1024
# DuckDB takes whole row groups (122,880 rows) several times faster than parts of one.
_INSERTED_ROWS = 200_000
_LOOKS_LIKE_DATA = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+|\+?[0-9][0-9 ().-]{6,}")
_JSON_SCALARS = ("VARCHAR", "BOOLEAN", "BIGINT", "UBIGINT", "DOUBLE")


@dataclass(frozen=True, kw_only=True)
class Source:
    """An open contact file: the table's own columns in order, and what its rows are.

    `rows` counts every data row, `malformed` (source_row, reason) included; `is_text` tells that the file
    itself knows no types.
    """

    connection: duckdb.DuckDBPyConnection
    columns: list[str]
    rows: int
    malformed: pl.DataFrame
    is_text: bool

    def table(self) -> duckdb.DuckDBPyRelation:
        """The well-formed rows: `ROW` and the columns."""
        return self.connection.table(_TABLE)


@contextmanager
def open_source(path: Path, delimiter: str | None = None) -> Iterator[Source]:
    """Load a file; `delimiter` is that of a CSV file, guessed when None.

    Raises `InvalidContactFile` when the file cannot be used.
    """
    kind = format_of(path)
    with (
        tempfile.TemporaryDirectory(prefix="comms-import-") as folder,
        duckdb.connect(config=_configuration(Path(folder) / "spill")) as connection,
    ):
        # DuckDB takes a name with * or ? for a pattern, so it gets one of ours.
        link = Path(folder) / f"file.{kind.value}"
        link.symlink_to(path.absolute())
        match kind:
            case FileFormat.CSV:
                malformed = _load_csv(connection, path, delimiter)
            case FileFormat.PARQUET:
                malformed = _load_parquet(connection, path, link)
            case FileFormat.JSON:
                malformed = _load_json(connection, path, link)
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        yield _described(connection, path, malformed, is_text=kind is FileFormat.CSV)


def _configuration(spill: Path) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "memory_limit": _MEMORY_LIMIT,
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


def _described(
    connection: duckdb.DuckDBPyConnection, path: Path, malformed: pl.DataFrame, *, is_text: bool
) -> Source:
    table = connection.table(_TABLE)
    well_formed = table.aggregate("count(*)").fetchall()[0][0]
    if not well_formed + len(malformed):
        raise InvalidContactFile(str(path), "it has no rows", "Name a file with rows below its column names")
    return Source(
        connection=connection,
        columns=[column for column in table.columns if column != ROW],
        rows=well_formed + len(malformed),
        malformed=malformed,
        is_text=is_text,
    )


def _distinct(columns: list[str], path: Path) -> list[str]:
    """The columns, once it is sure that SQL can name them and tell them apart."""
    first = {ROW: 0}
    for position, name in enumerate(columns, 1):
        if not name:
            raise InvalidContactFile(str(path), f"column {position} has no name", "Name it")
        if first.setdefault(name.lower(), position) != position:
            problem = f"two columns are called '{name}' (upper and lower case are the same)"
            raise InvalidContactFile(str(path), problem, "Rename one")
    return columns


def _load_csv(connection: duckdb.DuckDBPyConnection, path: Path, delimiter: str | None) -> pl.DataFrame:
    encoding = encoding_of(path)
    with path.open(encoding=encoding, newline="") as file:
        delimiter = delimiter or guess_delimiter(file.read(_SAMPLE_CHARACTERS))
    malformed = [MALFORMED.to_frame()]
    with path.open(encoding=encoding, newline="") as file:
        columns = _csv_columns(file, path, delimiter)
        waiting = pl.DataFrame(schema={ROW: pl.Int64} | dict.fromkeys(columns, pl.String))
        connection.from_arrow(waiting.to_arrow()).create(_TABLE)
        for chunk in read_chunks(file, delimiter, columns, ROW):
            malformed.append(chunk.malformed)
            waiting = pl.concat([waiting, chunk.rows])
            if waiting.height >= _INSERTED_ROWS:
                connection.from_arrow(waiting.to_arrow()).insert_into(_TABLE)
                waiting = waiting.clear()
        connection.from_arrow(waiting.to_arrow()).insert_into(_TABLE)
    return pl.concat(malformed)


def _csv_columns(file: Iterator[str], path: Path, delimiter: str) -> list[str]:
    try:
        header = read_header(file, delimiter)
    except csv.Error:
        problem = "the line of column names has an unclosed quote"
        raise InvalidContactFile(f"{path}:1", problem, "Correct it") from None
    if not header:
        raise InvalidContactFile(str(path), "it is empty", "Name a file with column names and rows")
    if any(_LOOKS_LIKE_DATA.fullmatch(name) for name in header):
        problem = "the first line holds data, not column names"
        raise InvalidContactFile(f"{path}:1", problem, "Put a line with column names above it")
    others = [other for other in DELIMITERS if other != delimiter and other in header[0]]
    if len(header) == 1 and others:
        problem = f"only one column is found when the delimiter is {json.dumps(delimiter)}"
        fix = f"Put 'delimiter: {json.dumps(others[0])}' ({DELIMITERS[others[0]]}) into the mapping"
        raise InvalidContactFile(str(path), problem, fix)
    return _distinct([name or f"column_{at}" for at, name in enumerate(header, 1)], path)


def _load_parquet(connection: duckdb.DuckDBPyConnection, path: Path, link: Path) -> pl.DataFrame:
    try:
        table = connection.read_parquet(str(link))
        _distinct(table.columns, path)
        table.project(f"row_number() over () as {ROW}, *").create(_TABLE)
    except duckdb.Error:
        problem = "it is not a Parquet file, or a damaged one"
        raise InvalidContactFile(str(path), problem, "Export it again") from None
    return pl.DataFrame(schema=MALFORMED)


def _load_json(connection: duckdb.DuckDBPyConnection, path: Path, link: Path) -> pl.DataFrame:
    """One object a row: a line each, or the elements of one array. What is no object is set aside."""
    _numbered_values(connection, path, link)
    values = connection.table("json_values")
    is_object = "json is not null and json_type(json) = 'OBJECT'"
    structure = values.filter(is_object).aggregate("json_group_structure(json)").fetchall()[0][0]
    shape: Mapping[str, object] = json.loads(structure) if structure else {}
    if not shape:
        raise InvalidContactFile(str(path), "it holds no JSON objects with fields", "Write one object a line")
    _distinct(list(shape), path)
    literal = json.dumps({name: _json_type(found) for name, found in shape.items()}, ensure_ascii=False)
    literal = literal.replace("'", "''")
    values.filter(is_object).project(f"{ROW}, unnest(from_json(json, '{literal}'))").create(_TABLE)
    others = values.filter(f"not ({is_object})").project(f"{ROW}, 'not a JSON object'").fetchall()
    connection.execute("drop table json_values")
    return pl.DataFrame(others, schema=MALFORMED, orient="row")


def _numbered_values(connection: duckdb.DuckDBPyConnection, path: Path, link: Path) -> None:
    encoding = encoding_of(path)
    if encoding != "utf-8":
        link.unlink()
        with path.open(encoding=encoding) as given, link.open("w", encoding="utf-8") as copy:
            shutil.copyfileobj(given, copy)
    with link.open(encoding="utf-8") as file:
        is_array = file.read(_SAMPLE_CHARACTERS).lstrip().startswith("[")
    try:
        values = connection.read_json(
            str(link),
            format="array" if is_array else "newline_delimited",
            columns={"json": "JSON"},
            records="false",
            ignore_errors=not is_array,
        )
        values.project(f"row_number() over () as {ROW}, json").create("json_values")
    except duckdb.Error:
        fix = "Write one object a line, or one array of objects"
        raise InvalidContactFile(str(path), "it is not valid JSON", fix) from None


def _json_type(found: object) -> str:
    """A column's type, given its values'; what is mixed or nested stays JSON."""
    if found == "NULL":
        return "VARCHAR"
    return found if isinstance(found, str) and found in _JSON_SCALARS else "JSON"

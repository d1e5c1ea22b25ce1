"""What a write transaction can do to the lake's tables. Opening and locking live in `lake`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl


class Spool:
    """Frames of one table, kept in files until the cursor is free to insert them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Keep a frame; all of a spool have the same columns."""
        if frame.height:
            frame.write_parquet(self._folder / f"{self._count:06}.parquet", compression="zstd")
            self._count += 1

    @property
    def files(self) -> list[str]:
        """What was kept, in order."""
        return [str(path) for path in sorted(self._folder.glob("*.parquet"))]


class LakeWriter:
    """Statements inside one open lake transaction. Table and column names come from code, never from data."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.cursor = cursor

    def append(self, table: str, frame: pl.DataFrame) -> int:
        """Insert `frame` by column name; returns the number of rows."""
        if frame.height:
            # DuckDB finds the variable by its name. What is registered instead stays in memory until the transaction
            # ends, unregistered or not: a load of many frames would hold them all.
            appended_rows = frame.to_arrow()  # noqa: F841
            self.cursor.execute(f"insert into {table} by name select * from appended_rows")
        return frame.height

    @contextmanager
    def spool(self, table: str) -> Iterator[Spool]:
        """Takes frames while the cursor is busy with a result, and inserts them by name at the end of the block.

        Keeps memory flat: a table of any size is written while another is read in the same transaction.
        """
        with TemporaryDirectory(prefix="comms-") as folder:
            spool = Spool(Path(folder))
            yield spool
            if spool.files:
                self.cursor.execute(
                    f"insert into {table} by name select * from read_parquet($files)", {"files": spool.files}
                )

    def replace_partition(self, table: str, column: str, value: str, frame: pl.DataFrame) -> int:
        """Make `frame` the only rows of `table` whose `column` equals `value`."""
        self.erase(table, column, [value])
        return self.append(table, frame)

    def replace_keys(self, table: str, key: str, frame: pl.DataFrame) -> int:
        """Upsert: rows of `table` whose `key` is in `frame` make way for it."""
        if frame.height:
            self.erase(table, key, frame[key].unique().to_list())
        return self.append(table, frame)

    def erase(self, table: str, column: str, values: list[str]) -> None:
        """Delete the rows of `table` whose `column` is one of `values`."""
        keys = pl.DataFrame({"key": values}, schema={"key": pl.String})
        self.cursor.register("erased_keys", keys.to_arrow())
        self.cursor.execute(f"delete from {table} where {column} in (select key from erased_keys)")
        self.cursor.unregister("erased_keys")

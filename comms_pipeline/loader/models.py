"""Rebuilds tables from their model: one SELECT per table under `warehouse/lake/models`, replaced whole."""

from comms_pipeline.sqlfiles import warehouse_root
from comms_pipeline.stores import Stores


def model_sql(table: str) -> str:
    """The SELECT that defines `layer.noun`."""
    layer, noun = table.split(".")
    return (warehouse_root() / f"lake/models/{layer}/{noun}.sql").read_text(encoding="utf-8")


def rebuild(stores: Stores, table: str) -> int:
    """Replace all rows of `table` by what its model says now, in one transaction; returns their number."""
    with stores.lake.writer() as writer:
        # The model reads before its own table is emptied: some models read what they replace.
        writer.cursor.execute(
            f"create or replace temp table rebuilt as {model_sql(table)}", {"now": stores.now()}
        )
        writer.cursor.execute(f"delete from {table}")
        writer.cursor.execute(f"insert into {table} by name select * from rebuilt")
        row = writer.cursor.execute("select count(*) from rebuilt").fetchone()
        writer.cursor.execute("drop table rebuilt")
    return int(row[0]) if row else 0

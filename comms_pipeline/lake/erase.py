"""Makes what was deleted from the lake unrecoverable: no file, no snapshot and no statistic holds it afterwards.

A delete only marks rows: files with them, older snapshots that show them and the least and greatest value of each
column would live on. Which rows go is decided elsewhere.
"""

from collections.abc import Sequence

from comms_pipeline.lake.lake import ALIAS, Lake
from comms_pipeline.sqlfiles import named_queries

_QUERIES = "lake/queries/privacy.sql"
_CATALOG = f"__ducklake_metadata_{ALIAS}"


def forget_deleted(lake: Lake, tables: Sequence[str]) -> None:
    """Rewrite what `tables` ("schema.table") deleted rows from, and drop everything that still shows them, at once.

    Expires every snapshot but the latest. A reader in the middle of an older one gets an error, never fewer rows.
    Can run again, also after it was interrupted. Runs under the write lock.
    """
    with lake.exclusively() as lock:
        cursor = lake.connect()
        try:
            for table in tables:
                schema, _, name = table.partition(".")
                lock.require()
                where = f"'{ALIAS}', '{name}', schema => '{schema}'"
                cursor.execute(f"call ducklake_rewrite_data_files({where}, delete_threshold => 0)")
            lock.require()
            cursor.execute(f"call ducklake_expire_snapshots('{ALIAS}', older_than => now())")
            # DuckLake makes bounds narrower only when it rewrites a file, and one that lost all its rows is dropped.
            lock.require()
            cursor.execute(
                "call postgres_execute($catalog, $statement)",
                {"catalog": _CATALOG, "statement": named_queries(_QUERIES)["tighten_statistics"]},
            )
            # Under the lock nobody is writing: what the catalog does not know, a dead writer left.
            for function in ("ducklake_cleanup_old_files", "ducklake_delete_orphaned_files"):
                lock.require()
                cursor.execute(f"call {function}('{ALIAS}', cleanup_all => true)")
        finally:
            cursor.close()

"""Keeps the lake small and quick: merges small files, drops old snapshots and files nobody needs."""

from datetime import UTC, datetime, timedelta

from comms_pipeline.lake.lake import ALIAS, Lake


def maintain(lake: Lake, *, now: datetime, keep_snapshots: timedelta = timedelta(days=7)) -> None:
    """Merge adjacent small files, rewrite files full of deletions, expire snapshots older than `keep_snapshots`.

    Runs under the write lock, so that it never races a write.
    """
    older_than = (now - keep_snapshots).astimezone(UTC).isoformat()
    with lake.exclusively():
        cursor = lake.connect()
        try:
            cursor.execute(f"call ducklake_rewrite_data_files('{ALIAS}')")
            cursor.execute(f"call ducklake_merge_adjacent_files('{ALIAS}')")
            cursor.execute(
                f"call ducklake_expire_snapshots('{ALIAS}', older_than => '{older_than}'::timestamptz)"
            )
            cursor.execute(f"call ducklake_cleanup_old_files('{ALIAS}', cleanup_all => true)")
        finally:
            cursor.close()

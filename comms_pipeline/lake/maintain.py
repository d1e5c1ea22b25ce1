"""Keeps the lake small and quick: merges small files, drops old snapshots and files nobody needs."""

from datetime import UTC, datetime, timedelta

from comms_pipeline.lake.lake import ALIAS, Lake


def maintain(
    lake: Lake,
    *,
    now: datetime,
    keep_snapshots: timedelta = timedelta(days=7),
    keep_files: timedelta = timedelta(days=1),
) -> None:
    """Merge adjacent small files, rewrite files full of deletions, expire snapshots older than `keep_snapshots`.

    A file that nothing needs any more, or that a dead writer left, stays for `keep_files`: longer than any reader
    that may be in the middle of it. Runs under the write lock, so that it never races a write.
    """
    snapshots_before, files_before = (
        f"'{(now - kept).astimezone(UTC).isoformat()}'::timestamptz" for kept in (keep_snapshots, keep_files)
    )
    with lake.exclusively() as lock:
        cursor = lake.connect()
        try:
            for call in (
                f"ducklake_rewrite_data_files('{ALIAS}')",
                f"ducklake_merge_adjacent_files('{ALIAS}')",
                f"ducklake_expire_snapshots('{ALIAS}', older_than => {snapshots_before})",
                f"ducklake_cleanup_old_files('{ALIAS}', older_than => {files_before})",
                f"ducklake_delete_orphaned_files('{ALIAS}', older_than => {files_before})",
            ):
                lock.require()
                cursor.execute(f"call {call}")
        finally:
            cursor.close()

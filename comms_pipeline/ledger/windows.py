"""Reply windows: who wrote to us lately, by keyed address hash, and which messages that matters for.

Every function is one round trip inside the caller's transaction. How long a window is open says the domain.
"""

from collections.abc import Collection, Sequence
from typing import Any

import psycopg

from comms_pipeline.domain.message import REPLY_WINDOWS, Channel
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/windows.sql"


def note_inbound(connection: psycopg.Connection[Any], channel: Channel, address_key: bytes) -> None:
    """Somebody has written to us just now. Noted where it opens a window (`REPLY_WINDOWS`), and only there."""
    if channel in REPLY_WINDOWS:
        connection.execute(
            named_queries(_SQL)["note_inbound"], {"channel": channel.value, "address_key": address_key}
        )


def open_windows(connection: psycopg.Connection[Any], channel: Channel, keys: Sequence[bytes]) -> set[bytes]:
    """Which of `keys` (16 bytes each) may be answered in free text now, on a channel of `REPLY_WINDOWS`."""
    rows = connection.execute(
        named_queries(_SQL)["open_windows"],
        {"channel": channel.value, "address_keys": b"".join(keys), "window": REPLY_WINDOWS[channel]},
    ).fetchall()
    return {bytes(row[0]) for row in rows}


def free_texts(connection: psycopg.Connection[Any], content_ids: Collection[str]) -> set[str]:
    """Which of these contents are our own words, not a template that the provider keeps."""
    rows = connection.execute(
        named_queries(_SQL)["free_texts"], {"content_ids": list(content_ids)}
    ).fetchall()
    return {row[0] for row in rows}


def purge(connection: psycopg.Connection[Any]) -> int:
    """Forget who wrote too long ago to matter; returns how many."""
    return sum(
        connection.execute(
            named_queries(_SQL)["purge_inbound"], {"channel": channel.value, "window": window}
        ).rowcount
        for channel, window in REPLY_WINDOWS.items()
    )

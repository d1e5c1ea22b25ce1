"""Batches as bytes: columns as Arrow IPC with zstd. Shapes only; no database, no provider."""

import io

import polars as pl


def pack(frame: pl.DataFrame) -> bytes:
    """A frame as Arrow IPC, zstd-compressed: the form payloads and results have in the ledger."""
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def unpack(data: bytes) -> pl.DataFrame:
    """The inverse of `pack`."""
    return pl.read_ipc(io.BytesIO(data))

"""Where hits wait while the ledger is down: files of JSON lines, appended and flushed to the disk. Lands nothing.

Each process appends to a file of its own and holds a lock on it; the lock goes with the process, however it ends.
Whoever gets the lock of a file may land what is in it and delete it. A line without an end was never acknowledged.
"""

import fcntl
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, NamedTuple

import orjson

_SUFFIX = ".hits"
_MOST_BYTES_PER_FILE = 4 * 1024 * 1024
"""A file is read as a whole, and landed from its beginning again after a crash."""


class SpooledHit(NamedTuple):
    """A hit as it is landed: the kind it is landed under, and its body."""

    kind: str
    body: bytes


@dataclass(kw_only=True)
class HitSpool:
    """The files of one folder, which is made when it is needed. Blocks on the disk.

    `append` and `turn_over` are called one at a time; `waiting` may go on beside them.
    """

    folder: Path
    _file: BinaryIO | None = None

    def append(self, hits: Sequence[SpooledHit]) -> None:
        """Returns once the hits are on the disk. Raises `OSError` when they are not."""
        lines = b"".join(orjson.dumps([hit.kind, hit.body.decode()]) + b"\n" for hit in hits)
        file = self._file or self._new_file()
        self._file = file
        try:
            _write_all(file, lines)
            os.fsync(file.fileno())
        except OSError:
            # What part of it reached the disk nobody knows: what comes next begins a line of its own.
            self.turn_over()
            raise
        if file.tell() >= _MOST_BYTES_PER_FILE:
            self.turn_over()

    def turn_over(self) -> None:
        """Let go of the file being written: it can be landed, and the next append begins another."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that could be landed, of this process or of others that are gone."""
        return next(iter(self._names()), None) is None

    def waiting(self) -> Generator[list[SpooledHit], None, None]:
        """The hits of each file that nobody writes; a file is deleted when the next is asked for.

        What this process itself has spooled is among them after `turn_over`.
        """
        for name in sorted(self._names()):
            with _locked(self.folder / name) as file:
                if file is None:
                    continue
                yield list(_hits(file))
                (self.folder / name).unlink()

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.folder) if name.endswith(_SUFFIX)]
        except FileNotFoundError:
            return []

    def _new_file(self) -> BinaryIO:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{token_hex(8)}{_SUFFIX}"
        file = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600), "ab", 0)
        fcntl.flock(file, fcntl.LOCK_EX)
        if not os.fstat(file.fileno()).st_nlink:
            # Another process found it before it was locked, and deleted it as empty.
            file.close()
            return self._new_file()
        # A file is only as durable as its name.
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return file


def _write_all(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO | None]:
    """The file, locked; None when somebody writes or lands it, or it is gone."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            # Between opening and locking, another may have landed and deleted it.
            yield file if os.fstat(file.fileno()).st_nlink else None
    except FileNotFoundError:
        yield None


def _hits(file: BinaryIO) -> Iterator[SpooledHit]:
    for line in file:
        try:
            kind, body = orjson.loads(line)
        except (orjson.JSONDecodeError, TypeError, ValueError):
            continue  # Torn by a crash or a full disk: nobody was told that it is kept.
        yield SpooledHit(kind=kind, body=body.encode())

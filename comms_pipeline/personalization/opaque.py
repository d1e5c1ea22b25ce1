"""Renders fragments in a child process, under limits: the parent's side.

A renderer starts its child when first needed and keeps it for the messages that follow. Whatever a template does, the
answer is texts, failures, or a dead child within the wall limit; the parent holds no more than the limits allow.
"""

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from comms_pipeline.personalization.inheritance import Program
from comms_pipeline.personalization.wire import HEADER, encode, pack, unpack

_WORKER = "comms_pipeline.personalization.opaque_worker"
_READ_BYTES = 1 << 18
_ROWS_PER_REQUEST = 500


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request of at most 500 renderings may use; `output_characters` is for one rendering."""

    memory_bytes: int = 512 << 20
    cpu_seconds: int = 10
    wall_seconds: float = 30.0
    output_characters: int = 1 << 20
    total_characters: int = 1 << 28
    answer_bytes: int = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """A node of a part by its number; `prelude` are statements run before it; `kind` is `text` or `test`."""

    part: str
    prelude: tuple[int, ...]
    node: int
    kind: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A rendering that raised: the exception's name and message, and its place (`file` names an imported template).

    `filter` is the one it arose in, if any; `word` and `fix` are those of an UnfitInput.
    """

    kind: str
    message: str
    position: int
    file: str
    filter: str
    word: str
    fix: str


class LimitExceeded(Exception):  # says what it is
    """The child broke a limit or died; `str(error)` says which. It starts afresh for the next fragment."""


class OpaqueRenderer:
    """A context manager around the child. Belongs to the thread that uses it: the child dies with that thread."""

    def __init__(self, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._loaded: object = None

    def __enter__(self) -> "OpaqueRenderer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child, if there is one."""
        process, self._process, self._loaded = self._process, None, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def render(
        self, program: Program, fragment: Fragment, names: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> list[str | Failure]:
        """The fragment's text for every row of values of `names`. Raises LimitExceeded; TypeError for odd values."""
        answers: list[str | Failure] = []
        total = 0
        while len(answers) < len(rows):
            chunk = rows[len(answers) : len(answers) + _ROWS_PER_REQUEST]
            request = {
                "fragment": asdict(fragment),
                "names": list(names),
                "rows": [[encode(value) for value in row] for row in chunk],
            }
            self._load(program)
            for text, failure in self._ask(request)["answers"]:
                answers.append(text if failure is None else Failure(**failure))
                total += len(text or "")
            if total > self._limits.total_characters:
                raise LimitExceeded("writes more text than a message may hold")
        return answers

    def _load(self, program: Program) -> None:
        """Starts the child and gives it the message, unless it has both."""
        if self._process is not None and self._thread is not threading.current_thread():
            self.close()
        if self._process is None:
            self._start()
        message = {
            "sources": {part: asdict(source) for part, source in program.sources.items()},
            "includes": dict(program.includes),
            "language": program.language,
        }
        if self._loaded != message:
            self._ask(message)
            self._loaded = message

    def _start(self) -> None:
        limits = self._limits
        numbers = (limits.memory_bytes, limits.cpu_seconds, limits.output_characters, os.getpid())
        self._thread = threading.current_thread()
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-I", "-X", "utf8", "-m", _WORKER, *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},  # no secret of ours is worth a sandbox's mistake
            cwd="/",
            bufsize=0,
            start_new_session=True,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)

    def _ask(self, request: object) -> Any:
        """One request, one answer, within the wall limit; a child that fails is ended."""
        try:
            return unpack(self._exchange(pack(request)))
        except LimitExceeded:
            self.close()
            raise

    def _exchange(self, request: bytes) -> bytes:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise LimitExceeded("has no renderer")
        deadline = time.monotonic() + self._limits.wall_seconds
        to_child, from_child = process.stdin.fileno(), process.stdout.fileno()
        left = memoryview(request)
        while left:
            self._wait(to_child, selectors.EVENT_WRITE, deadline)
            try:
                left = left[os.write(to_child, left) :]
            except BrokenPipeError:
                raise self._death() from None
        answer = bytearray()
        size = HEADER.size
        while len(answer) < size:
            self._wait(from_child, selectors.EVENT_READ, deadline)
            piece = os.read(from_child, _READ_BYTES)
            if not piece:
                raise self._death()
            answer += piece
            if len(answer) >= HEADER.size:
                size = HEADER.size + int(HEADER.unpack_from(answer)[0])
            if size > self._limits.answer_bytes:
                raise LimitExceeded("writes more text than a message may hold")
        return bytes(answer[HEADER.size :])

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            if not selector.select(max(deadline - time.monotonic(), 0)):
                raise LimitExceeded(f"runs longer than {self._limits.wall_seconds:g} seconds")

    def _death(self) -> LimitExceeded:
        """What a child that closed its pipe died of."""
        code = self._process.wait() if self._process is not None else 0
        if code == -signal.SIGXCPU:
            return LimitExceeded(f"takes more than {self._limits.cpu_seconds} seconds of processor time")
        return LimitExceeded("needs more memory than a template may use")

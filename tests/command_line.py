"""What tests of the command line share: `comms` in this process, and what it left behind. No tests."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from comms_pipeline.cli.main import main
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

EXAMPLES = Path(__file__).parents[1] / "examples"
_LEDGER_TABLES = (
    "organisation",
    "campaign_version",
    "send",
    "enqueued",
    "batch",
    "content",
    "outcome",
    "audit",
)


class Printed(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """`comms` as typed in a folder beside its home, with these variables."""

    home: Path
    variables: dict[str, str]

    def __call__(self, *arguments: str, stdin: str = "", **variables: str) -> Printed:
        """Run a command; whatever is no `CommsError` comes out as it is."""
        out, err = io.StringIO(), io.StringIO()
        with (
            self._environment(variables),
            mock.patch.object(sys, "argv", ["comms", *arguments]),
            mock.patch.object(sys, "stdin", io.StringIO(stdin)),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main()
                code = 0
            except SystemExit as exit_:
                code = int(exit_.code or 0)
        return Printed(code, out.getvalue(), err.getvalue())

    def ok(self, *arguments: str, **options: str) -> str:
        """What a command printed that must succeed."""
        printed = self(*arguments, **options)
        assert printed.code == 0, printed
        return printed.out

    @cached_property
    def stores(self) -> Stores:
        """The same installation, opened beside the command line: commands open their own."""
        with self._environment({}):
            return Stores(load_settings())

    def state(self) -> dict[str, int]:
        """Row counts of the ledger, and the lake's latest snapshot: any write makes a new one."""
        with self.stores.ledger() as ledger, self.stores.lake.reader() as lake:
            found = {
                table: ledger.execute(f"select count(*) from {table}".encode()).fetchone()
                for table in _LEDGER_TABLES
            }
            found["lake"] = lake.execute("select max(snapshot_id) from ducklake_snapshots('lake')").fetchone()
        return {name: int(row[0]) for name, row in found.items() if row}

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """The same command in a process of its own; what it prints is dropped."""
        with self._environment({}):
            return subprocess.Popen(
                [sys.executable, "-m", "comms_pipeline.cli", *arguments],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    @contextmanager
    def _environment(self, variables: dict[str, str]) -> Iterator[None]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COMMS_")}
        given = {"COMMS_HOME": str(self.home), **self.variables, **variables}
        # A folder of its own: a developer's .env is not read.
        with mock.patch.dict(os.environ, kept | given, clear=True), chdir(self.home.parent):
            yield

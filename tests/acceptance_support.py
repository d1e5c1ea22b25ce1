"""What acceptance tests share: an installation as a user has one, with ports of its own. No tests."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

PATIENCE_SECONDS = 90


class Installation:
    """A home with ports of its own; `comms` runs there as from a terminal."""

    def __init__(self, home: Path) -> None:
        self.home = home
        web, sandbox, dagster = (_free_port() for _ in range(3))
        self.sandbox_url = f"http://127.0.0.1:{sandbox}"
        self.web_url = f"http://127.0.0.1:{web}"
        self.dagster_url = f"http://127.0.0.1:{dagster}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COMMS_")},
            "COMMS_HOME": str(home),
            "COMMS_WEB_PORT": str(web),
            "COMMS_SANDBOX_PORT": str(sandbox),
            "COMMS_DAGSTER_PORT": str(dagster),
            "COMMS_PUBLIC_URL": self.web_url,
            "COMMS_SANDBOX_DELAY_SECONDS": "0.3",
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """`comms` with these arguments, in the background."""
        return subprocess.Popen(
            [sys.executable, "-m", "comms_pipeline.cli", *arguments],
            env=self.environment,
            cwd=self.home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def comms(self, *arguments: str) -> str:
        """Run `comms` to its end; what it printed. It must succeed."""
        with self.start(*arguments) as process:
            printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
        return printed

    def sandbox(self, path: str) -> Any:
        """What the sandbox says at `/_sandbox/…`."""
        with urlopen(f"{self.sandbox_url}/_sandbox/{path}", timeout=10) as answer:
            return json.load(answer)

    def sandbox_record(self) -> dict[str, int]:
        """How often the sandbox accepted each of our message ids."""
        record: dict[str, int] = {}
        cursor = ""
        while cursor is not None:
            page = self.sandbox(f"messages?limit=10000&cursor={cursor}")
            record |= {row["message"]: row["accepted"] for row in page["messages"]}
            cursor = page["next"]
        return record

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query of the warehouse finds."""
        stores = Stores(load_settings(self.home))
        try:
            with stores.lake_read_only.reader() as cursor:
                return cursor.execute(sql).fetchall()
        finally:
            stores.lake_read_only.close()

    def ledger(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query of the ledger finds."""
        with Stores(load_settings(self.home)).ledger() as connection:
            return connection.execute(sql.encode()).fetchall()


def wait_until_up(url: str, process: "subprocess.Popen[str]") -> None:
    """Wait for an answer from `url`; `process` must not end before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        try:
            with urlopen(url, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

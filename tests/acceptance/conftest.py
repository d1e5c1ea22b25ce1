"""Installations for the acceptance tests, gone afterwards with their Postgres."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from acceptance_support import Installation, wait_until_up

from comms_pipeline.ledger import launcher


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A home that does not exist yet, in a path with a space and an umlaut."""
    folder = tmp_path / "a hömé"
    folder.mkdir()
    made = Installation(folder / "comms")
    try:
        yield made
    finally:
        if made.home.exists():
            launcher.remove(made.home)


@pytest.fixture
def services(installation: Installation) -> Iterator[Installation]:
    """The installation, initialised, with web app and sandbox running."""
    installation.comms("init")
    with ExitStack() as running:
        for name, url in (("web", f"{installation.web_url}/health"), ("sandbox", installation.sandbox_url)):
            process = running.enter_context(installation.start("serve", name))
            running.callback(process.communicate)
            running.callback(process.send_signal, signal.SIGTERM)
            wait_until_up(url, process)
        yield installation

"""An installation whose sends go to the sandbox, and Dagster beside it, as the orchestration tests need them."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from running import VISITORS, Dagster
from sending import SandboxProcess

from comms_pipeline.ledger.server import Server
from comms_pipeline.stores import Stores


@pytest.fixture
def stores(database: Server, sandbox: SandboxProcess, tmp_path: Path) -> Iterator[Stores]:
    """An installation of this test's own that sends to the shared sandbox.

    Contact ids hang on its key, so no message of it was ever seen by the sandbox.
    """
    settings = sandbox.settings(
        home=tmp_path / "home", database_url=database.url(), secret_key=secrets.token_urlsafe(32)
    )
    opened = Stores(settings)
    opened.lake.create_tables()
    try:
        yield opened
    finally:
        opened.lake.close()


@pytest.fixture
def dagster(stores: Stores) -> Iterator[Dagster]:
    """Dagster on those stores, with an instance that forgets."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Dagster(stores=stores, instance=instance)


@pytest.fixture
def gallery(dagster: Dagster, tmp_path: Path) -> Dagster:
    """A gallery's campaigns applied, and its visitors imported."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    dagster.apply_gallery(folder)
    dagster.import_visitors(tmp_path, VISITORS)
    return dagster

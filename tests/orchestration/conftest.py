"""An installation whose sends go to the sandbox, and Dagster beside it, as the orchestration tests need them."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from running import VISITORS, Dagster
from sending import SandboxProcess

from comms_pipeline.ledger.server import Server
from comms_pipeline.settings import Settings
from comms_pipeline.stores import Stores


@pytest.fixture
def stores(
    database: Server, lay_tables: Callable[[Settings], None], sandbox: SandboxProcess, tmp_path: Path
) -> Iterator[Stores]:
    """An installation of this test's own that sends to the shared sandbox.

    Contact ids hang on its key, so no message of it was ever seen by the sandbox.
    """
    settings = sandbox.settings(
        home=tmp_path / "home", database_url=database.url(), secret_key=secrets.token_urlsafe(32)
    )
    lay_tables(settings)
    opened = Stores(settings)
    yield opened
    opened.lake.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Where Dagster keeps what ran: in memory, which is quick. Tests may choose `durable_instance`."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def durable_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """One in files."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder), {"telemetry": {"enabled": False}}) as made:
        yield made


@pytest.fixture
def dagster(stores: Stores, instance: dg.DagsterInstance) -> Dagster:
    """Our definitions on those stores and that instance."""
    return Dagster(stores=stores, instance=instance)


@pytest.fixture
def gallery(dagster: Dagster, tmp_path: Path) -> Dagster:
    """A gallery's campaigns applied, and its visitors imported."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    dagster.apply_gallery(folder)
    dagster.import_visitors(tmp_path, VISITORS)
    return dagster

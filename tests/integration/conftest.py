"""An initialised installation for the tests of the command line, one for each test process."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from command_line import EXAMPLES, CommandLine

from comms_pipeline.ledger.server import Server


@pytest.fixture(scope="session")
def comms(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """`comms` in a home where the wedding example is applied and its guests are imported."""
    folder = tmp_path_factory.mktemp("command line")
    server = replace(postgres, database="command_line")
    command = CommandLine(home=folder / "home", variables={"COMMS_DATABASE_URL": server.url()})
    command.ok("init")
    wedding = EXAMPLES / "wedding"
    command.ok("campaigns", "apply", str(wedding))
    command.ok(
        *("import", "contacts", str(wedding / "guests.csv")), *("--map", str(wedding / "guests.map.yaml"))
    )
    yield command
    command.stores.lake.close()

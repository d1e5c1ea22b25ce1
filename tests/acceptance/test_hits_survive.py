"""Hits while the web process is killed and the ledger goes away at random: what was acknowledged is there, once."""

import http.client
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from psycopg import sql
from sending import wait_until

from comms_pipeline.domain.links import PATHS
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose
from comms_pipeline.ledger.server import Server, connect_to
from comms_pipeline.loader.events import load_provider_events, refresh_events
from comms_pipeline.stores import Stores

SEED, ROUNDS, VISITORS = 7, 12, 6
PIXEL_BYTES = 43


@dataclass
class WebProcess:
    """`comms serve web` in a process of its own, which can be killed and started again."""

    stores: Stores
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = self.stores.settings
        assert settings.database_url is not None
        variables = {
            "COMMS_HOME": str(settings.home),
            "COMMS_DATABASE_URL": settings.database_url.get_secret_value(),
            "COMMS_SECRET_KEY": settings.secret_key.get_secret_value(),
            "COMMS_WEB_PORT": str(self.port),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "comms_pipeline.cli", "serve", "web"], env=os.environ | variables
        )
        wait_until(self.is_listening)

    def is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class Visitors:
    """Threads that load pixels, each of another message, and note which they got."""

    stores: Stores
    port: int
    asked: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    is_over: bool = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        numbers = count()
        threads = [threading.Thread(target=self._visit, args=(numbers,)) for _ in range(VISITORS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.is_over = True
            for thread in threads:
                thread.join()

    def _visit(self, numbers: Iterator[int]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(connection):
            while not self.is_over:
                self._hit(connection, f"{next(numbers):032x}")

    def _hit(self, connection: http.client.HTTPConnection, message_id: str) -> None:
        token = self.stores.token_keys.sign(
            Purpose.OPEN, organisation_id="club", channel=Channel.EMAIL, message_id=message_id
        )
        self.asked.append(message_id)
        try:
            connection.request("GET", PATHS[Purpose.OPEN] + token)
            with connection.getresponse() as answer:
                if answer.status == 200 and len(answer.read()) == PIXEL_BYTES:
                    self.acknowledged.append(message_id)
        except (OSError, http.client.HTTPException):
            connection.close()
            time.sleep(0.02)


def let_in(server: Server, *, is_allowed: bool) -> None:
    """Take the ledger away from everybody, or give it back."""
    with closing(connect_to(server, "postgres", autocommit=True)) as connection:
        name = server.database_name()
        connection.execute(
            sql.SQL("alter database {} allow_connections {}").format(
                sql.Identifier(name), sql.Literal(is_allowed)
            )
        )
        if not is_allowed:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
            )


def test_what_was_acknowledged_is_an_event_exactly_once(stores: Stores) -> None:
    chance = random.Random(SEED)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    web, visitors = WebProcess(stores=stores, port=port), Visitors(stores=stores, port=port)
    spool = stores.settings.home / "spool"
    was_spooled = False
    try:
        web.start()
        with visitors.at_work():
            for number in range(ROUNDS):
                time.sleep(chance.uniform(0.1, 0.6))
                was_spooled = was_spooled or has_files(spool)
                if number % 2:
                    # By turns while the ledger is away and while it is there.
                    web.kill()
                    web.start()
                else:
                    let_in(stores.server, is_allowed=number % 4 == 2)
            let_in(stores.server, is_allowed=True)
        wait_until(lambda: not has_files(spool))
    finally:
        web.kill()
        let_in(stores.server, is_allowed=True)
    load_provider_events(stores)
    refresh_events(stores)
    with stores.lake.reader() as cursor:
        found = dict(cursor.execute("select message_id, count(*) from core.events group by all").fetchall())
    assert was_spooled
    assert len(visitors.acknowledged) > 100
    assert set(visitors.acknowledged) <= found.keys() <= set(visitors.asked)
    assert set(found.values()) == {1}


def has_files(spool: Path) -> bool:
    return spool.is_dir() and any(spool.iterdir())

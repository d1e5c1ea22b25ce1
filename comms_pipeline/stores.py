"""Opens the stores and providers that the settings name. The shells (Dagster, CLI) share it; no logic here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import psycopg

from comms_pipeline.domain.errors import DatabaseUnavailable, InvalidSettings
from comms_pipeline.domain.tokens import TokenKeys
from comms_pipeline.lake.confined import LakeSite
from comms_pipeline.lake.lake import Lake
from comms_pipeline.ledger import launcher
from comms_pipeline.ledger.server import Database, Server, connect
from comms_pipeline.providers.registry import Providers
from comms_pipeline.settings import Settings


def _utc_now() -> datetime:
    return datetime.now(UTC)


def find_server(settings: Settings) -> Server:
    """The Postgres of these settings: yours by `COMMS_DATABASE_URL`, else the running embedded one.

    Raises `DatabaseUnavailable` when the embedded server is not running.
    """
    if settings.database_url is not None:
        return Server.from_url(settings.database_url.get_secret_value())
    server = launcher.running(settings.home)
    if server is None:
        raise DatabaseUnavailable(
            "embedded Postgres",
            "it is not running",
            "Start it with `comms db start` (first time: `comms init`)",
        )
    return server


@dataclass(frozen=True)
class Stores:
    """Ledger, lake and providers of one installation, each opened on first use."""

    settings: Settings
    now: Callable[[], datetime] = field(default=_utc_now)

    @cached_property
    def server(self) -> Server:
        """Where Postgres is."""
        return find_server(self.settings)

    def ledger(self) -> psycopg.Connection[Any]:
        """A new ledger connection in autocommit mode: transactions are opened explicitly. The caller closes it."""
        return connect(self.server, autocommit=True)

    @cached_property
    def lake(self) -> Lake:
        """The lake, writable."""
        return self._lake(is_read_only=False)

    @cached_property
    def lake_read_only(self) -> Lake:
        """The lake for analysts: DuckDB itself refuses to write."""
        return self._lake(is_read_only=True)

    @property
    def lake_site(self) -> LakeSite:
        """Where the lake is, for queries that run in a process of their own."""
        return LakeSite(
            catalog=self.server.conninfo(Database.CATALOG),
            data_path=str(self.settings.lake_path),
            extension_folder=str(self.settings.home / "duckdb_extensions"),
        )

    def _lake(self, *, is_read_only: bool) -> Lake:
        return Lake(
            catalog=self.server.conninfo(Database.CATALOG),
            data_path=self.settings.lake_path,
            extension_folder=self.settings.home / "duckdb_extensions",
            is_read_only=is_read_only,
        )

    @cached_property
    def providers(self) -> Providers:
        """The sending providers by lane."""
        return Providers(self.settings)

    @property
    def secret(self) -> bytes:
        """Keys contact ids and address hashes. Raises `InvalidSettings` when there is none yet."""
        secret = self.settings.secret_key.get_secret_value()
        if not secret:
            raise InvalidSettings("COMMS_SECRET_KEY", "it is not set", "Run `comms init`, which makes one")
        return secret.encode()

    @property
    def token_keys(self) -> TokenKeys:
        """Signs and verifies the links in messages."""
        return self.settings.token_keys

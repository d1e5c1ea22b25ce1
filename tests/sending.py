"""What tests of sending share: a sandbox in a process of its own, and sends put into a real ledger. No tests."""

import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import polars as pl
import psycopg
from psycopg import sql

from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.content import Content
from comms_pipeline.domain.message import Channel, message_ids
from comms_pipeline.ledger import batches, sends
from comms_pipeline.ledger.batches import NewBatch
from comms_pipeline.ledger.sends import Organisation
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.providers.registry import Providers
from comms_pipeline.settings import Settings

API_KEY, ACCOUNT_SID, AUTH_TOKEN, SENDER = "SG.sandbox", "AC" + "0" * 32, "secret-token", "+15005550006"
RESEND_KEY, MAILGUN_KEY, MAILGUN_DOMAIN = "re_sandbox", "key-sandbox", "mg.acme.example"
PUBLIC_URL = "http://127.0.0.1:9"
ORGANISATION = Organisation(organisation_id="acme", name="Acme", postal_address="1 Main Street")
SECRET = b"a secret of the tests"
EMAIL_LANE, SMS_LANE = "email:sendgrid", "sms:twilio"
PATIENCE_SECONDS = 60

_SERVE = """
import json, sys
from pathlib import Path
import uvicorn
from comms_pipeline.sandbox.app import create_sandbox
from comms_pipeline.sandbox.config import SandboxConfig, generate_webhook_key
options = json.loads(sys.argv[1])
port = options.pop("port")
options |= {"folder": Path(options["folder"]), "webhook_private_key": generate_webhook_key()[0]}
app = create_sandbox(SandboxConfig(**options))
uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")
"""


# In the order in which foreign keys allow deleting.
_TABLES = (
    "outcome",
    "stop",
    "rate_bucket",
    "lane_trouble",
    "resend",
    "quota_use",
    "quota",
    "batch",
    "enqueued",
    "content",
    "send",
    "campaign_version",
    "suppression",
    "last_inbound",
    "landing",
    "seen_webhook",
    "preference",
    "personal_limit",
    "consent",
    "frequency_cap",
    "recent_message",
    "audit",
    "segment_version",
    "organisation",
)


class Accepted(NamedTuple):
    """What the sandbox's record says of one of our ids."""

    times: int
    provider_id: str


class SandboxProcess:
    """A sandbox whose recipients sleep: it accepts, records and breaks on request, and posts nothing.

    Unless `changes` (fields of `SandboxConfig`) wake them up.
    """

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.port = free_port()
        options = {
            "port": self.port,
            "folder": str(folder),
            "seed": 1,
            "sendgrid_api_key": API_KEY,
            "twilio_account_sid": ACCOUNT_SID,
            "twilio_auth_token": AUTH_TOKEN,
            "resend_api_key": RESEND_KEY,
            "mailgun_api_key": MAILGUN_KEY,
            "mailgun_domain": MAILGUN_DOMAIN,
            "web_url": PUBLIC_URL,
            "event_delay_seconds": 3600.0,
        } | changes
        # A pipe would fill up: uvicorn tells of every client that hung up, and here many do.
        self._complaints = folder / "complaints.txt"
        with self._complaints.open("wb") as complaints:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, json.dumps(options)], stderr=complaints
            )
        wait_until(self._is_up)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=PATIENCE_SECONDS)

    @property
    def settings_values(self) -> dict[str, Any]:
        """What makes `Settings` send to this sandbox; JSON-ready."""
        return {
            "sandbox_port": self.port,
            "sendgrid_api_key": API_KEY,
            "twilio_account_sid": ACCOUNT_SID,
            "twilio_auth_token": AUTH_TOKEN,
            "twilio_from": SENDER,
            "twilio_whatsapp_from": SENDER,
            "public_url": PUBLIC_URL,
        }

    def settings(self, **changes: Any) -> Settings:
        return Settings(_env_file=None, **{**self.settings_values, **changes})

    def providers(self, timeout_seconds: float = 30.0) -> Providers:
        return Providers(self.settings(), timeout_seconds=timeout_seconds)

    def break_things(self, *rules: dict[str, Any]) -> None:
        """Add fault rules (`comms_pipeline.sandbox.faults.FaultRule`), in force until `mend`."""
        self._ask("POST", "/_sandbox/faults", json.dumps(rules).encode())

    def mend(self) -> None:
        self._ask("DELETE", "/_sandbox/faults")

    def message(self, message_id: str) -> dict[str, Any] | None:
        """One accepted message in full, as its recipient gets it."""
        with suppress(HTTPError):
            found: dict[str, Any] = json.loads(self._ask("GET", f"/_sandbox/message/{message_id}"))
            return found
        return None

    def owed(self) -> int:
        """Steps of recipients still to come, or not yet taken by the web app."""
        told: int = json.loads(self._ask("GET", "/_sandbox/health"))["owed"]
        return told

    def accepted(self, ids: pl.Series) -> dict[str, Accepted]:
        """Those of our ids that were accepted."""
        wanted, found, cursor = set(ids), {}, 0
        while cursor is not None:
            page = json.loads(self._ask("GET", f"/_sandbox/messages?limit=10000&cursor={cursor}"))
            found |= {m["message"]: Accepted(m["accepted"], m["id"]) for m in page["messages"]}
            cursor = page["next"]
        return {message_id: accepted for message_id, accepted in found.items() if message_id in wanted}

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        try:
            with urlopen(
                Request(f"http://127.0.0.1:{self.port}{path}", body, method=method), timeout=30
            ) as answer:
                content: bytes = answer.read()
                return content
        except HTTPError as error:
            error.close()
            raise

    def _is_up(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(self._complaints.read_text())
        with suppress(OSError):
            return b'"ok"' in self._ask("GET", "/_sandbox/health")
        return False


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def content(channel: Channel, **changes: Any) -> Content:
    """A small message with one slot in every part."""
    if channel is not Channel.EMAIL:
        return Content(**{"campaign_id": "spring", "parts": {"text": ("Hi ", 0)}, "sender": ""} | changes)
    values = {
        "campaign_id": "spring",
        "parts": {
            "subject": ("For ", 0),
            "text": ("Hi ", 0, "!"),
            "html": ("<p>Hi ", 0, "!</p>"),
        },
        "sender": "office@acme.example",
        "sender_name": "Acme",
    }
    return Content(**values | changes)


def recipients(channel: Channel, names: list[str], send_id: str, **columns: list[str]) -> pl.DataFrame:
    """A payload: one row per name. Numbers are all different and take what comes, like the addresses."""
    if channel is not Channel.EMAIL:
        # The last four digits decide what becomes of a text; the rest tells sends and people apart.
        stem = int(secrets.token_hex(3), 16) % 1_000_000
        addresses = [f"+1{stem:06}{number:03}0008" for number in range(len(names))]
    else:
        addresses = [f"quiet.{name}@x.example" for name in names]
    frame = pl.DataFrame(
        {
            "message_id": message_ids(send_id, names, channel),
            "address": addresses,
            "s0": [f"{name} of {send_id}" for name in names],
            "unsubscribe_url": [f"{PUBLIC_URL}/u/{name}" for name in names],
        }
        | columns
    )
    return frame.with_columns(address_key=address_keys(frame["address"], channel, SECRET))


def new_send_id() -> str:
    """Unlike that of any other test: all share one sandbox and its record."""
    return f"spring-{secrets.token_hex(4)}"


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A migrated ledger on a real Postgres."""

    server: Server

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection as the product opens it."""
        return connect(self.server, autocommit=True)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        with self.connect() as connection:
            yield connection

    def one(self, query: str, *parameters: object) -> Any:
        """The first column of the first row; None without one."""
        with self.connect() as connection:
            row = connection.execute(query, parameters).fetchone()
        return row[0] if row else None

    def do(self, statement: str, *parameters: object) -> int:
        """Change something, also against the state machine; returns how many rows."""
        with self.connect() as connection, connection.transaction():
            connection.execute("set local session_replication_role = replica")
            return connection.execute(statement, parameters).rowcount

    def reset(self) -> None:
        """Delete everything, and start again with one organisation and one campaign."""
        with self.connect() as connection, connection.transaction():
            for table in _TABLES:
                connection.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))
            sends.put_organisation(connection, ORGANISATION)
            sends.apply_campaign(
                connection,
                campaign_id="spring",
                organisation_id=ORGANISATION.organisation_id,
                digest="1",
                spec={},
                templates={},
            )

    def open_send(self, send_id: str, *, is_started: bool = True) -> None:
        with self.connect() as connection, connection.transaction():
            sends.create_send(
                connection, send_id=send_id, campaign_id="spring", version=1, due_at=datetime.now(UTC)
            )
            if is_started:
                assert sends.start_send(connection, send_id)

    def enqueue(
        self,
        send_id: str,
        lane: str,
        payload: pl.DataFrame,
        *,
        batch_size: int = 1000,
        generation: int = 1,
        priority: int = 2,
        due_in: timedelta = timedelta(),
        shared: Content | None = None,
    ) -> None:
        """Put a payload into the queue as the plan's batches. Opens the send if there is none."""
        self.open_send(send_id)
        channel = Channel(lane.partition(":")[0])
        body = shared or content(channel)
        parts = [
            NewBatch(
                lane=lane,
                channel=channel,
                content_id=body.content_id,
                priority=priority,
                message_count=part.height,
                payload=pack(part),
                due_at=datetime.now(UTC) + due_in,
            )
            for part in payload.iter_slices(batch_size)
        ]
        with self.connect() as connection, connection.transaction():
            batches.enqueue(
                connection,
                send_id=send_id,
                organisation_id=ORGANISATION.organisation_id,
                generation=generation,
                contents={body.content_id: body.to_dict()},
                batches=parts,
            )

    def outcomes(self, send_id: str) -> pl.DataFrame:
        """What the feed says of every message in the end: its last row of each."""
        with self.connect() as connection:
            rows = connection.execute(
                "select results from outcome where send_id = %s order by outcome_id", (send_id,)
            ).fetchall()
        told = pl.concat([unpack(row[0]) for row in rows])
        return told.unique("message_id", keep="last", maintain_order=True)

    def statuses(self, send_id: str) -> dict[str, int]:
        """Batches by status."""
        with self.connect() as connection:
            return dict(
                connection.execute(
                    "select status, count(*) from batch where send_id = %s group by status", (send_id,)
                ).fetchall()
            )


def application_name(server: Server, name: str) -> Server:
    """The same server for connections that Postgres lists under `name`."""
    return replace(server, options=(*server.options, ("application_name", name)))

"""The web app on a real socket over a real ledger, and the links its visitors come by."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
import uvicorn
from fastapi import FastAPI
from lxml import html

from comms_pipeline.domain.addresses import address_key
from comms_pipeline.domain.links import PATHS
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose, TokenKeys
from comms_pipeline.ledger.migrate import migrate
from comms_pipeline.ledger.server import Server, connect, connect_to
from comms_pipeline.settings import Settings

SECRET = b"the secret of these tests"
PUBLIC_URL = "https://mail.example.org"
MESSAGE_ID = "11223344556677889900aabbccddeeff"
CONTACT_ID = "c0" * 16
EMAIL_KEY = address_key("ann@example.com", Channel.EMAIL, SECRET)
PHONE = "+15005550006"
PHONE_KEY = address_key(PHONE, Channel.SMS, SECRET)

LANDED = "select provider, kind, query, body from landing order by landing_id"
SUPPRESSED = """select organisation_id, channel, address_key, reason, source, contact_id
                from suppression order by organisation_id, channel, reason"""
AUDITED = "select actor, action, subject, details from audit order by audit_id"
Query = Callable[[str], list[tuple[Any, ...]]]


def web_settings(home: Path, **changed: object) -> Settings:
    values: dict[str, Any] = {"home": home, "secret_key": SECRET.decode(), "public_url": PUBLIC_URL}
    return Settings(_env_file=None, **(values | changed))


def web_ledger(postgres: Server, name: str) -> Server:
    """A new database of this name with the ledger's tables."""
    server = replace(postgres, database=name)
    with connect_to(postgres, "postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    migrate(server)
    return server


@contextmanager
def emptied(server: Server) -> Iterator[Query]:
    """Runs queries on the ledger, which is empty at the start."""
    with connect(server, autocommit=True) as connection:
        connection.execute(
            "truncate landing, seen_webhook, suppression, last_inbound, audit, preference, personal_limit, consent,"
            " consent_text"
        )
        yield lambda statement: connection.execute(statement.encode()).fetchall()


class Client(requests.Session):
    """A browser without curiosity: it follows no redirect."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def request(self, method: str, path: str, **options: Any) -> requests.Response:  # type: ignore[override]
        return super().request(method, self.address + path, **options | {"allow_redirects": False})


@contextmanager
def serving(app: FastAPI, port: int = 0) -> Iterator[Client]:
    """A client of the app, served by a real uvicorn on this port, else on a free one."""
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, ws="none", access_log=False, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def link(purpose: Purpose, *, path: str | None = None, secret: bytes = SECRET, **changed: Any) -> str:
    """The path of a signed link, for Ann's e-mail address unless `changed`; `path` is where it is tried."""
    claims: dict[str, Any] = {
        "organisation_id": "wedding",
        "contact_id": CONTACT_ID,
        "channel": Channel.EMAIL,
        "message_id": MESSAGE_ID,
        "address_key": EMAIL_KEY,
    }
    token = TokenKeys.from_secret(secret).sign(purpose, **(claims | changed))
    return (path or PATHS[purpose]) + token


def form_of(page: str, action: str) -> list[tuple[str, str]]:
    """What a browser would send of the page's form with the button for `action`."""
    (button,) = html.fromstring(page).xpath(f"//button[@name='action'][@value='{action}']")
    return [*next(button.iterancestors("form")).form_values(), ("action", action)]


def changed(fields: list[tuple[str, str]], **values: str) -> list[tuple[str, str]]:
    """The fields with other values."""
    return [(name, values.get(name, value)) for name, value in fields]

"""A send through each e-mail provider, whose recipients act: in the end the lake knows what happened to them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import serving
from sending import (
    MAILGUN_DOMAIN,
    MAILGUN_KEY,
    RESEND_KEY,
    Ledger,
    SandboxProcess,
    content,
    free_port,
    recipients,
    wait_until,
)
from signed_webhooks import MAILGUN_KEY as WEBHOOK_KEY
from signed_webhooks import RESEND_SECRET

from comms_pipeline.dispatch.send import run_lane
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.loader.events import load_provider_events, refresh_events
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.providers.registry import Providers
from comms_pipeline.stores import Stores
from comms_pipeline.web.app import create_app

SECRETS = {"resend_webhook_secret": RESEND_SECRET, "mailgun_webhook_key": WEBHOOK_KEY}
KEYS = {"resend_api_key": RESEND_KEY, "mailgun_api_key": MAILGUN_KEY, "mailgun_domain": MAILGUN_DOMAIN}
TOLD = {
    # How an address begins decides what its owner does (`sandbox.recipients`).
    "bounce": ("bounced", {"bounced"}),
    "async": ("bounced", {"delivered", "bounced"}),
    "blocked": ("failed", {"blocked"}),
    "defer": ("opened", {"deferred", "delivered", "opened"}),
    "drop": ("failed", {"rejected"}),
    "quiet": ("delivered", {"delivered"}),
    "open": ("opened", {"delivered", "opened"}),
    "click": ("clicked", {"delivered", "opened", "clicked"}),
    "machine": ("clicked", {"delivered", "opened", "clicked"}),
    "complain": ("complained", {"delivered", "opened", "complained"}),
}


class Office:
    """An installation whose recipients act at once: sandbox, web app and stores, each of this test's own."""

    def __init__(self, stores: Stores, sandbox: SandboxProcess, ledger: Ledger) -> None:
        self.stores = stores
        self.sandbox = sandbox
        self.ledger = ledger

    def plan(self, message_ids: list[str], lane: str) -> None:
        """The plan's rows, by which events are known to be ours."""
        with self.stores.lake.writer() as writer:
            writer.cursor.executemany(
                "insert into campaign.messages by name select 'journey' as send_id, 1 as generation, $1 as message_id,"
                " $1 as contact_id, 'email' as channel, $2 as lane, '' as variant, 0.0 as score, now() as due_at,"
                " now() as planned_at",
                [(message_id, lane) for message_id in message_ids],
            )

    def send(self, lane: str) -> dict[str, str]:
        """Send to everybody of `TOLD`; their messages' ids, by how they begin."""
        names = list(TOLD)
        payload = recipients(
            Channel.EMAIL, names, "journey", address=[f"{name}.them@x.example" for name in names]
        )
        linked = content(
            Channel.EMAIL,
            parts={
                "subject": ("For ", 0),
                "html": ("<p>Hi ", 0, '</p><a href="https://acme.example/a">See</a>'),
            },
        )
        self.plan(payload["message_id"].to_list(), lane)
        self.ledger.enqueue("journey", lane, payload, shared=linked)
        run_lane(
            self.stores.ledger,
            Providers(self.stores.settings),
            lane=lane,
            send_id="journey",
            linger_seconds=0,
        )
        wait_until(lambda: self.sandbox.owed() == 0)
        load_outcomes(self.stores)
        load_provider_events(self.stores)
        refresh_events(self.stores)
        refresh_message_status(self.stores)
        return dict(zip(names, payload["message_id"].to_list(), strict=True))


@pytest.fixture
def office(database: Server, tmp_path: Path) -> Iterator[Office]:
    port = free_port()
    public_url = f"http://127.0.0.1:{port}"
    (tmp_path / "sandbox").mkdir()
    sandbox = SandboxProcess(tmp_path / "sandbox", web_url=public_url, event_delay_seconds=0.05, **SECRETS)
    try:
        settings = sandbox.settings(
            home=tmp_path / "home",
            database_url=database.url(),
            secret_key="s" * 32,
            public_url=public_url,
            **SECRETS,
            **KEYS,
        )
        stores = Stores(settings)
        stores.lake.create_tables()
        ledger = Ledger(server=database)
        ledger.reset()
        try:
            with serving(create_app(settings, database), port):
                yield Office(stores, sandbox, ledger)
        finally:
            stores.lake.close()
    finally:
        sandbox.stop()


@pytest.mark.parametrize("lane", ["email:resend", "email:mailgun"])
def test_a_whole_send_comes_back_into_the_lake(office: Office, lane: str):
    ids = office.send(lane)
    with office.stores.lake.reader() as cursor:
        statuses = dict(cursor.execute("select message_id, status from core.message_status").fetchall())
        told = cursor.execute("select message_id, kind, provider, match from core.events").fetchall()
        rejects = cursor.execute("select * from raw.event_rejects").fetchall()
    provider = lane.partition(":")[2]
    kinds: dict[str, set[str]] = {}
    for message_id, kind, source, match in told:
        assert (source, match) == (provider, "message_id")
        kinds.setdefault(message_id, set()).add(kind)
    begun = {"queued", "sent"}
    found = {name: (statuses[ids[name]], kinds[ids[name]] - begun) for name in TOLD}
    assert found == TOLD
    assert rejects == []
    with connect(office.stores.server) as connection:
        reasons = connection.execute(
            "select reason, count(*) from suppression group by 1 order by 1"
        ).fetchall()
    assert reasons == [("bounced", 3), ("complained", 1)]

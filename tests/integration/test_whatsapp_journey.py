"""WhatsApp from the import of contacts to the events in the lake: a Content template, then free text in answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from audiences import Club
from browsing import serving
from sending import SandboxProcess, free_port, wait_until

from comms_pipeline.dispatch.send import run_lane
from comms_pipeline.ledger import sends
from comms_pipeline.ledger.server import Server
from comms_pipeline.loader.events import load_provider_events, refresh_events
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.planning import stages
from comms_pipeline.planning.stages import Funnel
from comms_pipeline.providers.registry import Providers
from comms_pipeline.stores import Stores
from comms_pipeline.web.app import create_app

ANSWERS, READS_NOTHING, WITHOUT_WHATSAPP = "+4369912340010", "+4369912340008", "+4369912340003"
CONTENT_SID = "HX" + "c" * 32
INVOICE = {
    "invoice_number": "NS-1001",
    "amount_due": "365.38",
    "due_date": "2026-12-08",
    "payment_url": "https://pay.example.com/i/1001",
}
CONTACTS = [
    {"name": 'Ann "Annie" Ö', "phone": ANSWERS, **INVOICE},
    {"name": "Bo", "phone": READS_NOTHING, **INVOICE},
    {"name": "Cy", "phone": WITHOUT_WHATSAPP, **INVOICE},
]
TEMPLATE = {
    "whatsapp": {
        "content_sid": CONTENT_SID,
        "content_variables": {1: "{{ name }}", 2: "{{ invoice_number }} due {{ due_date|date('long') }}"},
    }
}
FREE_TEXT = {"whatsapp": {"text": "builtin/business/invoice.whatsapp.txt"}}


class Office:
    """An installation that its recipients answer: sandbox, web app and stores, each of this test's own."""

    def __init__(self, stores: Stores, sandbox: SandboxProcess, club: Club) -> None:
        self.stores = stores
        self.sandbox = sandbox
        self.club = club

    def announce(self, templates: dict[str, Any]) -> None:
        self.club.announce(
            **{"class": "transactional"},
            channels=["whatsapp"],
            templates=templates,
            fallbacks={"currency_code": "EUR"},
        )

    def send(self, name: str) -> Funnel:
        """Plan and send the campaign's latest version."""
        send_id = f"{self.club.id}-{name}"
        with self.stores.ledger() as ledger, ledger.transaction():
            version = sends.get_campaign(ledger, self.club.id).version
            sends.create_send(
                ledger, send_id=send_id, campaign_id=self.club.id, version=version, due_at=self.stores.now()
            )
        context = stages.context_of(self.stores, send_id)
        stages.write_audience(self.stores, context)
        stages.write_decisions(self.stores, context)
        stages.write_messages(self.stores, context)
        stages.enqueue_plan(self.stores, context)
        with self.stores.ledger() as ledger, ledger.transaction():
            assert sends.start_send(ledger, send_id)
        providers = Providers(self.stores.settings)
        run_lane(self.stores.ledger, providers, lane="whatsapp:twilio", send_id=send_id, linger_seconds=0)
        load_outcomes(self.stores)
        with self.stores.lake.reader() as cursor:
            return stages.funnel(cursor, send_id)

    def told(self, name: str) -> dict[str, set[str]]:
        """Kinds of events in the lake by contact's number."""
        load_provider_events(self.stores)
        refresh_events(self.stores)
        query = (
            "select phone, kind from core.events join core.contacts using (contact_id) "
            "where send_id = $send_id and channel = 'whatsapp'"
        )
        found: dict[str, set[str]] = {}
        for phone, kind in self.club.rows(query, send_id=f"{self.club.id}-{name}"):
            found.setdefault(phone, set()).add(kind)
        return found

    def shown(self, name: str) -> dict[str, str]:
        """What the sandbox took, by number."""
        query = "select message_id from campaign.messages where send_id = $send_id"
        rows = self.club.rows(query, send_id=f"{self.club.id}-{name}")
        messages = [self.sandbox.message(message_id) for (message_id,) in rows]
        return {message["to"]: message["text"] for message in messages if message}


@pytest.fixture
def office(database: Server, tmp_path: Path) -> Iterator[Office]:
    port = free_port()
    public_url = f"http://127.0.0.1:{port}"
    (tmp_path / "sandbox").mkdir()
    sandbox = SandboxProcess(tmp_path / "sandbox", web_url=public_url, event_delay_seconds=0.05)
    try:
        settings = sandbox.settings(
            home=tmp_path / "home", database_url=database.url(), secret_key="s" * 32, public_url=public_url
        )
        stores = Stores(settings)
        stores.lake.create_tables()
        try:
            with serving(create_app(settings, database), port):
                folder = tmp_path / "club"
                folder.mkdir()
                yield Office(stores, sandbox, Club.founded(stores, folder))
        finally:
            stores.lake.close()
    finally:
        sandbox.stop()


def test_a_template_opens_the_conversation_and_free_text_goes_to_whoever_answered(office: Office) -> None:
    office.club.enrol(CONTACTS)
    office.announce(TEMPLATE)
    first = office.send("first")
    assert (first.audience, first.messages, first.accepted, first.refused) == (3, 3, 3, 0)
    assert office.shown("first") == {
        f"whatsapp:{ANSWERS}": f'[{CONTENT_SID}] Ann "Annie" Ö NS-1001 due December 8, 2026',
        f"whatsapp:{READS_NOTHING}": f"[{CONTENT_SID}] Bo NS-1001 due December 8, 2026",
        f"whatsapp:{WITHOUT_WHATSAPP}": f"[{CONTENT_SID}] Cy NS-1001 due December 8, 2026",
    }
    events = {
        ANSWERS: {"sent", "delivered", "opened"},
        READS_NOTHING: {"sent", "delivered"},
        WITHOUT_WHATSAPP: {"sent", "bounced"},
    }
    wait_until(lambda: office.told("first") == events)
    wait_until(lambda: wrote(office) == 1)

    office.announce(FREE_TEXT)
    second = office.send("second")
    # Whoever has no WhatsApp is suppressed by now; who did not answer is refused at the last moment.
    assert (second.audience, second.excluded, second.accepted, second.refused) == (3, 1, 1, 1)
    query = "select reason, count(*) from core.outcomes where status = 'refused' group by reason"
    assert office.club.rows(query) == [("window", 1)]
    [(number, text)] = office.shown("second").items()
    assert number == f"whatsapp:{ANSWERS}"
    assert text.startswith(
        'Hello Ann "Annie" Ö, here is invoice *NS-1001* from The Club.\n\nAmount due: *€365.38*\n'
    )
    wait_until(lambda: office.told("second") == {ANSWERS: {"sent", "delivered", "opened"}})


def wrote(office: Office) -> int:
    with office.stores.ledger() as ledger:
        row = ledger.execute("select count(*) from last_inbound where channel = 'whatsapp'").fetchone()
    assert row is not None
    return int(row[0])

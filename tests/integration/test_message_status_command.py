"""`comms status MESSAGE` and `comms status CONTACT`: the whole story, why it is there, what comes next. No address."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine

from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.domain.tokens import TokenClaims
from comms_pipeline.ledger import batches, sends
from comms_pipeline.ledger.landing import land
from comms_pipeline.ledger.server import Server
from comms_pipeline.loader.events import load_provider_events, refresh_events
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.planning import stages
from comms_pipeline.providers.base import same_result
from comms_pipeline.providers.own_events import Hit, hit_body

pytestmark = pytest.mark.xdist_group("command_line")

ANN = "quiet.ann@readers.example"
SEND = "book-fair"
CAMPAIGN = """
id: book-fair
organisation: town-library
audience: {everyone: true}
channels: [email]
sender: {from_email: office@library.example, from_name: The Library}
templates: {email: {subject: Book fair, html: fair.html}}
tracking: own
"""
PAGE = '<p>Come! <a href="{{ unsubscribe_url }}">No more</a> {{ postal_address }}</p>'


@dataclass(frozen=True, kw_only=True)
class Fair:
    """An installation with one send of two messages, planned and queued."""

    comms: CommandLine
    messages: dict[str, str]
    contacts: dict[str, str]

    def status(self, what: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.comms.ok("status", what, "--format", "json"))
        return told

    def told(self, reader: str) -> dict[str, Any]:
        return self.status(self.messages[reader])

    def lines(self, reader: str, chapter: str) -> list[str]:
        return [line["text"] for line in self.told(reader)["lines"] if line["chapter"] == chapter]


@pytest.fixture(scope="module")
def fair(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fair]:
    folder = tmp_path_factory.mktemp("status")
    server = replace(postgres, database="message_status_command")
    comms = CommandLine(home=folder / "home", variables={"COMMS_DATABASE_URL": server.url()})
    _write(
        folder,
        {
            "campaign/organisation.yaml": "{id: town-library, name: The Library, postal_address: 1 Main Street}",
            "campaign/fair.yaml": CAMPAIGN,
            "campaign/fair.html": PAGE,
            "readers.csv": f"external_id,email\nR1,{ANN}\nR2,quiet.ben@readers.example\n",
        },
    )
    comms.ok("init")
    comms.ok("campaigns", "apply", str(folder / "campaign"))
    options = ("--organisation", "town-library", "--consent", "card", "--consent-kind", "express")
    comms.ok("import", "contacts", str(folder / "readers.csv"), *options)
    stores = comms.stores
    with stores.ledger() as ledger:
        sends.create_send(
            ledger, send_id=SEND, campaign_id=SEND, version=1, due_at=datetime(2026, 3, 2, 9, tzinfo=UTC)
        )
    context = stages.context_of(stores, SEND)
    for stage in (stages.write_audience, stages.write_decisions, stages.write_messages):
        stage(stores, context)
    query = """select c.external_id, m.message_id, c.contact_id
               from campaign.messages m join core.contacts c using (contact_id)"""
    with stores.lake.reader() as lake:
        rows = lake.execute(query).fetchall()
    yield Fair(
        comms=comms, messages={row[0]: row[1] for row in rows}, contacts={row[0]: row[2] for row in rows}
    )
    stores.lake.close()


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def _hit(fair: Fair, reader: str, kind: str, second: int, **told: Any) -> None:
    claims = TokenClaims(
        organisation_id="town-library",
        contact_id=None,
        channel=Channel.EMAIL,
        message_id=fair.messages[reader],
        address_key=b"",
    )
    details: dict[str, Any] = {"user_agent": "Gateway/9", "is_head": False, "is_prefetch": False} | told
    body = hit_body(
        Hit(claims=claims, occurred_at=datetime(2026, 3, 2, 10, 0, second, tzinfo=UTC), **details)
    )
    with fair.comms.stores.ledger() as ledger:
        land(ledger, "comms", kind, "", body)


def test_a_message_is_followed_from_its_plan_to_the_last_hit(fair: Fair) -> None:
    stores = fair.comms.stores
    told = fair.told("R1")
    assert (told["status"], told["steps"], told["send_id"]) == ("planned", [], SEND)
    assert (told["campaign_id"], told["channel"], told["lane"]) == (SEND, "email", "email:sendgrid")
    assert told["answer"] == (
        f"Contact {fair.contacts['R1']} has not got its email message yet: not in the queue yet."
    )
    # Its time is over: it is due at once.
    assert re.fullmatch(
        r"It is sent at [-\d]+ [:\d]+ UTC or soon after, once nothing holds it back\.", told["next"]
    )
    assert fair.lines("R1", "decision") == ["email: allowed"]

    stages.enqueue_plan(stores, stages.context_of(stores, SEND))
    with stores.ledger() as ledger:
        sends.start_send(ledger, SEND)
        (claim,) = batches.claim_due(
            ledger, lane="email:sendgrid", worker="test", limit=9, lease_seconds=60, send_id=SEND
        )
        assert batches.mark_sending(ledger, [claim], lease_seconds=60) == {claim.batch_id}
        assert fair.told("R1")["next"] == "A worker has it; its outcome is on record soon."
        results = same_result(unpack(claim.payload), OutcomeStatus.ACCEPTED, provider_message_id="x-77")
        assert batches.record(ledger, claim, results=pack(results), error=None)
    # Before the lake has it, and after.
    for _ in range(2):
        (outcome,) = fair.lines("R1", "outcome")
        assert outcome == "accepted; told by sendgrid, which knows it as x-77"
        load_outcomes(stores)
    refresh_message_status(stores)
    told = fair.told("R1")
    assert (told["status"], [step["step"] for step in told["steps"]]) == ("accepted", ["accepted"])
    assert told["next"] == "The provider tells of its delivery, mostly within minutes."

    _hit(fair, "R1", "trap", 1, ip_key="aa")
    load_provider_events(stores)
    refresh_events(stores)
    refresh_message_status(stores)
    assert fair.told("R1")["status"] == "accepted"  # Who falls into the trap tells nothing of the message.
    _hit(fair, "R1", "open", 2, ip_key="aa")
    load_provider_events(stores)
    refresh_events(stores)
    refresh_message_status(stores)
    told = fair.told("R1")
    assert told["status"] == "opened"
    assert [step["step"] for step in told["steps"]] == ["accepted", "opened"]
    assert fair.lines("R1", "event") == [
        "trap; told by comms",
        "opened by a machine (rules trap, trapped-client); told by comms",
    ]


def test_a_contact_is_told_by_any_of_its_names_and_the_look_is_noted(fair: Fair) -> None:
    def accesses() -> int:
        with fair.comms.stores.ledger() as ledger:
            row = ledger.execute("select count(*) from audit where action = 'pii-access'").fetchone()
        return int(row[0]) if row else 0

    before = accesses()
    for known_by in (fair.contacts["R1"], "R1"):
        told = fair.status(known_by)
        assert told["contact_id"] == fair.contacts["R1"]
        assert [message["message_id"] for message in told["messages"]] == [fair.messages["R1"]]
    assert accesses() == before
    told = fair.status(ANN.upper())
    assert accesses() == before + 1
    assert {"imported", "selected", "planned"} <= {each["what"] for each in told["timeline"]}
    assert ANN not in json.dumps(told)


def test_rows_are_limited_and_tables_are_printed_for_people(fair: Fair) -> None:
    told = json.loads(fair.comms.ok("status", fair.contacts["R2"], "--limit", "1", "--format", "json"))
    assert (len(told["messages"]), len(told["timeline"])) == (1, 1)
    printed = fair.comms.ok("status", fair.messages["R2"])
    assert f"Message {fair.messages['R2']}" in printed
    assert "Next: " in printed
    assert f"Contact {fair.contacts['R2']}" in fair.comms.ok("status", "R2")


def test_without_a_name_it_is_the_installation(fair: Fair) -> None:
    assert "Waiting to be loaded:" in fair.comms.ok("status")
    told = json.loads(fair.comms.ok("status", "--format", "json"))
    assert [send["send_id"] for send in told["sends"]] == [SEND]
    assert told["waiting"].keys() == {"landings", "outcomes"}


@pytest.mark.parametrize("what", ["f" * 32, "R99", "nobody@readers.example"])
def test_who_is_not_known_is_said_without_repeating_it(fair: Fair, what: str) -> None:
    printed = fair.comms("status", what)
    assert printed.code == 1
    assert printed.err.startswith("error: message or contact: town-library knows nobody by this.")
    assert "nobody@" not in printed.err

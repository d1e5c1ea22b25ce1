"""`comms why`: what somebody gets to read who asks why a person got a message, or none. Prints no address, ever."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from command_line import CommandLine, Printed

from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.domain.addresses import address_key
from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus
from comms_pipeline.ledger import batches, operations, sends, suppressions
from comms_pipeline.ledger.server import Server
from comms_pipeline.ledger.suppressions import Suppression
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.planning import stages
from comms_pipeline.providers.base import same_result

pytestmark = pytest.mark.xdist_group("command_line")

ORGANISATION = "{id: town-library, name: The Library, postal_address: 1 Main Street}"
OTHERS = "{id: other-library, name: The Other Library, postal_address: 2 Main Street}"
CAMPAIGN = """
id: reading-night
organisation: town-library
audience:
  all:
    - {field: town, op: eq, value: Bath}
    - any:
        - {field: newsletter, op: eq, value: "yes"}
        - {field: email, op: eq, value: somebody@readers.example}
channels: [email]
sender: {from_email: office@library.example, from_name: The Library}
templates: {email: {subject: Reading night, html: night.html}}
"""
PAGE = '<p>Come! <a href="{{ unsubscribe_url }}">No more</a> {{ postal_address }}</p>'
READERS = """number,email,phone,town,newsletter
R1,quiet.ann@readers.example,+12075550101,Bath,yes
R2,quiet.ben@readers.example,,Bath,yes
R3,quiet.cleo@readers.example,,Bath,
R4,quiet.dan@readers.example,,Bristol,yes
R5,quiet.ben@readers.example,,Bath,yes
R6,quiet.eve@readers.example,,Bath,yes
R7,,+12075550107,Bath,yes
R8,quiet.finn@readers.example,,Bath,yes
R9,quiet.gia@readers.example,,Bath,yes
"""
MAPPING = """
organisation: town-library
consent: {source: library-card-form, kind: express, at: 2026-03-01T00:00:00Z}
columns: {external_id: number, email: email, phone: phone, country: "'US'", time_zone: "'America/New_York'"}
attributes: {town: town, newsletter: newsletter}
"""
SEND = "reading-night"


@dataclass(frozen=True, kw_only=True)
class Library:
    """An installation with one send, planned and queued, and what happened since."""

    comms: CommandLine
    ids: dict[str, str]

    def why(self, contact: str, *options: str) -> Printed:
        return self.comms("why", contact, SEND, *options)

    def story(self, contact: str) -> dict[str, Any]:
        """The story as JSON."""
        printed = self.why(contact, "--json")
        assert printed.code == 0, printed
        found: dict[str, Any] = json.loads(printed.out)
        return found

    def answer(self, reader: str) -> str:
        """What the story of R1 … comes to, without whose it is."""
        answer: str = self.story(self.ids[reader])["answer"]
        assert answer.startswith(f"Contact {self.ids[reader]} ")
        return answer.removeprefix(f"Contact {self.ids[reader]} ")

    def texts(self, reader: str, chapter: str) -> list[str]:
        """What one chapter says, line by line."""
        return [line["text"] for line in self.story(self.ids[reader])["lines"] if line["chapter"] == chapter]

    def suppress(self, address: str, reason: SuppressionReason) -> None:
        stores = self.comms.stores
        key = address_key(address, Channel.EMAIL, stores.secret)
        row = Suppression(
            organisation_id="town-library",
            channel=Channel.EMAIL,
            address_key=key,
            reason=reason,
            source="sendgrid",
        )
        with stores.ledger() as ledger:
            suppressions.suppress(ledger, [row])


@pytest.fixture(scope="module")
def library(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("why")
    server = replace(postgres, database="why")
    comms = CommandLine(home=folder / "home", variables={"COMMS_DATABASE_URL": server.url()})
    files = {
        "campaign/organisation.yaml": ORGANISATION,
        "campaign/night.yaml": CAMPAIGN,
        "campaign/night.html": PAGE,
        "others/organisation.yaml": OTHERS,
        "others/other.yaml": CAMPAIGN.replace("reading-night", "other-night").replace("town-", "other-"),
        "others/night.html": PAGE,
        "readers.csv": READERS,
        "readers.map.yaml": MAPPING,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    comms.ok("init")
    comms.ok("campaigns", "apply", str(folder / "campaign"))
    comms.ok("campaigns", "apply", str(folder / "others"))
    comms.ok("import", "contacts", str(folder / "readers.csv"), "--map", str(folder / "readers.map.yaml"))
    with comms.stores.lake.reader() as lake:
        ids = dict(lake.execute("select external_id, contact_id from core.contacts").fetchall())
    library = Library(comms=comms, ids=ids)
    library.suppress("Quiet.Eve@readers.example", SuppressionReason.BOUNCED)
    _plan(comms)
    yield library
    comms.stores.lake.close()


def _plan(comms: CommandLine) -> None:
    stores = comms.stores
    with stores.ledger() as ledger:
        sends.create_send(
            ledger, send_id=SEND, campaign_id=SEND, version=1, due_at=datetime(2026, 3, 2, 9, tzinfo=UTC)
        )
    context = stages.context_of(stores, SEND)
    stages.write_audience(stores, context)
    stages.write_decisions(stores, context)
    stages.write_messages(stores, context)


def _send_all(library: Library) -> None:
    """Send what is queued; the provider accepts all of it."""
    with library.comms.stores.ledger() as ledger:
        (claim,) = batches.claim_due(
            ledger, lane="email:sendgrid", worker="test", limit=9, lease_seconds=60, send_id=SEND
        )
        assert batches.mark_sending(ledger, [claim], lease_seconds=60) == {claim.batch_id}
        results = same_result(unpack(claim.payload), OutcomeStatus.ACCEPTED)
        assert batches.record(ledger, claim, results=pack(results), error=None)


def test_the_parts_of_an_audience_that_are_not_met_are_named(library: Library) -> None:
    assert library.answer("R4") == (
        "got nothing because it is not in the audience: it does not meet town eq Bath."
    )
    assert library.answer("R3") == (
        "got nothing because it is not in the audience: it does not meet "
        "any of (newsletter eq yes; email eq <address>) (the contact has no newsletter)."
    )
    assert library.texts("R4", "audience") == [
        "not in the audience of 7",
        "not met now: town eq Bath",
        "met now: any of (newsletter eq yes; email eq <address>)",
    ]


def test_rules_that_spoke_say_on_whose_word_and_what_would_change_them(library: Library) -> None:
    story = library.story(library.ids["R6"])
    (line,) = [each for each in story["lines"] if "rule not-suppressed" in each["text"]]
    assert re.fullmatch(
        r"email: rule not-suppressed version \d+: suppressed: bounced\. "
        r"Only the contact can take that back: by START, or on the preference page",
        line["text"],
    )
    assert "15 USC 7704(a)(4)" in line["source"]
    assert story["answer"].endswith("got nothing because email: suppressed: bounced (rule not-suppressed).")
    (standing,) = [each for each in story["lines"] if each["source"] == "suppression"]
    assert standing["text"] == (
        "email: suppressed (bounced) for town-library, every message; learnt from sendgrid"
    )


def test_without_an_address_there_is_no_message(library: Library) -> None:
    assert library.answer("R7") == (
        "got nothing because email: no valid address for this channel (rule address-present)."
    )


def test_who_shares_an_address_is_told_who_keeps_it(library: Library) -> None:
    kept, other = sorted([library.ids["R2"], library.ids["R5"]])
    story = library.story(other)
    assert story["answer"] == (
        f"Contact {other} got nothing because email: same address as contact {kept} (rule unique-address)."
    )


def test_what_was_withdrawn_since_the_decision_is_told(library: Library) -> None:
    assert library.texts("R8", "change") == []
    library.suppress("quiet.finn@readers.example", SuppressionReason.UNSUBSCRIBED)
    assert library.texts("R8", "change") == ["email: suppressed (unsubscribed), by sendgrid"]
    assert library.texts("R8", "decision") == ["email: allowed"]


def test_a_message_is_followed_to_its_end(library: Library) -> None:
    stores = library.comms.stores
    assert library.answer("R1") == "has not got its email message yet: not in the queue yet."

    stages.enqueue_plan(stores, stages.context_of(stores, SEND))
    assert library.answer("R1").endswith("waits: its send is scheduled.")
    with stores.ledger() as ledger:
        sends.start_send(ledger, SEND)
    assert library.answer("R1").endswith("due: the next free worker of its lane takes it.")
    with stores.ledger() as ledger, ledger.transaction():
        operations.put_stop(ledger, "channel:email", actor="test", reason="a fire")
    assert re.search(
        r"channel:email is stopped since .* \(a fire\); `comms start channel:email` goes on\.$",
        library.answer("R1"),
    )
    with stores.ledger() as ledger, ledger.transaction():
        operations.lift_stop(ledger, "channel:email", actor="test")
        operations.pause_send(ledger, SEND, actor="test", reason="a typo")
    assert library.answer("R1").endswith(
        "waits: its send is paused (a typo); `comms sends resume reading-night` goes on."
    )
    with stores.ledger() as ledger, ledger.transaction():
        operations.resume_send(ledger, SEND, actor="test")

    _send_all(library)
    assert "sendgrid accepted it at" in library.answer("R1")
    (outcome,) = [each for each in library.story(library.ids["R1"])["lines"] if each["chapter"] == "outcome"]
    assert (outcome["text"], outcome["source"]) == ("accepted; told by sendgrid", "ledger outcome")
    load_outcomes(stores)
    (outcome,) = [each for each in library.story(library.ids["R1"])["lines"] if each["chapter"] == "outcome"]
    assert (outcome["text"], outcome["source"]) == ("accepted; told by sendgrid", "core.outcomes")

    _tell(library, "R1", "delivered", "opened")
    assert library.texts("R1", "event") == [
        "delivered; told by sendgrid",
        "opened by a human; told by sendgrid",
    ]
    assert library.answer("R1") == "got its email message: delivered at 2026-03-02 09:00:00 UTC."
    _tell(library, "R9", "bounced")
    assert library.answer("R9") == (
        "was sent its email message, but: bounced (no such mailbox, code 550) at 2026-03-02 09:00:00 UTC."
    )


def _tell(library: Library, reader: str, *kinds: str) -> None:
    """Events of a reader's message, an hour apart."""
    with library.comms.stores.lake.writer() as writer:
        row = writer.cursor.execute(
            "select message_id from campaign.messages where contact_id = $id", {"id": library.ids[reader]}
        ).fetchone()
        assert row is not None
        events = pl.DataFrame(
            [
                {
                    "event_id": f"{reader}-{kind}",
                    "message_id": row[0],
                    "send_id": SEND,
                    "contact_id": library.ids[reader],
                    "channel": "email",
                    "provider": "sendgrid",
                    "kind": kind,
                    "occurred_at": datetime(2026, 3, 2, 9 + place, tzinfo=UTC),
                    "received_at": datetime(2026, 3, 2, 9 + place, tzinfo=UTC),
                    "reason": "no such mailbox" if kind == "bounced" else None,
                    "code": "550" if kind == "bounced" else None,
                    "verdict": "human" if kind == "opened" else "unknown",
                }
                for place, kind in enumerate(kinds)
            ]
        )
        writer.append("core.events", events)


def test_people_are_found_by_what_is_known_of_them(library: Library) -> None:
    for known_by in ("R1", library.ids["R1"], " Quiet.ANN@readers.example", "+1 207 555 0101"):
        assert library.story(known_by)["contact_id"] == library.ids["R1"]


def test_looking_somebody_up_by_address_is_on_record(library: Library) -> None:
    def accesses() -> list[tuple[str, dict[str, Any]]]:
        with library.comms.stores.ledger() as ledger:
            found = ledger.execute(
                "select subject, details from audit where action = 'pii-access' order by audit_id"
            )
            return [(subject, details) for subject, details in found]

    before = accesses()
    library.story("R1")
    assert accesses() == before
    library.story("quiet.gia@readers.example")
    assert accesses()[len(before) :] == [
        (
            f"town-library/{library.ids['R9']}",
            {"by": "email", "for": "why reading-night", "found": 1},
        )
    ]
    library.why("nobody@readers.example")
    assert accesses()[-1][1] == {"by": "email", "for": "why reading-night", "found": 0}


@pytest.mark.parametrize("reader", ["R1", "R3", "R4", "R6", "R7", "R8"])
def test_no_address_is_printed(library: Library, reader: str) -> None:
    for options in ((), ("--json",)):
        printed = library.why(library.ids[reader], *options)
        assert printed.code == 0
        assert not re.search(r"@|readers|quiet\.|207 ?555|\+1", printed.out), printed.out


def test_the_story_is_printed_as_a_table_with_the_answer_last(library: Library) -> None:
    printed = library.why("R4").out
    assert f"{SEND}, contact {library.ids['R4']}" in printed
    assert "│ audience" in printed
    assert printed.splitlines()[-1] == f"Contact {library.ids['R4']} {library.answer('R4')}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("R1", "no-such-send"), "send no-such-send: it does not exist."),
        (("R99", SEND), "contact: town-library knows nobody by this."),
        (("nobody@readers.example", SEND), "contact: town-library knows nobody by this."),
        (("207 555 0101", SEND), "contact: town-library knows nobody by this."),
        (("f" * 32, SEND), "contact: town-library knows nobody by this."),
        (("", SEND), "contact: town-library knows nobody by this."),
        (("R1", SEND, "--organisation", "nobodys"), "contact: nobodys knows nobody by this."),
    ],
)
def test_who_or_what_is_unknown_is_one_line(library: Library, arguments: tuple[str, ...], said: str) -> None:
    printed = library.comms("why", *arguments)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith(f"error: {said}")
    assert len(printed.err.splitlines()) == 1
    assert "@" not in printed.err


def test_several_with_one_address_are_named_by_their_ids(library: Library) -> None:
    printed = library.why("quiet.ben@readers.example")
    one, two = sorted([library.ids["R2"], library.ids["R5"]])
    assert printed.err == f"error: contact: 2 contacts of town-library have this. Name one: {one}, {two}\n"


def test_somebody_elses_contact_is_told_so(library: Library) -> None:
    _other_send(library)
    wrong = library.comms("why", library.ids["R1"], "other-night")
    assert wrong.code == 1
    assert "it is one of town-library, not of other-library. Add --organisation town-library" in wrong.err
    told = library.comms("why", "R1", "other-night", "--organisation", "town-library", "--json")
    assert json.loads(told.out)["answer"] == (
        f"Contact {library.ids['R1']} got nothing because it is a contact of town-library, "
        "and the send is one of other-library."
    )


def _other_send(library: Library) -> None:
    with library.comms.stores.ledger() as ledger:
        sends.create_send(
            ledger,
            send_id="other-night",
            campaign_id="other-night",
            version=1,
            due_at=datetime(2030, 1, 1, tzinfo=UTC),
        )


def test_a_send_that_is_not_planned_yet_says_so(library: Library) -> None:
    with library.comms.stores.ledger() as ledger:
        sends.create_send(
            ledger,
            send_id="reading-night--later",
            campaign_id=SEND,
            version=1,
            due_at=datetime(2030, 1, 1, tzinfo=UTC),
        )
    told = json.loads(library.comms.ok("why", "R1", "reading-night--later", "--json"))
    assert told["answer"] == (
        f"Contact {library.ids['R1']} got nothing yet because the send is scheduled and not planned."
    )
    audience = [line["text"] for line in told["lines"] if line["chapter"] == "audience"]
    assert audience[0] == "the audience is not selected yet"
    assert all(text.startswith("met now: ") for text in audience[1:])


def test_whoever_came_after_the_selection_or_was_erased_is_told_so(library: Library) -> None:
    folder = library.comms.home.parent
    (folder / "late.csv").write_text(
        "number,email,phone,town,newsletter\nR20,quiet.late@readers.example,,Bath,yes\n", encoding="utf-8"
    )
    library.comms.ok(
        *("import", "contacts", str(folder / "late.csv")), *("--map", str(folder / "readers.map.yaml"))
    )
    assert library.story("R20")["answer"].endswith(
        "got nothing because it became a contact after the audience was selected; sending again takes it in."
    )
    with library.comms.stores.lake.writer() as writer:
        writer.cursor.execute(
            "update core.contacts set is_erased = true, email = null where external_id = 'R20'"
        )
    story = library.story("R20")
    assert story["answer"].endswith("got nothing because its data was erased.")
    assert [line["text"] for line in story["lines"] if line["chapter"] == "contact"] == ["erased"]

"""Double opt-in: who pressed the button has consented, once, to the wording they were shown."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from browsing import (
    AUDITED,
    CONTACT_ID,
    EMAIL_KEY,
    LANDED,
    PHONE_KEY,
    SUPPRESSED,
    Client,
    Query,
    emptied,
    form_of,
    link,
    serving,
    web_ledger,
    web_settings,
)

from comms_pipeline.domain.consent import ConsentState
from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose
from comms_pipeline.ledger.consents import Consent, record
from comms_pipeline.ledger.sends import Organisation, put_organisation
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.ledger.suppressions import Suppression, suppress
from comms_pipeline.web.app import create_app

PAGE, PREFERENCES = link(Purpose.CONFIRM), link(Purpose.PREFERENCES)
CONTACT = bytes.fromhex(CONTACT_ID)
WORDING = "Yes, send me news and offers by e-mail from Ann & Bob. I can end this at any time."
GERMAN = "Ja, ich möchte per E-Mail Neuigkeiten und Angebote von Ann & Bob erhalten. Das kann ich jederzeit beenden."
CONSENTS = """select subject, channel, purpose, kind, state, source, ip_address
              from consent order by consent_id"""


@pytest.fixture(scope="module")
def web_database(postgres: Server) -> Server:
    server = web_ledger(postgres, "web_confirmation")
    with connect(server) as connection:
        put_organisation(
            connection,
            Organisation(organisation_id="wedding", name="Ann & Bob", postal_address="1 Lake Road"),
        )
    return server


@pytest.fixture(scope="module")
def client(web_database: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(create_app(web_settings(tmp_path_factory.mktemp("home")), web_database)) as client:
        yield client


@pytest.fixture(autouse=True)
def query(web_database: Server) -> Iterator[Query]:
    """Runs a query on the ledger, which is empty at the start of every test."""
    with emptied(web_database) as run:
        yield run


def said(
    server: Server, state: ConsentState, *, kind: str = "double-opt-in", subject: bytes = CONTACT
) -> None:
    consent = Consent(
        organisation_id="wedding",
        subject=subject,
        channel=Channel.EMAIL,
        kind=kind,
        state=state,
        at=datetime.now(UTC) - timedelta(days=1),
        source="form",
    )
    with connect(server) as connection:
        record(connection, [consent], "import")


def test_opening_the_link_asks_and_changes_nothing(client: Client, query: Query):
    page = client.get(PAGE)
    assert page.status_code == 200
    assert WORDING.replace("&", "&amp;") in page.text
    assert '<form method="post">' in page.text
    head = client.head(PAGE)
    assert (head.status_code, head.content) == (200, b"")
    assert (query(CONSENTS), query(AUDITED), query("select 1 from consent_text")) == ([], [], [])


def test_a_press_is_a_consent_with_time_place_and_wording(client: Client, query: Query):
    page = client.post(PAGE)
    assert page.status_code == 200
    assert "You get news and offers by e-mail from Ann &amp; Bob." in page.text
    assert query(CONSENTS) == [
        (
            *(CONTACT, "email", "*", "double-opt-in", "given", "confirmation-page"),
            ipaddress.ip_address("127.0.0.1"),
        )
    ]
    assert query("select now() - at < interval '1 minute' from consent") == [(True,)]
    assert query("select wording from consent_text join consent using (organisation_id, text_version)") == [
        (WORDING,)
    ]
    assert query("select text_version like 'double-opt-in-1-%' from consent") == [(True,)]


def test_a_second_press_records_nothing_more(client: Client, query: Query):
    answers = [client.post(PAGE) for _ in range(3)] + [client.post(PAGE, headers={"accept-language": "de"})]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200]
    assert len({answer.text for answer in answers[:3]}) == 1
    assert (len(query(CONSENTS)), len(query("select 1 from consent_text"))) == (1, 1)


def test_each_language_is_a_wording_of_its_own(client: Client, query: Query):
    other = link(Purpose.CONFIRM, contact_id="c1" * 16)
    client.post(PAGE)
    client.post(other + "?lang=de")
    assert [row[0] for row in query("select wording from consent_text order by created_at")] == [
        WORDING,
        GERMAN,
    ]


def test_a_sender_of_another_name_is_another_wording(client: Client, query: Query, web_database: Server):
    client.post(PAGE)
    named = Organisation(organisation_id="wedding", name="Ann & Carl", postal_address="1 Lake Road")
    try:
        with connect(web_database) as connection:
            put_organisation(connection, named)
        assert client.post(link(Purpose.CONFIRM, contact_id="c1" * 16)).status_code == 200
    finally:
        with connect(web_database) as connection:
            connection.execute("update organisation set name = 'Ann & Bob'")
    assert len(query("select distinct text_version from consent")) == 2


@pytest.mark.parametrize("state", [ConsentState.PENDING, ConsentState.WITHDRAWN])
def test_whoever_was_asked_or_withdrew_is_confirmed(
    client: Client, query: Query, web_database: Server, state: ConsentState
):
    said(web_database, state)
    client.post(PAGE)
    assert [row[4] for row in query(CONSENTS)] == [str(state), "given"]


def test_a_weaker_consent_becomes_a_confirmed_one(client: Client, query: Query, web_database: Server):
    said(web_database, ConsentState.GIVEN, kind="express")
    client.post(PAGE)
    assert [row[3] for row in query(CONSENTS)] == ["express", "double-opt-in"]


def test_what_was_confirmed_for_the_address_counts(client: Client, query: Query, web_database: Server):
    said(web_database, ConsentState.GIVEN, subject=EMAIL_KEY)
    client.post(PAGE)
    assert len(query(CONSENTS)) == 1


def test_a_text_messages_link_confirms_its_number(client: Client, query: Query):
    client.post(link(Purpose.CONFIRM, contact_id=None, channel=Channel.SMS, address_key=PHONE_KEY))
    assert [row[:2] for row in query(CONSENTS)] == [(PHONE_KEY, "sms")]


def test_coming_back_after_an_opt_out_is_a_consent_anew(client: Client, query: Query):
    client.post(PAGE)
    client.post(PREFERENCES, data=form_of(client.get(PREFERENCES).text, "stop"))
    client.post(PAGE)
    client.post(PAGE)
    assert len(query(CONSENTS)) == 2
    assert query(SUPPRESSED) == []
    assert query("select topic, is_wanted from preference where channel = 'email'") == [("*", True)]
    assert [row[1] for row in query(LANDED)] == ["unsubscribe", "resubscribe"]


def test_a_complaint_stands_and_the_page_says_so(client: Client, query: Query, web_database: Server):
    row = Suppression(
        organisation_id="wedding",
        channel=Channel.EMAIL,
        address_key=EMAIL_KEY,
        reason=SuppressionReason.COMPLAINED,
        source="sendgrid",
    )
    with connect(web_database) as connection:
        suppress(connection, [row])
    page = client.post(PAGE).text
    assert "We have noted your wish" in page
    assert "You reported a message as spam." in page
    assert [row[3] for row in query(SUPPRESSED)] == ["complained"]


BODIES: dict[str, dict[str, Any]] = {
    "json": {"json": {"state": "withdrawn"}},
    "multipart": {"files": {"subject": (None, "other")}},
    "binary": {"data": b"\xff\x00"},
}


@pytest.mark.parametrize("body", list(BODIES))
def test_the_body_says_nothing_that_the_link_does_not(client: Client, query: Query, body: str):
    assert client.post(PAGE, **BODIES[body]).status_code == 200
    assert [row[:5] for row in query(CONSENTS)] == [(CONTACT, "email", "*", "double-opt-in", "given")]


def test_too_large_a_body_is_a_413_page(client: Client, query: Query):
    response = client.post(PAGE, data=b"x" * 10_000_000)
    assert (response.status_code, query(CONSENTS)) == (413, [])
    assert "Nothing has changed" in response.text


@pytest.mark.parametrize(
    "path",
    ["/y/nonsense", PAGE[:-1], link(Purpose.UNSUBSCRIBE, path="/y/"), link(Purpose.CONFIRM, address_key=b"")],
)
def test_a_bad_token_gets_a_page_that_says_nothing(client: Client, query: Query, path: str):
    got, posted = client.get(path), client.post(path)
    assert (got.status_code, posted.status_code, client.head(path).status_code) == (404, 404, 404)
    assert got.text == posted.text == client.get("/u/other").text
    assert query(CONSENTS) == []

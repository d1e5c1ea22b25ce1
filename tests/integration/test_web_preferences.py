"""The preferences page: what it shows, what it changes, and what only others can change."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import (
    AUDITED,
    EMAIL_KEY,
    LANDED,
    PHONE_KEY,
    SUPPRESSED,
    Client,
    Query,
    emptied,
    link,
    serving,
    web_ledger,
    web_settings,
)

from comms_pipeline.domain.event import EventKind, SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose
from comms_pipeline.ledger.sends import Organisation, put_organisation
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.ledger.suppressions import Suppression, suppress
from comms_pipeline.providers.event_parsers import parse_landed
from comms_pipeline.web.app import create_app

PAGE = link(Purpose.PREFERENCES)
YES, NO = {"receive": "yes"}, {"receive": "no"}


@pytest.fixture(scope="module")
def web_database(postgres: Server) -> Server:
    server = web_ledger(postgres, "web_preferences")
    with connect(server) as connection:
        put_organisation(
            connection,
            Organisation(organisation_id="wedding", name="Ann & Bob <3", postal_address="1 Lake Road"),
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


def add(server: Server, reason: SuppressionReason, source: str, **changed: Any) -> None:
    row = {"organisation_id": "wedding", "channel": Channel.EMAIL, "address_key": EMAIL_KEY} | changed
    with connect(server) as connection:
        assert suppress(connection, [Suppression(reason=reason, source=source, **row)]) == 1


def checked(page: str) -> list[str]:
    return re.findall(r'value="(\w+)" required checked', page)


def test_the_page_shows_how_things_stand_and_changes_nothing(client: Client, query: Query):
    page = client.get(PAGE)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "You get e-mails from Ann &amp; Bob &lt;3." in page.text
    assert checked(page.text) == ["yes"]
    assert "<script" not in page.text
    assert "set-cookie" not in page.headers
    head = client.head(PAGE)
    assert (head.status_code, head.content) == (200, b"")
    assert (query(LANDED), query(SUPPRESSED)) == ([], [])


def test_the_form_is_labelled(client: Client):
    page = client.get(PAGE).text
    assert "<fieldset><legend>Do you want these e-mails?</legend>" in re.sub(r">\s+<", "><", page)
    assert len(re.findall(r'<label><input type="radio" name="receive"[^>]*> (?:Yes|No), ', page)) == 2
    assert '<p role="status">' in page
    assert '<html lang="en">' in page


def test_no_means_suppressed_at_once_and_the_lake_learns_of_it(client: Client, query: Query):
    page = client.post(PAGE, data=NO)
    assert page.status_code == 200
    assert "Saved. You get no e-mails from Ann" in page.text
    assert checked(page.text) == ["no"]
    assert [row[:5] for row in query(SUPPRESSED)] == [
        ("wedding", "email", EMAIL_KEY, "unsubscribed", "preferences-page")
    ]
    ((provider, kind, sent, body),) = query(LANDED)
    (event,) = parse_landed(provider, kind, sent, body)
    assert (kind, event.kind) == ("unsubscribe", EventKind.UNSUBSCRIBED)


@pytest.mark.parametrize("way_out", [PAGE, link(Purpose.UNSUBSCRIBE)], ids=["preferences", "unsubscribe"])
def test_yes_takes_an_opt_out_back_that_was_made_on_our_pages(client: Client, query: Query, way_out: str):
    client.post(way_out, data=NO)
    page = client.post(PAGE, data=YES)
    assert "Saved. You get e-mails from Ann" in page.text
    assert query(SUPPRESSED) == []
    assert [row[:2] for row in query(AUDITED)][1:] == [("preferences-page", "lift")]
    assert query(AUDITED)[1][2:] == (f"wedding/email/{EMAIL_KEY.hex()}", {"reason": "unsubscribed"})
    events = [event.kind for row in query(LANDED) for event in parse_landed(*row)]
    assert events == [EventKind.UNSUBSCRIBED, EventKind.SUBSCRIBED]


def test_choosing_the_same_again_changes_nothing(client: Client, query: Query):
    answers = [client.post(PAGE, data=NO) for _ in range(3)]
    assert len({answer.text for answer in answers}) == 1
    assert (len(query(LANDED)), len(query(SUPPRESSED)), len(query(AUDITED))) == (1, 1, 1)
    answers = [client.post(PAGE, data=YES) for _ in range(3)]
    assert len({answer.text for answer in answers}) == 1
    assert (len(query(LANDED)), len(query(SUPPRESSED)), len(query(AUDITED))) == (2, 0, 2)


def test_each_change_of_mind_is_an_event_of_its_own(client: Client, query: Query):
    for choice in (NO, YES, NO, YES):
        client.post(PAGE, data=choice)
    events = [event for row in query(LANDED) for event in parse_landed(*row)]
    assert len({(event.raw_kind, event.occurred_at) for event in events}) == 4


@pytest.mark.parametrize(
    ("reason", "source", "owner"),
    [
        (SuppressionReason.COMPLAINED, "sendgrid", "wedding"),
        (SuppressionReason.BOUNCED, "sendgrid", "*"),
        (SuppressionReason.STOPPED, "twilio", "*"),
        (SuppressionReason.MANUAL, "unsubscribe-link", "wedding"),
        (SuppressionReason.UNSUBSCRIBED, "sendgrid", "wedding"),
        (SuppressionReason.UNSUBSCRIBED, "unsubscribe-link", "*"),
    ],
)
def test_yes_lifts_nothing_that_was_not_chosen_here(
    client: Client,
    query: Query,
    web_database: Server,
    reason: SuppressionReason,
    source: str,
    owner: str,
):
    add(web_database, reason, source, organisation_id=owner)
    before = query(SUPPRESSED)
    page = client.post(PAGE, data=YES)
    assert page.status_code == 200
    assert "You get no e-mails from Ann" in page.text
    assert "Saved" not in page.text
    assert query(SUPPRESSED) == before
    assert len(query(AUDITED)) == 1
    assert query(LANDED) == []


def test_what_cannot_be_chosen_here_is_disabled_and_says_why(client: Client, web_database: Server):
    add(web_database, SuppressionReason.COMPLAINED, "sendgrid")
    page = client.get(PAGE).text
    assert 'value="yes" required disabled' in page
    assert checked(page) == ["no"]
    assert '<fieldset aria-describedby="receive-note">' in page
    assert "This page cannot turn them on again." in page


def test_whoever_answered_stop_is_told_to_answer_start(client: Client, web_database: Server):
    phone = {"channel": Channel.SMS, "address_key": PHONE_KEY}
    add(web_database, SuppressionReason.STOPPED, "twilio", organisation_id="*", **phone)
    page = client.get(link(Purpose.PREFERENCES, contact_id=None, **phone)).text
    assert "To get text messages again, answer START." in page


def test_a_complaint_after_an_opt_out_is_not_taken_back_with_it(
    client: Client, query: Query, web_database: Server
):
    client.post(PAGE, data=NO)
    add(web_database, SuppressionReason.COMPLAINED, "sendgrid")
    client.post(PAGE, data=YES)
    assert [row[3] for row in query(SUPPRESSED)] == ["complained"]


def test_another_channel_and_another_address_stay_as_they_are(client: Client, query: Query):
    phone = {"channel": Channel.SMS, "address_key": PHONE_KEY}
    text_page = link(Purpose.PREFERENCES, contact_id=None, **phone)
    client.post(PAGE, data=NO)
    client.post(text_page, data=NO)
    assert "You get no text messages" in client.get(text_page).text
    client.post(PAGE, data=YES)
    assert query("select channel, address_key, contact_id from suppression") == [("sms", PHONE_KEY, None)]


def test_the_link_of_an_organisation_that_is_gone_still_works(client: Client, query: Query):
    page = link(Purpose.PREFERENCES, organisation_id="gone")
    assert "You get e-mails from this sender." in client.get(page).text
    assert client.post(page, data=NO).status_code == 200
    assert [row[0] for row in query(SUPPRESSED)] == ["gone"]


@pytest.mark.parametrize(
    "body", [b"", b"receive=", b"receive=maybe", b"receive=yes&receive=no", b"\xff=\x00&" * 200, b"{}"]
)
def test_a_form_that_is_not_ours_changes_nothing(client: Client, query: Query, body: bytes):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = client.post(PAGE, data=body, headers=headers)
    assert response.status_code == 422
    assert "Nothing has changed" in response.text
    assert (query(LANDED), query(SUPPRESSED)) == ([], [])


@pytest.mark.parametrize(
    "path",
    [
        "/p/nonsense",
        PAGE[:-1],
        link(Purpose.UNSUBSCRIBE, path="/p/"),
        link(Purpose.PREFERENCES, address_key=b""),
        link(Purpose.PREFERENCES, secret=b"somebody else's"),
        "/p/%00%ff",
    ],
)
def test_a_bad_token_gets_a_page_that_says_nothing(client: Client, query: Query, path: str):
    got, posted = client.get(path), client.post(path, data=NO)
    assert (got.status_code, posted.status_code, client.head(path).status_code) == (404, 404, 404)
    assert got.text == posted.text == client.get("/u/other").text
    assert query(SUPPRESSED) == []


def test_a_choice_that_cannot_be_stored_is_a_503_page(client: Client, query: Query, web_database: Server):
    with connect(web_database, autocommit=True) as connection:
        connection.execute(
            """create function refuse() returns trigger language plpgsql as
                   $$ begin raise exception 'the disk is full'; end $$;
               create constraint trigger refuse_at_commit after insert on suppression
                   deferrable initially deferred for each row execute function refuse();"""
        )
        try:
            response = client.post(PAGE, data=NO)
        finally:
            connection.execute("drop function refuse cascade")
    assert response.status_code == 503
    assert "Nothing has changed" in response.text
    assert (query(LANDED), query(SUPPRESSED), query(AUDITED)) == ([], [], [])

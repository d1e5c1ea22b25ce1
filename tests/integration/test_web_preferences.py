"""The preference centre: what it shows, what it changes, and what only others can change."""

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
    changed,
    emptied,
    form_of,
    link,
    serving,
    web_ledger,
    web_settings,
)
from lxml import html

from comms_pipeline.domain.event import EventKind, SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose
from comms_pipeline.ledger.preferences import Choice, PersonalLimits, set_choices, set_limits
from comms_pipeline.ledger.sends import Organisation, apply_campaign, put_organisation
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.ledger.suppressions import Suppression, suppress
from comms_pipeline.providers.event_parsers import parse_landed
from comms_pipeline.web.app import create_app

PAGE = link(Purpose.PREFERENCES)
PHONE = {"channel": Channel.SMS, "address_key": PHONE_KEY}
TEXT_PAGE = link(Purpose.PREFERENCES, contact_id=None, **PHONE)
PLAIN_PAGE = link(Purpose.PREFERENCES, organisation_id="plain")
CONTACT = bytes.fromhex(CONTACT_ID)

CHOSEN = "select subject, channel, topic, is_wanted, source from preference order by subject, channel, topic"
LIMITS = "select subject, quiet_from, quiet_until, paused_until, weekly_cap from personal_limit"
Fields = list[tuple[str, str]]


@pytest.fixture(scope="module")
def web_database(postgres: Server) -> Server:
    server = web_ledger(postgres, "web_preferences")
    organisations = [
        ("wedding", "Ann & Bob <3", {"topics": {"news": "News", "photographs": "Photographs"}}),
        ("plain", "Plain", {}),
    ]
    with connect(server) as connection:
        for organisation_id, name, spec in organisations:
            put_organisation(
                connection,
                Organisation(
                    organisation_id=organisation_id, name=name, postal_address="1 Lake Road", spec=spec
                ),
            )
        for campaign_id, channels in (("invitation", ["email", "sms"]), ("reminder", ["email"])):
            apply_campaign(
                connection,
                campaign_id=campaign_id,
                organisation_id="wedding",
                digest="1",
                spec={"channels": channels},
                templates={},
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


def add(server: Server, reason: SuppressionReason, source: str, **changes: Any) -> None:
    row = {"organisation_id": "wedding", "channel": Channel.EMAIL, "address_key": EMAIL_KEY} | changes
    with connect(server) as connection:
        assert suppress(connection, [Suppression(reason=reason, source=source, **row)]) == 1


def form(client: Client, action: str = "save", path: str = PAGE) -> Fields:
    return form_of(client.get(path).text, action)


def ticking(fields: Fields, *wanted: str) -> Fields:
    """The form with these boxes ticked and no other."""
    return [field for field in fields if field[0] != "wanted"] + [("wanted", value) for value in wanted]


def without(fields: Fields, *unwanted: str) -> Fields:
    return [field for field in fields if field not in [("wanted", value) for value in unwanted]]


def ticked(page: str) -> list[str]:
    return list(html.fromstring(page).xpath("//input[@type='checkbox'][@checked]/@value"))


def summary(page: str) -> dict[str, str]:
    rows = html.fromstring(page).xpath("//dl/div")
    return {row.findtext("dt"): row.findtext("dd") for row in rows}


def status(page: str) -> str | None:
    found = html.fromstring(page).xpath("//*[@role='status']")
    return found[0].text if found else None


def untouched(query: Query) -> bool:
    return (query(CHOSEN), query(LIMITS), query(SUPPRESSED), query(LANDED)) == ([], [], [], [])


# --- What it shows --------------------------------------------------------------------------------------


def test_the_page_shows_how_things_stand_and_changes_nothing(client: Client, query: Query):
    page = client.get(PAGE)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>Your messages from Ann &amp; Bob &lt;3</h1>" in page.text
    assert summary(page.text) == {"E-mail": "everything", "Text messages": "everything"}
    assert ticked(page.text) == [
        *("email/news", "email/photographs", "email/*", "sms/news", "sms/photographs", "sms/*")
    ]
    assert "<script" not in page.text
    assert "set-cookie" not in page.headers
    head = client.head(PAGE)
    assert (head.status_code, head.content) == (200, b"")
    assert untouched(query)


def test_without_types_and_campaigns_there_is_one_box(client: Client):
    page = client.get(PLAIN_PAGE).text
    assert ticked(page) == ["email/*"]
    assert [label.strip() for label in html.fromstring(page).xpath("//fieldset/label/text()")] == [
        "All messages"
    ]


def test_the_link_of_a_text_message_is_about_its_own_channel(client: Client):
    page = client.get(TEXT_PAGE).text
    assert summary(page) == {"Text messages": "everything"}
    assert "You get no more news and offers by text message from Ann" in page


def test_what_an_import_or_another_page_brought_is_shown(client: Client, web_database: Server):
    with connect(web_database) as connection:
        for subject, topic in ((EMAIL_KEY, "news"), (CONTACT, "photographs")):
            set_choices(
                connection,
                organisation_id="wedding",
                subject=subject,
                choices=[Choice(channel=Channel.EMAIL, topic=topic, is_wanted=False)],
                source="import",
            )
        set_limits(
            connection,
            organisation_id="wedding",
            subject=EMAIL_KEY,
            limits=PersonalLimits(quiet_from=1320, quiet_until=420, weekly_cap=4),
            source="import",
        )
    page = client.get(PAGE).text
    assert summary(page)["E-mail"] == "All other messages"
    assert (
        "Nothing comes between 22:00 and 07:00" in client.get(PAGE, headers={"accept-language": "en-GB"}).text
    )
    assert ("weekly_cap", "4") in form_of(page, "save")


def test_dates_are_written_in_the_visitors_language(client: Client):
    page = client.get(PAGE + "?lang=de").text
    assert '<html lang="de" dir="ltr">' in page
    until = datetime.fromisoformat(dict(form_of(page, "pause"))["until"])
    assert f"Pausieren bis {until.day}. " in page


# --- Choosing -------------------------------------------------------------------------------------------


def test_only_what_differs_becomes_a_choice(client: Client, query: Query):
    page = client.post(PAGE, data=without(form(client), "email/photographs"))
    assert page.status_code == 200
    assert status(page.text) == "Saved."
    assert query(CHOSEN) == [(CONTACT, "email", "photographs", False, "preferences-page")]
    assert [(actor, action) for actor, action, *_ in query(AUDITED)] == [("preferences-page", "choose")]
    assert (query(SUPPRESSED), query(LANDED)) == ([], [])


def test_whoever_wants_one_type_alone_gets_no_type_added_later(client: Client, query: Query):
    page = client.post(PAGE, data=ticking(form(client), "email/news", "sms/*", "sms/news", "sms/photographs"))
    assert summary(page.text) == {"E-mail": "News", "Text messages": "everything"}
    assert [row[1:4] for row in query(CHOSEN)] == [
        ("email", "*", False),
        ("email", "news", True),
    ]


def test_nothing_wanted_any_more_is_an_opt_out_of_marketing_that_the_lake_learns_of(
    client: Client, query: Query
):
    page = client.post(PAGE, data=ticking(form(client), "sms/*", "sms/news", "sms/photographs"))
    assert summary(page.text)["E-mail"] == "nothing"
    assert query("select organisation_id, address_key, reason, source, scope from suppression") == [
        ("wedding", EMAIL_KEY, "unsubscribed", "preferences-page", "marketing")
    ]
    ((provider, kind, sent, body),) = query(LANDED)
    (event,) = parse_landed(provider, kind, sent, body)
    assert (kind, event.kind) == ("unsubscribe", EventKind.UNSUBSCRIBED)


def test_a_tick_takes_an_unsubscription_back_and_brings_no_more_than_it_says(client: Client, query: Query):
    client.post(link(Purpose.UNSUBSCRIBE))
    assert summary(client.get(PAGE).text) == {"E-mail": "nothing", "Text messages": "everything"}
    page = client.post(PAGE, data=[*form(client), ("wanted", "email/news")])
    assert summary(page.text) == {"E-mail": "News", "Text messages": "everything"}
    assert query(SUPPRESSED) == []
    assert [row[1:4] for row in query(CHOSEN)] == [("email", "*", False), ("email", "news", True)]
    events = [event.kind for row in query(LANDED) for event in parse_landed(*row)]
    assert events == [EventKind.UNSUBSCRIBED, EventKind.SUBSCRIBED]


def test_other_things_are_saved_without_a_word_on_an_unsubscription(client: Client, query: Query):
    client.post(link(Purpose.UNSUBSCRIBE))
    client.post(PAGE, data=changed(form(client), weekly_cap="2"))
    assert (len(query(SUPPRESSED)), query(CHOSEN)) == (1, [])
    assert query(LIMITS) == [(CONTACT, None, None, None, 2)]


def test_a_choice_from_a_text_message_is_kept_by_its_number(client: Client, query: Query):
    client.post(TEXT_PAGE, data=without(form(client, path=TEXT_PAGE), "sms/news"))
    assert [row[:4] for row in query(CHOSEN)] == [(PHONE_KEY, "sms", "news", False)]


def test_the_newest_word_of_a_person_with_two_links_holds(client: Client):
    sms_page = link(Purpose.PREFERENCES, **PHONE)
    client.post(TEXT_PAGE, data=without(form(client, path=TEXT_PAGE), "sms/news"))
    assert "sms/news" not in ticked(client.get(sms_page).text)
    client.post(sms_page, data=[*form(client, path=sms_page), ("wanted", "sms/news")])
    assert "sms/news" in ticked(client.get(TEXT_PAGE).text)


def test_the_link_of_an_organisation_that_is_gone_still_works(client: Client, query: Query):
    page = link(Purpose.PREFERENCES, organisation_id="gone")
    assert "Your messages from this sender" in client.get(page).text
    assert client.post(page, data=form(client, "stop", page)).status_code == 200
    assert [row[0] for row in query(SUPPRESSED)] == ["gone"]


# --- Limits, pause, everything --------------------------------------------------------------------------


def test_quiet_hours_and_a_limit_a_week_are_kept_and_taken_back(client: Client, query: Query):
    wanted = {"quiet_from": "21:30", "quiet_until": "08:00", "weekly_cap": "3"}
    page = client.post(PAGE, data=changed(form(client), **wanted)).text
    assert query(LIMITS) == [(CONTACT, 1290, 480, None, 3)]
    assert "Messages a week on each channel, at most: 3." in page
    client.post(PAGE, data=changed(form(client), quiet_from="", quiet_until="", weekly_cap=""))
    assert query(LIMITS) == [(CONTACT, None, None, None, None)]
    assert [(actor, action) for actor, action, *_ in query(AUDITED)] == [("preferences-page", "limit")] * 2


def test_a_pause_is_thirty_days_and_can_be_ended(client: Client, query: Query):
    page = client.post(PAGE, data=form(client, "pause"))
    ((_, _, _, until, _),) = query(LIMITS)
    assert timedelta(days=30) <= until - datetime.now(UTC) <= timedelta(days=31)
    assert "Everything is paused until" in page.text
    assert "Resume now" in page.text
    page = client.post(PAGE, data=form(client, "resume"))
    assert query(LIMITS) == [(CONTACT, None, None, None, None)]
    assert "Pause until" in page.text


@pytest.mark.parametrize("until", ["2020-01-01", "9999-12-31", "2026-02-30", ""])
def test_another_pause_than_the_page_offers_is_refused(client: Client, query: Query, until: str):
    response = client.post(PAGE, data=changed(form(client, "pause"), until=until))
    assert response.status_code == 422
    assert untouched(query)


def test_a_pause_that_is_over_is_none(client: Client, web_database: Server):
    with connect(web_database) as connection:
        set_limits(
            connection,
            organisation_id="wedding",
            subject=CONTACT,
            limits=PersonalLimits(paused_until=datetime(2026, 1, 1, tzinfo=UTC)),
            source="import",
        )
    page = client.get(PAGE).text
    assert "Everything is paused" not in page
    assert "Pause until" in page


def test_one_button_ends_everything_chosen_or_to_come_on_every_channel(client: Client, query: Query):
    client.post(PAGE, data=without(form(client), "sms/*"))
    page = client.post(PAGE, data=form(client, "stop"))
    assert status(page.text) == "Saved."
    assert summary(page.text) == {"E-mail": "nothing", "Text messages": "nothing"}
    assert [row[1:4] for row in query(CHOSEN)] == [
        ("email", "*", False),
        ("sms", "*", False),
        ("sms", "news", False),
        ("sms", "photographs", False),
        ("whatsapp", "*", False),
    ]
    assert query("select channel, address_key, scope from suppression") == [("email", EMAIL_KEY, "marketing")]


def test_the_button_of_a_text_message_ends_its_own_channel(client: Client, query: Query):
    client.post(TEXT_PAGE, data=form(client, "stop", TEXT_PAGE))
    assert [row[:4] for row in query(CHOSEN)] == [(PHONE_KEY, "sms", "*", False)]
    assert [row[1:3] for row in query(SUPPRESSED)] == [("sms", PHONE_KEY)]


# --- The same again, and out of date --------------------------------------------------------------------


@pytest.mark.parametrize("action", ["save", "pause", "resume", "stop"])
def test_a_form_sent_again_changes_nothing_more(client: Client, query: Query, action: str):
    sent = form(client, "pause")
    if action == "resume":
        client.post(PAGE, data=sent)
    sent = without(form(client, action), "email/news", "email/photographs", "email/*")
    if action == "save":
        sent = changed(sent, weekly_cap="2")
    answers = [client.post(PAGE, data=sent) for _ in range(3)]
    state = [query(each) for each in (CHOSEN, LIMITS, SUPPRESSED, LANDED, AUDITED)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    client.post(PAGE, data=sent)
    assert [query(each) for each in (CHOSEN, LIMITS, SUPPRESSED, LANDED, AUDITED)] == state


def test_a_form_from_before_another_change_changes_nothing(client: Client, query: Query):
    old = without(form(client), "email/news")
    client.post(PAGE, data=changed(form(client), weekly_cap="5"))
    response = client.post(PAGE, data=old)
    assert response.status_code == 409
    assert "Your choices have changed since this page was opened." in response.text
    assert (query(CHOSEN), query(LIMITS)) == ([], [(CONTACT, None, None, None, 5)])


def test_the_way_out_works_from_an_old_page_too(client: Client, query: Query):
    old = form(client, "stop")
    client.post(PAGE, data=changed(form(client), weekly_cap="5"))
    assert client.post(PAGE, data=old).status_code == 200
    assert len(query(SUPPRESSED)) == 1


def test_each_change_of_mind_is_an_event_of_its_own(client: Client, query: Query):
    for wanted in ([], ["email/*"], [], ["email/*"]):
        client.post(PLAIN_PAGE, data=ticking(form(client, path=PLAIN_PAGE), *wanted))
    events = [event for row in query(LANDED) for event in parse_landed(*row)]
    assert len({(event.raw_kind, event.occurred_at) for event in events}) == 4


# --- What this page cannot change -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "source", "owner", "said"),
    [
        (SuppressionReason.COMPLAINED, "sendgrid", "wedding", "You reported a message as spam."),
        (SuppressionReason.BOUNCED, "sendgrid", "*", "Messages could not be delivered to your address."),
        (SuppressionReason.INVALID, "sendgrid", "*", "Messages could not be delivered to your address."),
        (SuppressionReason.MANUAL, "unsubscribe-link", "wedding", "This page cannot turn these messages on"),
        (SuppressionReason.UNSUBSCRIBED, "sendgrid", "wedding", "This page cannot turn these messages on"),
        (SuppressionReason.UNSUBSCRIBED, "unsubscribe-link", "*", "This page cannot turn these messages on"),
    ],
)
def test_what_was_not_chosen_here_is_disabled_explained_and_stays(
    client: Client,
    query: Query,
    web_database: Server,
    reason: SuppressionReason,
    source: str,
    owner: str,
    said: str,
):
    sent = form(client)
    add(web_database, reason, source, organisation_id=owner)
    before = query(SUPPRESSED)
    page = client.get(PAGE).text
    assert said in page
    assert html.fromstring(page).xpath("//input[@type='checkbox'][@disabled]/@value") == [
        *("email/news", "email/photographs", "email/*")
    ]
    assert '<fieldset aria-describedby="email-note">' in page
    assert client.post(PAGE, data=sent).status_code == 409
    forged = changed(sent, version=dict(form(client))["version"])
    client.post(PAGE, data=forged)
    assert query(SUPPRESSED) == before
    assert query(LANDED) == []


def test_whoever_answered_stop_is_told_to_answer_start(client: Client, web_database: Server):
    add(web_database, SuppressionReason.STOPPED, "twilio", organisation_id="*", **PHONE)
    assert "You answered STOP. To get these messages again, answer START." in client.get(TEXT_PAGE).text


def test_a_complaint_after_an_opt_out_is_not_taken_back_with_it(
    client: Client, query: Query, web_database: Server
):
    client.post(PAGE, data=form(client, "stop"))
    add(web_database, SuppressionReason.COMPLAINED, "sendgrid")
    client.post(PAGE, data=[*form(client), ("wanted", "sms/*")])
    assert [row[3] for row in query(SUPPRESSED)] == ["complained"]


def test_another_address_and_another_organisation_stay_as_they_are(client: Client, query: Query):
    client.post(PAGE, data=form(client, "stop"))
    assert summary(client.get(TEXT_PAGE).text) == {"Text messages": "everything"}
    assert summary(client.get(PLAIN_PAGE).text) == {"E-mail": "everything"}
    assert {row[0] for row in query("select organisation_id from preference")} == {"wedding"}


# --- Bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entered", "said"),
    [
        ({"quiet_from": "22:00"}, "Enter both times of your quiet hours, or none."),
        ({"quiet_from": "22:00", "quiet_until": "22:00"}, "cannot begin and end at the same time"),
        ({"quiet_from": "<b>late", "quiet_until": "7"}, "Enter times like 21:30."),
    ],
)
def test_a_mistake_is_explained_beside_what_was_entered(
    client: Client, query: Query, entered: dict[str, str], said: str
):
    response = client.post(PAGE, data=without(changed(form(client), **entered), "email/news"))
    page = html.fromstring(response.text)
    assert response.status_code == 422
    assert [said in alert.text_content() for alert in page.xpath("//*[@role='alert']")] == [True]
    assert page.xpath("//input[@id='quiet_from']/@value") == [entered["quiet_from"]]
    assert page.xpath("//input[@id='quiet_from']/@aria-describedby") == ["quiet-mistake"]
    assert "email/news" not in ticked(response.text)
    assert untouched(query)


@pytest.mark.parametrize(
    "body",
    [b"", b"receive=no", b"action=save", b"action=erase", b"\xff=\x00&" * 200, b"{}", b"action=stop&x=1"],
)
def test_a_form_that_is_not_ours_changes_nothing(client: Client, query: Query, body: bytes):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = client.post(PAGE, data=body, headers=headers)
    assert response.status_code == 422
    assert "Nothing has changed" in response.text
    assert untouched(query)


def test_another_content_type_changes_nothing(client: Client, query: Query):
    json, multipart = client.post(PAGE, json={"action": "stop"}), client.post(PAGE, files={"action": "stop"})
    assert (json.status_code, multipart.status_code) == (415, 415)
    assert "Nothing has changed" in json.text
    assert untouched(query)


def test_too_large_a_form_changes_nothing(client: Client, query: Query):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = client.post(PAGE, data=b"action=stop&x=" + b"x" * 10_000_000, headers=headers)
    assert response.status_code == 413
    assert "Nothing has changed" in response.text
    assert untouched(query)


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
    got, posted = client.get(path), client.post(path, data={"action": "stop"})
    assert (got.status_code, posted.status_code, client.head(path).status_code) == (404, 404, 404)
    assert got.text == posted.text == client.get("/u/other").text
    assert untouched(query)


def test_a_choice_that_cannot_be_stored_is_a_503_page(client: Client, query: Query, web_database: Server):
    sent = form(client, "stop")
    with connect(web_database, autocommit=True) as connection:
        connection.execute(
            """create function refuse() returns trigger language plpgsql as
                   $$ begin raise exception 'the disk is full'; end $$;
               create constraint trigger refuse_at_commit after insert on preference
                   deferrable initially deferred for each row execute function refuse();"""
        )
        try:
            response = client.post(PAGE, data=sent)
        finally:
            connection.execute("drop function refuse cascade")
    assert response.status_code == 503
    assert "Nothing has changed" in response.text
    assert untouched(query)
    assert query(AUDITED) == []

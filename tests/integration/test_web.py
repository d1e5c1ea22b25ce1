"""The web app over a real Postgres: what is stored for which request, and what is not."""

import base64
import hashlib
import hmac
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import requests
from browsing import (
    AUDITED,
    CONTACT_ID,
    EMAIL_KEY,
    LANDED,
    MESSAGE_ID,
    PHONE,
    PHONE_KEY,
    PUBLIC_URL,
    SECRET,
    SUPPRESSED,
    Client,
    Query,
    emptied,
    link,
    serving,
    web_ledger,
    web_settings,
)
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from comms_pipeline.domain.addresses import address_key
from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.domain.event import EventKind, SuppressionReason
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.tokens import Purpose
from comms_pipeline.ledger.feeds import Watermark
from comms_pipeline.ledger.sends import Organisation, put_organisation
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.ledger.suppressions import Suppression, lift, suppress, suppressed
from comms_pipeline.providers.own_events import parse
from comms_pipeline.settings import Settings
from comms_pipeline.web.app import create_app

PRIVATE_KEY = ec.derive_private_key(7, ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(
    PRIVATE_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
AUTH_TOKEN = "twilio-token"
BOUNCE = {
    "event": "bounce",
    "type": "bounce",
    "status": "5.1.1",
    "email": "Ann@Example.com",
    "timestamp": 1772366400,
    "comms_message": MESSAGE_ID,
    "comms_org": "wedding",
}


def settings(tmp_path: Path, **changed: object) -> Settings:
    values = {"sendgrid_webhook_key": PUBLIC_KEY, "twilio_auth_token": AUTH_TOKEN}
    return web_settings(tmp_path, **(values | changed))


@pytest.fixture(scope="module")
def database(postgres: Server) -> Server:
    """One migrated ledger for all tests of this file: `query` empties it for each."""
    return web_ledger(postgres, "web")


@pytest.fixture(scope="module")
def client(database: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(create_app(settings(tmp_path_factory.mktemp("home")), database)) as client:
        yield client


@pytest.fixture(autouse=True)
def query(database: Server) -> Iterator[Query]:
    """Runs a query on the ledger, which is empty at the start of every test."""
    with emptied(database) as run:
        yield run


def post_sendgrid(
    client: Client, body: bytes, *, age: timedelta = timedelta(0), **headers: str
) -> requests.Response:
    timestamp = str(int((datetime.now(UTC) - age).timestamp()))
    signature = base64.b64encode(PRIVATE_KEY.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))).decode()
    signed = {
        "X-Twilio-Email-Event-Webhook-Signature": signature,
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }
    return client.post("/webhooks/sendgrid", data=body, headers=signed | headers)


def post_twilio(client: Client, path: str, params: dict[str, str], signature: str = "") -> requests.Response:
    text = PUBLIC_URL + path + "".join(name + params[name] for name in sorted(params))
    right = base64.b64encode(hmac.new(AUTH_TOKEN.encode(), text.encode(), hashlib.sha1).digest()).decode()
    return client.post(path, data=params, headers={"X-Twilio-Signature": signature or right})


def inbound(client: Client, body: str, **more: str) -> requests.Response:
    params = {"MessageSid": f"SM{token_hex(16)}", "From": PHONE, "To": "+15005550001", "Body": body}
    return post_twilio(client, "/webhooks/twilio/inbound", params | more)


def organisation(organisation_id: str, name: str) -> Organisation:
    return Organisation(organisation_id=organisation_id, name=name, postal_address="1 Lake Road")


def unsubscribe_path(purpose: Purpose = Purpose.UNSUBSCRIBE, **changed: Any) -> str:
    return link(purpose, path="/u/", **changed)


# --- SendGrid -------------------------------------------------------------------------------------------


def test_a_signed_bounce_is_landed_raw_and_suppressed(client: Client, query: Query):
    body = orjson.dumps([BOUNCE, {"event": "delivered", "email": "bob@example.com"}]) + b"\r\n"
    assert post_sendgrid(client, body).status_code == 204
    assert query(LANDED) == [("sendgrid", "events", "", body)]
    assert query(SUPPRESSED) == [("*", "email", EMAIL_KEY, "bounced", "sendgrid", None)]
    after = {"reason": "bounced", "before": None, "after": {"reason": "bounced", "scope": "all"}}
    assert query(AUDITED) == [("sendgrid", "suppress", f"*/email/{EMAIL_KEY.hex()}", after)]


@pytest.mark.parametrize(
    ("changed", "row"),
    [
        ({"event": "bounce"}, ("*", "bounced", "all")),
        ({"event": "spamreport"}, ("wedding", "complained", "all")),
        ({"event": "unsubscribe"}, ("wedding", "unsubscribed", "marketing")),
        ({"event": "group_unsubscribe"}, ("wedding", "unsubscribed", "marketing")),
        ({"event": "spamreport", "comms_org": None}, ("*", "complained", "all")),
        ({"event": "dropped", "reason": "Invalid"}, ("*", "invalid", "all")),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, ("wedding", "unsubscribed", "marketing")),
    ],
    ids=str,
)
def test_a_word_to_one_sender_binds_that_one_and_a_dead_address_all(
    client: Client, query: Query, changed: dict[str, str], row: tuple[str, str, str]
):
    assert post_sendgrid(client, orjson.dumps([BOUNCE | changed])).status_code == 204
    assert query("select organisation_id, reason, scope from suppression") == [row]


def test_a_blocked_message_suppresses_nobody(client: Client, query: Query):
    assert post_sendgrid(client, orjson.dumps([BOUNCE | {"type": "blocked"}])).status_code == 204
    assert len(query(LANDED)) == 1
    assert query(SUPPRESSED) == []


def test_a_repeated_webhook_changes_no_suppression(client: Client, query: Query):
    body = orjson.dumps([BOUNCE, BOUNCE])
    assert [post_sendgrid(client, body).status_code for _ in range(3)] == [204, 204, 204]
    assert len(query(LANDED)) == 3
    assert len(query(SUPPRESSED)) == 1
    assert len(query(AUDITED)) == 1


@pytest.mark.parametrize(
    ("age", "headers"),
    [
        (timedelta(0), {"X-Twilio-Email-Event-Webhook-Signature": "AAAA"}),
        (timedelta(0), {"X-Twilio-Email-Event-Webhook-Signature": ""}),
        (timedelta(0), {"X-Twilio-Email-Event-Webhook-Timestamp": "1"}),
        (timedelta(hours=27), {}),
        (timedelta(minutes=-10), {}),
    ],
    ids=str,
)
def test_an_unsigned_tampered_or_stale_webhook_is_refused_and_not_stored(
    client: Client, query: Query, age: timedelta, headers: dict[str, str]
):
    response = post_sendgrid(client, orjson.dumps([BOUNCE]), age=age, **headers)
    assert response.status_code == 403
    assert response.json() == {"error": "the signature is missing, wrong or too old"}
    assert (query(LANDED), query(SUPPRESSED), query(AUDITED)) == ([], [], [])


def test_a_webhook_without_any_signature_is_refused(client: Client, query: Query):
    assert client.post("/webhooks/sendgrid", json=[BOUNCE]).status_code == 403
    assert query(LANDED) == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"nonsense"], ids=str)
def test_a_signed_body_that_is_no_list_of_events_is_a_400(client: Client, query: Query, body: bytes):
    response = post_sendgrid(client, body)
    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert query(LANDED) == []


@pytest.fixture
def failing_commits(database: Server) -> Iterator[None]:
    """Whoever adds a suppression is told at the very end that it could not be kept."""
    with connect(database, autocommit=True) as connection:
        connection.execute(
            """create function refuse() returns trigger language plpgsql as
                   $$ begin raise exception 'the disk is full'; end $$;
               create constraint trigger refuse_at_commit after insert on suppression
                   deferrable initially deferred for each row execute function refuse();"""
        )
        yield
        connection.execute("drop function refuse cascade")


@pytest.mark.usefixtures("failing_commits")
def test_a_failing_commit_stores_neither_webhook_nor_suppression(client: Client, query: Query):
    refused = post_sendgrid(client, orjson.dumps([BOUNCE]))
    assert refused.status_code == 503
    assert refused.json() == {"error": "the database does not answer, try again"}
    assert (query(LANDED), query(SUPPRESSED), query(AUDITED)) == ([], [], [])


def test_too_large_a_body_is_a_413(client: Client, query: Query):
    assert post_sendgrid(client, b"[" + b" " * 4_999_998 + b"]").status_code == 204
    too_large = post_sendgrid(client, b"[" + b" " * 4_999_999 + b"]")
    assert too_large.status_code == 413
    assert too_large.json() == {"error": "the body is larger than 5,000,000 bytes"}
    assert len(query(LANDED)) == 1


def test_without_its_key_a_receiver_answers_503_and_says_why_in_the_log(
    database: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    keyless = settings(tmp_path, sendgrid_webhook_key="", twilio_auth_token="")
    with serving(create_app(keyless, database)) as client:
        assert post_sendgrid(client, b"[]").status_code == 503
        assert inbound(client, "STOP").status_code == 503
    assert "COMMS_SENDGRID_WEBHOOK_KEY: is not set" in caplog.text
    assert "COMMS_TWILIO_AUTH_TOKEN: is not set" in caplog.text


def test_logs_hold_no_address_and_no_body(client: Client, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger="comms_pipeline")
    post_sendgrid(client, orjson.dumps([BOUNCE]))
    post_sendgrid(client, b'{"email": "ann@example.com"}')
    post_sendgrid(client, orjson.dumps([BOUNCE]), age=timedelta(days=3))
    inbound(client, "STOP")
    post_twilio(client, "/webhooks/twilio/inbound", {"From": PHONE})
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("comms"))
    assert "refused" in ours
    assert not re.search(r"ann@|5005550006|127\.0\.0\.1", ours, re.IGNORECASE)


# --- Twilio ---------------------------------------------------------------------------------------------


def test_a_status_callback_is_landed_with_its_query_and_suppresses_by_code(client: Client, query: Query):
    params = {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30005", "To": PHONE}
    own = f"message={MESSAGE_ID}&org=wedding"
    assert post_twilio(client, f"/webhooks/twilio/status?{own}", params).status_code == 204
    assert query(LANDED) == [("twilio", "status", own, urlencode(params).encode())]
    assert query(SUPPRESSED) == [("*", "sms", PHONE_KEY, "invalid", "twilio", None)]


@pytest.mark.parametrize("path", ["/webhooks/twilio/status?message=1", "/webhooks/twilio/inbound"])
def test_a_twilio_webhook_with_a_wrong_signature_is_refused_and_not_stored(
    client: Client, query: Query, path: str
):
    params = {"MessageSid": "SM1", "MessageStatus": "delivered", "From": PHONE, "Body": "STOP"}
    assert post_twilio(client, path, params, signature="AAAA").status_code == 403
    assert client.post(path, data=params).status_code == 403
    assert (query(LANDED), query(SUPPRESSED)) == ([], [])


def test_a_query_twilio_did_not_sign_is_refused(client: Client, query: Query):
    params = {"MessageSid": "SM1", "MessageStatus": "delivered"}
    text = f"{PUBLIC_URL}/webhooks/twilio/status?message=1MessageSidSM1MessageStatusdelivered"
    signature = base64.b64encode(hmac.new(AUTH_TOKEN.encode(), text.encode(), hashlib.sha1).digest()).decode()
    headers = {"X-Twilio-Signature": signature}
    assert client.post("/webhooks/twilio/status?message=2", data=params, headers=headers).status_code == 403
    assert client.post("/webhooks/twilio/status?message=1", data=params, headers=headers).status_code == 204
    assert len(query(LANDED)) == 1


def test_stop_suppresses_for_everyone_and_start_lifts_it(client: Client, query: Query):
    stopped = inbound(client, "Stop!")
    assert stopped.status_code == 200
    assert stopped.headers["content-type"].startswith("application/xml")
    assert "<Response><Message>You are unsubscribed" in stopped.text
    assert query(SUPPRESSED) == [("*", "sms", PHONE_KEY, "stopped", "twilio", None)]
    assert query("select scope from suppression") == [("all",)]

    started = inbound(client, "START")
    assert "<Response><Message>You are subscribed again" in started.text
    assert query(SUPPRESSED) == []
    assert [(actor, action) for actor, action, *_ in query(AUDITED)] == [
        ("twilio", "suppress"),
        ("twilio", "lift"),
    ]
    assert [kind for _, kind, *_ in query(LANDED)] == ["inbound", "inbound"]


def test_start_lifts_nothing_but_a_stop(client: Client, query: Query, database: Server):
    with connect(database) as connection:
        suppress(connection, [suppression(reason=SuppressionReason.INVALID, organisation_id="*")])
    inbound(client, "START")
    assert [row[3] for row in query(SUPPRESSED)] == ["invalid"]


def test_help_is_answered_and_changes_nothing(client: Client, query: Query):
    assert inbound(client, "HELP").text.endswith(
        "<Response><Message>For help, contact the sender. Msg frequency varies. "
        "Msg &amp; data rates may apply. Reply STOP to stop.</Message></Response>"
    )
    assert query(SUPPRESSED) == []


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        (
            "stop",
            "Ann &amp; Bob {x} &lt;3: You are unsubscribed and will receive no more messages. "
            "Reply START to resubscribe.",
        ),
        (
            "start",
            "Ann &amp; Bob {x} &lt;3: You are subscribed again. Msg frequency varies. "
            "Msg &amp; data rates may apply. Reply HELP for help, STOP to stop.",
        ),
        (
            "help",
            "Ann &amp; Bob {x} &lt;3: For help, write to 1 Lake Road. Msg frequency varies. "
            "Msg &amp; data rates may apply. Reply STOP to stop.",
        ),
    ],
)
def test_the_only_sender_is_named_and_one_of_several_is_not(
    client: Client, database: Server, word: str, answer: str
):
    try:
        with connect(database) as connection:
            put_organisation(connection, organisation("wedding", "Ann & Bob {x} <3"))
        assert inbound(client, word).text.endswith(f"<Response><Message>{answer}</Message></Response>")
        with connect(database) as connection:
            put_organisation(connection, organisation("other", "Other"))
        assert "Ann" not in inbound(client, word).text
    finally:
        with connect(database) as connection:
            connection.execute("delete from organisation")


def test_other_words_are_landed_without_an_answer(client: Client, query: Query):
    response = inbound(client, "We are looking forward to it!")
    assert response.text == '<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
    assert len(query(LANDED)) == 1
    assert query(SUPPRESSED) == []


def test_where_twilio_has_confirmed_the_opt_out_we_do_not(client: Client, query: Query):
    response = inbound(client, "PARAR", OptOutType="STOP")
    assert "<Message>" not in response.text
    assert [row[3] for row in query(SUPPRESSED)] == ["stopped"]


def test_a_whatsapp_stop_is_of_its_own_channel(client: Client, query: Query):
    inbound(client, "stop", From=f"whatsapp:{PHONE}")
    assert query("select channel, address_key from suppression") == [
        ("whatsapp", address_key(PHONE, Channel.WHATSAPP, SECRET))
    ]


@pytest.mark.parametrize("body", ["Thank you!", "stop"])
def test_a_whatsapp_message_is_noted_for_whom_it_may_be_answered(client: Client, query: Query, body: str):
    inbound(client, body, From=f"whatsapp:{PHONE}")
    inbound(client, body, From=f"whatsapp:{PHONE}", MessageSid="SM3")
    inbound(client, body)
    assert query("select channel, address_key, now() - at < interval '1 minute' from last_inbound") == [
        ("whatsapp", address_key(PHONE, Channel.WHATSAPP, SECRET), True)
    ]


def test_a_signed_callback_without_its_essentials_is_a_400(client: Client, query: Query):
    assert post_twilio(client, "/webhooks/twilio/status", {"To": PHONE}).status_code == 400
    assert post_twilio(client, "/webhooks/twilio/inbound", {"To": PHONE}).status_code == 400
    assert query(LANDED) == []


# --- Unsubscribe ----------------------------------------------------------------------------------------

ONE_CLICK_BODIES: dict[str, dict[str, Any]] = {
    "urlencoded": {"data": {"List-Unsubscribe": "One-Click"}},
    "multipart": {"files": {"List-Unsubscribe": (None, "One-Click")}},
    "empty": {},
}


@pytest.mark.parametrize("encoding", list(ONE_CLICK_BODIES))
def test_one_click_unsubscribes_at_once(client: Client, query: Query, encoding: str):
    response = client.post(unsubscribe_path(), **ONE_CLICK_BODIES[encoding])
    assert response.status_code == 200
    assert "You are unsubscribed" in response.text
    assert "set-cookie" not in response.headers
    assert query(SUPPRESSED) == [
        ("wedding", "email", EMAIL_KEY, "unsubscribed", "unsubscribe-link", CONTACT_ID)
    ]
    after = {
        "reason": "unsubscribed",
        "before": None,
        "after": {"reason": "unsubscribed", "scope": "marketing"},
    }
    assert query(AUDITED) == [("unsubscribe-link", "suppress", f"wedding/email/{EMAIL_KEY.hex()}", after)]


def test_an_invoice_still_goes_to_whoever_unsubscribed(client: Client, database: Server):
    client.post(unsubscribe_path())
    with connect(database) as connection:
        asked = (connection, "wedding", Channel.EMAIL, [EMAIL_KEY])
        assert suppressed(*asked, MessageClass.MARKETING) == {EMAIL_KEY}
        assert suppressed(*asked, MessageClass.TRANSACTIONAL) == set()
    assert "such as an invoice, may still come" in client.get(unsubscribe_path()).text


def test_both_pages_lead_to_the_finer_choices_of_the_same_person(client: Client):
    for page in (client.get(unsubscribe_path()), client.post(unsubscribe_path() + "?lang=fr")):
        (there,) = re.findall(r'href="\.\.(/p/[^"]+)"', page.text)
        assert there.partition("?")[0] == link(Purpose.PREFERENCES)
        assert client.get(there).status_code == 200
    assert there.endswith("?lang=fr")


def test_the_lake_learns_of_the_opt_out(client: Client, query: Query):
    client.post(unsubscribe_path())
    ((provider, kind, _, body),) = query(LANDED)
    event = parse(kind, body)
    assert (provider, kind) == ("comms", "unsubscribe")
    assert (event.kind, event.message_id, event.organisation_id) == (
        EventKind.UNSUBSCRIBED,
        MESSAGE_ID,
        "wedding",
    )
    assert event.raw["contact_id"] == CONTACT_ID


def test_unsubscribing_again_answers_the_same_and_changes_nothing(client: Client, query: Query):
    answers = [client.post(unsubscribe_path()) for _ in range(3)]
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert (len(query(LANDED)), len(query(SUPPRESSED)), len(query(AUDITED))) == (1, 1, 1)


def test_opening_the_link_asks_and_changes_nothing(client: Client, query: Query):
    page = client.get(unsubscribe_path())
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>Unsubscribe?</h1>" in page.text
    assert '<form method="post">' in page.text
    assert "<script" not in page.text
    assert '<html lang="en" dir="ltr">' in page.text
    head = client.head(unsubscribe_path())
    assert (head.status_code, head.content) == (200, b"")
    assert "set-cookie" not in page.headers
    assert (query(LANDED), query(SUPPRESSED)) == ([], [])


def test_the_pages_own_form_unsubscribes(client: Client, query: Query):
    page = client.get(unsubscribe_path())
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]+)">', page.text))
    assert fields == {"List-Unsubscribe": "One-Click"}
    assert client.post(unsubscribe_path(), data=fields).status_code == 200
    assert len(query(SUPPRESSED)) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/u/nonsense",
        unsubscribe_path()[:-1],
        unsubscribe_path() + "A",
        unsubscribe_path(Purpose.PREFERENCES),
        unsubscribe_path(address_key=b""),
        "/u/" + "A" * 5000,
        "/u/%00%ff",
    ],
    ids=["nonsense", "cut", "longer", "wrong-purpose", "no-address", "huge", "binary"],
)
def test_a_bad_token_gets_a_page_that_says_nothing(client: Client, query: Query, path: str):
    got, posted = client.get(path), client.post(path)
    assert (got.status_code, posted.status_code, client.head(path).status_code) == (404, 404, 404)
    assert "This link does not work" in got.text
    assert got.text == posted.text == client.get("/u/other").text
    assert query(SUPPRESSED) == []


@pytest.mark.usefixtures("failing_commits")
def test_an_opt_out_that_cannot_be_stored_is_a_503_page(client: Client, query: Query):
    response = client.post(unsubscribe_path())
    assert response.status_code == 503
    assert "Please try again" in response.text
    assert (query(LANDED), query(SUPPRESSED)) == ([], [])


# --- Health, headers, errors ----------------------------------------------------------------------------


def test_a_reachable_database_is_healthy(client: Client):
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "healthy", "checks": {"database": {"status": "healthy"}}}


def test_an_unreachable_database_is_critical(database: Server, tmp_path: Path):
    with serving(create_app(settings(tmp_path), replace(database, database="nowhere"))) as client:
        response = client.get("/health")
    assert response.status_code == 503
    assert response.json() == {"status": "critical", "checks": {"database": {"status": "critical"}}}


@pytest.mark.parametrize(
    ("received", "status", "seconds"),
    [("now()", "healthy", 0.0), ("now() - interval '1 hour'", "warning", 3600.0)],
)
def test_an_old_backlog_is_a_warning_and_no_more(
    database: Server, tmp_path: Path, query: Query, received: str, status: str, seconds: float
):
    query(f"""insert into landing (provider, kind, body, received_at)
              values ('x', 'y', '', {received}) returning 1""")
    with serving(create_app(settings(tmp_path), database, Watermark)) as client:
        response = client.get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == status
    assert response.json()["checks"]["landing"]["oldest_waiting_seconds"] == pytest.approx(seconds, abs=60)


def test_what_the_lake_has_loaded_is_no_backlog(database: Server, tmp_path: Path, query: Query):
    query("""insert into landing (provider, kind, body, received_at)
             values ('x', 'y', '', now() - interval '1 hour') returning 1""")
    ((xact, last_id),) = query("select recorded_xact::text::bigint, landing_id from landing")
    app = create_app(settings(tmp_path), database, lambda: Watermark(xact=xact, last_id=last_id))
    with serving(app) as client:
        assert client.get("/health").json() == {
            "status": "healthy",
            "checks": {
                "database": {"status": "healthy"},
                "landing": {"status": "healthy", "oldest_waiting_seconds": 0.0},
            },
        }


def test_a_lake_that_cannot_be_read_is_a_warning(database: Server, tmp_path: Path):
    def unreadable() -> Watermark:
        raise OSError("no such lake")

    with serving(create_app(settings(tmp_path), database, unreadable)) as client:
        response = client.get("/health")
    assert (response.status_code, response.json()["status"]) == (200, "warning")


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/u/nonsense", unsubscribe_path(), "/openapi.json"])
def test_every_answer_carries_the_security_headers(client: Client, path: str):
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_the_api_describes_itself(client: Client):
    response = client.get("/openapi.json")
    assert response.status_code == 200
    assert sorted(response.json()["paths"]) == [
        "/c/{token}",
        "/events",
        "/health",
        "/o/{token}",
        "/p/{token}",
        "/t/{token}",
        "/u/{token}",
        "/webhooks/mailgun",
        "/webhooks/resend",
        "/webhooks/sendgrid",
        "/webhooks/twilio/inbound",
        "/webhooks/twilio/status",
        "/y/{token}",
    ]
    assert client.get("/docs").status_code == 404


def test_the_pages_style_is_the_one_the_policy_allows(client: Client):
    page = client.get(unsubscribe_path())
    style = re.search("<style>(.*?)</style>", page.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["content-security-policy"]
    assert " style=" not in page.text


def test_errors_of_the_api_are_json(client: Client):
    missing, wrong_method = client.get("/nowhere"), client.get("/webhooks/sendgrid")
    assert (missing.status_code, missing.json()) == (404, {"error": "Not Found"})
    assert (wrong_method.status_code, wrong_method.json()) == (405, {"error": "Method Not Allowed"})
    assert wrong_method.headers["allow"] == "POST"


def test_an_unforeseen_error_is_a_plain_500(
    database: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    app = create_app(settings(tmp_path), database)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("ann@example.com")

    with serving(app) as client:
        response = client.get("/broken")
    assert (response.status_code, response.json()) == (500, {"error": "something went wrong here"})
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "unforeseen RuntimeError at test_web.py:" in caplog.text
    assert "ann@" not in caplog.text


def test_without_a_secret_key_there_is_no_app(database: Server, tmp_path: Path):
    with pytest.raises(InvalidSettings, match="COMMS_SECRET_KEY"):
        create_app(settings(tmp_path, secret_key=""), database)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["email", "timestamp", "type", "status", "reason", "comms_org", "comms_message"])
EVENTS = st.lists(
    st.dictionaries(FIELDS, JSON, max_size=4).flatmap(
        lambda entry: st.sampled_from(["bounce", "dropped", "spamreport", "open", "?"]).map(
            lambda kind: entry | {"event": kind}
        )
    ),
    max_size=3,
)
# The autouse fixture empties the ledger once for all examples, which is right here.
fuzzed = hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@fuzzed
@given(body=st.binary(max_size=200) | JSON.map(orjson.dumps) | EVENTS.map(orjson.dumps))
def test_no_signed_sendgrid_body_breaks_the_receiver(client: Client, body: bytes):
    assert post_sendgrid(client, body).status_code in {204, 400}


@fuzzed
@given(
    params=st.dictionaries(
        st.sampled_from(["MessageSid", "MessageStatus", "ErrorCode", "From", "To", "Body", "OptOutType"]),
        st.text(max_size=30),
    ),
    kind=st.sampled_from(["status?message=%00&org=%FF", "inbound"]),
)
def test_no_signed_twilio_form_breaks_the_receiver(client: Client, params: dict[str, str], kind: str):
    response = post_twilio(client, f"/webhooks/twilio/{kind}", params)
    assert response.status_code in {200, 204, 400}


@fuzzed
@given(
    body=st.binary(max_size=200),
    path=st.sampled_from(
        ["/webhooks/sendgrid", "/webhooks/twilio/status", "/webhooks/twilio/inbound", "/u/x"]
    ),
    content_type=st.sampled_from(["application/json", "multipart/form-data; boundary=x", "text/plain", "?"]),
)
def test_no_unsigned_body_is_more_than_refused(client: Client, body: bytes, path: str, content_type: str):
    response = client.post(path, data=body, headers={"content-type": content_type})
    assert response.status_code in {403, 404}


# --- Suppressions ---------------------------------------------------------------------------------------


def suppression(
    key: bytes = PHONE_KEY,
    *,
    organisation_id: str = "wedding",
    channel: Channel = Channel.SMS,
    reason: SuppressionReason = SuppressionReason.MANUAL,
) -> Suppression:
    return Suppression(
        organisation_id=organisation_id, channel=channel, address_key=key, reason=reason, source="test"
    )


def test_the_first_reason_of_a_suppression_stays(database: Server, query: Query):
    with connect(database) as connection:
        assert suppress(connection, [suppression(reason=SuppressionReason.COMPLAINED)]) == 1
        assert suppress(connection, [suppression(reason=SuppressionReason.MANUAL)] * 2) == 0
        assert suppress(connection, []) == 0
    assert [row[3] for row in query(SUPPRESSED)] == ["complained"]


@pytest.mark.parametrize("is_at_once", [True, False], ids=["in-one-go", "afterwards"])
def test_an_opt_out_gives_way_to_a_reason_nobody_can_take_back(
    database: Server, query: Query, is_at_once: bool
):
    unsubscribed = suppression(reason=SuppressionReason.UNSUBSCRIBED)
    complained = suppression(reason=SuppressionReason.COMPLAINED)
    with connect(database) as connection:
        if is_at_once:
            assert suppress(connection, [unsubscribed, complained]) == 1
        else:
            assert suppress(connection, [unsubscribed]) == 1
            assert suppress(connection, [complained]) == 1
        assert suppress(connection, [unsubscribed, complained, complained]) == 0
    assert [row[3] for row in query(SUPPRESSED)] == ["complained"]


def test_suppressed_sees_the_own_organisation_and_everyone_only(database: Server):
    rows = [
        suppression(b"own-0123456789ab"),
        suppression(b"all-0123456789ab", organisation_id="*"),
        suppression(b"oth-0123456789ab", organisation_id="billing"),
        suppression(b"eml-0123456789ab", channel=Channel.EMAIL),
        suppression(b"own-0123456789ab", organisation_id="*"),
    ]
    with connect(database) as connection:
        assert suppress(connection, rows) == 5
        keys = [row.address_key for row in rows] + [b"new-0123456789ab"]
        assert suppressed(connection, "wedding", Channel.SMS, keys) == {
            b"own-0123456789ab",
            b"all-0123456789ab",
        }
        assert suppressed(connection, "wedding", Channel.WHATSAPP, keys) == set()
        assert suppressed(connection, "wedding", Channel.SMS, []) == set()


def test_nothing_is_committed_for_the_caller(database: Server, query: Query):
    with connect(database) as connection:
        suppress(connection, [suppression()])
        connection.rollback()
    assert (query(SUPPRESSED), query(AUDITED)) == ([], [])


def test_lifting_counts_and_audits_what_it_removed(database: Server, query: Query):
    with connect(database) as connection:
        suppress(connection, [suppression(reason=SuppressionReason.STOPPED)])
        arguments: dict[str, Any] = {
            "organisation_id": "wedding",
            "channel": Channel.SMS,
            "address_keys": [PHONE_KEY],
            "actor": "ops",
        }
        assert lift(connection, reasons=[SuppressionReason.BOUNCED], **arguments) == 0
        stopped = [SuppressionReason.STOPPED]
        assert lift(connection, reasons=stopped, sources=["elsewhere"], **arguments) == 0
        assert lift(connection, reasons=[SuppressionReason.STOPPED], **arguments) == 1
        assert lift(connection, reasons=[SuppressionReason.STOPPED], **arguments) == 0
    lifted = {"reason": "stopped", "before": {"reason": "stopped", "scope": "all"}, "after": None}
    assert query(AUDITED)[-1] == ("ops", "lift", f"wedding/sms/{PHONE_KEY.hex()}", lifted)
    assert len(query(AUDITED)) == 2

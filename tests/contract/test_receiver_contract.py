"""What every receiver keeps to, asked of each provider's webhooks through the real web app over a real ledger."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import requests
from browsing import (
    AUDITED,
    LANDED,
    MESSAGE_ID,
    SUPPRESSED,
    Client,
    Query,
    emptied,
    serving,
    web_ledger,
    web_settings,
)
from signed_webhooks import SENDERS, SETTINGS, WITHOUT_KEYS, Sender, Signed

from comms_pipeline.domain.event import EventKind
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.providers.event_parsers import parse_landed
from comms_pipeline.web.app import create_app

ANOTHER_KEY = "whsec_bm90IHRoZSBzZWNyZXQ="
every_sender = pytest.mark.parametrize("sender", SENDERS, ids=str)


@pytest.fixture(scope="module")
def database(postgres: Server) -> Server:
    return web_ledger(postgres, "receiver_contract")


@pytest.fixture(scope="module")
def client(database: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = web_settings(tmp_path_factory.mktemp("home"), **SETTINGS)
    with serving(create_app(settings, database)) as client:
        yield client


@pytest.fixture(autouse=True)
def query(database: Server) -> Iterator[Query]:
    with emptied(database) as run:
        yield run


def post(client: Client, signed: Signed, **changed: str) -> requests.Response:
    return client.post(signed.path, data=signed.body, headers={**signed.headers, **changed})


def stored(query: Query) -> tuple[int, int, int]:
    """Webhooks, suppressions, and webhooks remembered."""
    (row,) = query(
        "select (select count(*) from landing), (select count(*) from suppression),"
        " (select count(*) from seen_webhook)"
    )
    return row


@every_sender
def test_a_signed_webhook_is_landed_raw_and_read_from_there(client: Client, query: Query, sender: Sender):
    signed = sender.sign(sender.event("delivered"))
    assert post(client, signed).ok
    ((provider, kind, landed_query, body),) = query(LANDED)
    assert (provider, body) == (sender.provider, signed.body)
    (event,) = parse_landed(provider, kind, landed_query, bytes(body))
    assert (event.kind, event.message_id, event.organisation_id) == (
        EventKind.DELIVERED,
        MESSAGE_ID,
        "wedding",
    )
    assert event.provider_event_id


@every_sender
def test_a_dead_address_is_suppressed_for_all_and_a_refused_message_nobody(
    client: Client, query: Query, sender: Sender
):
    assert post(client, sender.sign(sender.event("blocked"))).ok
    assert query(SUPPRESSED) == []
    assert post(client, sender.sign(sender.event("bounced"))).ok
    ((organisation, _, _, reason, source, _),) = query(SUPPRESSED)
    assert (organisation, source) == ("*", sender.provider)
    assert reason in {"bounced", "invalid"}


@every_sender
def test_a_kind_no_table_knows_is_kept(client: Client, query: Query, sender: Sender):
    assert post(client, sender.sign(sender.event("unknown"))).ok
    ((provider, kind, landed_query, body),) = query(LANDED)
    (event,) = parse_landed(provider, kind, landed_query, bytes(body))
    assert event.kind is EventKind.UNKNOWN
    assert "what_comes_next_year" in event.raw_kind


@every_sender
def test_a_webhook_signed_with_another_key_is_refused_and_not_stored(
    client: Client, query: Query, sender: Sender
):
    refused = post(client, sender.sign(sender.event("bounced"), key=ANOTHER_KEY))
    assert refused.status_code == 403
    assert refused.json() == {"error": "the signature is missing, wrong or too old"}
    assert (stored(query), query(AUDITED)) == ((0, 0, 0), [])


@every_sender
def test_without_any_part_of_its_signature_a_webhook_is_refused(client: Client, query: Query, sender: Sender):
    signed = sender.sign(sender.event("bounced"))
    for name in signed.signs:
        left = {other: value for other, value in signed.headers.items() if other != name}
        assert client.post(signed.path, data=signed.body, headers=left).status_code == 403
        for wrong in ("", "AAAA", "not base64", "v1,", "v2,AAAA", "9" * 30, "1e400"):
            assert post(client, signed, **{name: wrong}).status_code == 403
    unsigned = client.post(signed.path, data=sender.event("bounced"))
    assert unsigned.status_code == 403
    assert stored(query) == (0, 0, 0)


@every_sender
def test_a_tampered_body_is_refused(client: Client, query: Query, sender: Sender):
    if sender.provider == "mailgun":
        pytest.skip("Mailgun does not sign the event: each token is good once, which is tested below")
    signed = sender.sign(sender.event("delivered"))
    for body in (signed.body.replace(b"delivered", b"undeliver"), signed.body + b"&x=", b"", b"[]", b"{}"):
        assert client.post(signed.path, data=body, headers=dict(signed.headers)).status_code == 403
    assert stored(query) == (0, 0, 0)


@every_sender
def test_a_stale_or_early_signature_is_refused(client: Client, query: Query, sender: Sender):
    if not sender.signs_time:
        pytest.skip("Twilio signs no time")
    body = sender.event("bounced")
    for away in (timedelta(days=-2), timedelta(hours=-27), timedelta(minutes=10), timedelta(days=300_000)):
        assert post(client, sender.sign(body, at=datetime.now(UTC) + away)).status_code == 403
    assert stored(query) == (0, 0, 0)
    assert post(client, sender.sign(body, at=datetime.now(UTC) - timedelta(minutes=4))).ok


@every_sender
def test_a_replayed_webhook_does_not_suppress_again_what_people_lifted(
    client: Client, query: Query, sender: Sender, database: Server
):
    if sender.provider == "sendgrid":
        pytest.skip("of SendGrid's a replay is refused by its time alone: its posts have no id")
    signed = sender.sign(sender.event("bounced"))
    assert post(client, signed).ok
    with connect(database) as connection:
        connection.execute("delete from suppression")
    replayed = [post(client, signed).status_code for _ in range(2)]
    assert replayed == ([406, 406] if sender.provider == "mailgun" else [204, 204])
    assert stored(query) == (1, 0, 1)


@every_sender
def test_an_event_told_again_and_again_suppresses_once(client: Client, query: Query, sender: Sender):
    for _ in range(3):
        assert post(client, sender.sign(sender.event("bounced"))).ok
    assert stored(query)[:2] == (3, 1)
    assert len(query(AUDITED)) == 1


HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"nonsense",
    b"\xff\xfe\x00",
    b"[" * 5_000,
    b'{"a":' * 2_000,
    b'{"event-data": [], "data": 7, "type": []}',
    b'{"event-data": {"event": {}, "timestamp": 1e400}}',
    b'{"event-data": {"event": "failed", "severity": [], "reason": {}, "recipient": "\\u0000@", "timestamp": -1e30}}',
    b'{"event-data": {"event": "complained", "recipient": "\\u0000\\ud83d\\ude00@x.example", "message": 7}}',
    b'{"type": "email.bounced", "data": {"to": [7], "tags": [{"name": []}], "bounce": [{}]}}',
    b'{"type": "email.complained", "created_at": 1e30, "data": {"to": ["\\u0000"], "tags": [[]], "click": "x"}}',
    b'[{"event": ["bounce"]}, {"event": {"a": 1}}]',
    b'[{"event": "spamreport", "email": "\\u0000", "timestamp": 1e300}]',
    b'{"event": "bounce", "event": "open"}',
    b"MessageSid=%00&MessageStatus=%FF&To=%00",
    b"MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30005&To=%00%00",
    b"MessageSid&MessageStatus&&&=&%",
]


@every_sender
@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:24]))
def test_no_signed_body_breaks_a_receiver_or_is_stored_by_half(
    client: Client, query: Query, sender: Sender, body: bytes
):
    answer = post(client, sender.sign(body))
    assert answer.status_code in {200, 204, 400, 403}
    landed, suppressed, seen = stored(query)
    assert landed == int(answer.ok)
    assert suppressed <= landed
    assert seen <= landed


@every_sender
def test_without_its_key_a_receiver_stores_nothing_and_says_which_it_lacks(
    database: Server, query: Query, sender: Sender, tmp_path, caplog: pytest.LogCaptureFixture
):
    with serving(create_app(web_settings(tmp_path, **WITHOUT_KEYS), database)) as keyless:
        refused = post(keyless, sender.sign(sender.event("bounced")))
        unsigned = keyless.post(sender.sign(b"").path, data=sender.event("bounced"))
    assert (refused.status_code, unsigned.status_code) == (503, 503)
    assert refused.json() == {"error": "this receiver is not configured"}
    assert f"COMMS_{sender.provider.upper()}_" in caplog.text
    assert "is not set" in caplog.text
    assert stored(query) == (0, 0, 0)


@every_sender
def test_too_large_a_body_is_refused_before_it_is_read(client: Client, query: Query, sender: Sender):
    signed = sender.sign(sender.event("bounced"))
    too_large = client.post(signed.path, data=b" " * 5_000_001, headers=dict(signed.headers))
    assert too_large.status_code == 413
    chunks = (b" " * 100_000 for _ in range(60))
    assert client.post(signed.path, data=chunks, headers=dict(signed.headers)).status_code == 413
    assert stored(query) == (0, 0, 0)


def test_mailguns_token_is_good_once_whatever_the_event(client: Client, query: Query):
    sender = next(each for each in SENDERS if each.provider == "mailgun")
    signed = sender.sign(sender.event("delivered"))
    assert post(client, signed).status_code == 200
    forged = orjson.loads(signed.body) | {"event-data": orjson.loads(sender.event("bounced"))["event-data"]}
    refused = client.post(signed.path, data=orjson.dumps(forged))
    assert refused.status_code == 406
    assert refused.json() == {"error": "this token was used before"}
    assert stored(query) == (1, 0, 1)


def test_of_resends_several_signatures_one_is_enough(client: Client, query: Query):
    sender = next(each for each in SENDERS if each.provider == "resend")
    signed = sender.sign(sender.event("delivered"))
    rotated = f"v1a,AAAA v1,bm90IGl0 {signed.headers['svix-signature']} v2,x"
    assert post(client, signed, **{"svix-signature": rotated}).status_code == 204
    assert stored(query) == (1, 0, 1)

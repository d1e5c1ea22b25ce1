"""What receivers do with many webhooks at once, with floods, with replays and with a database that fails them."""

import base64
import hmac
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import requests
from browsing import (
    LANDED,
    PHONE,
    PUBLIC_URL,
    SUPPRESSED,
    Client,
    Query,
    emptied,
    serving,
    web_ledger,
    web_settings,
)
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from signed_webhooks import SENDERS, SETTINGS, TWILIO_TOKEN, Sender, Signed

from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import webhooks
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.ledger.suppressions import Suppression
from comms_pipeline.ledger.webhooks import Once, Webhook, take_in
from comms_pipeline.web.app import create_app

SENDGRID, TWILIO, RESEND, MAILGUN = SENDERS


@pytest.fixture(scope="module")
def database(postgres: Server) -> Server:
    return web_ledger(postgres, "receivers")


@pytest.fixture(scope="module")
def client(database: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = web_settings(tmp_path_factory.mktemp("home"), **SETTINGS, webhook_rate="100000/100000")
    with serving(create_app(settings, database)) as client:
        yield client


@pytest.fixture(autouse=True)
def query(database: Server) -> Iterator[Query]:
    with emptied(database) as run:
        yield run


def post(client: Client, signed: Signed) -> requests.Response:
    return requests.post(
        client.address + signed.path, data=signed.body, headers=dict(signed.headers), timeout=60
    )


def inbound(client: Client, sid: str, body: str) -> requests.Response:
    params = {"MessageSid": sid, "From": PHONE, "To": "+15005550001", "Body": body}
    text = f"{PUBLIC_URL}/webhooks/twilio/inbound" + "".join(name + params[name] for name in sorted(params))
    signature = base64.b64encode(hmac.digest(TWILIO_TOKEN.encode(), text.encode(), "sha1")).decode()
    return client.post("/webhooks/twilio/inbound", data=params, headers={"X-Twilio-Signature": signature})


def counts(query: Query) -> tuple[int, int, int]:
    (row,) = query(
        "select (select count(*) from landing), (select count(*) from suppression),"
        " (select count(*) from seen_webhook)"
    )
    return row


# --- Many at once -----------------------------------------------------------------------------------------


def test_every_one_of_many_webhooks_at_once_is_stored_before_its_answer(client: Client, query: Query):
    many = [
        sender.sign(sender.event(kind))
        for _ in range(20)
        for sender in SENDERS
        for kind in ("delivered", "bounced")
    ]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda signed: post(client, signed), many))
    assert all(answer.ok for answer in answers)
    assert {bytes(body) for *_, body in query(LANDED)} == {signed.body for signed in many}
    # Every provider told of one address, Twilio of a phone; both are dead for everybody, for one reason each.
    assert [row[1] for row in query(SUPPRESSED)] == ["email", "sms"]


def test_of_the_same_webhook_many_times_at_once_one_is_stored(client: Client, query: Query):
    signed = MAILGUN.sign(MAILGUN.event("delivered"))
    with ThreadPoolExecutor(12) as threads:
        answers = [each.status_code for each in threads.map(lambda _: post(client, signed), range(24))]
    assert sorted(answers) == [200, *[406] * 23]
    assert counts(query) == (1, 0, 1)


@pytest.fixture
def poisoned(database: Server) -> Iterator[None]:
    """Whatever quotes a certain word cannot be landed."""
    with connect(database, autocommit=True) as connection:
        connection.execute("alter table landing add constraint clean check (position('poison' in body) = 0)")
        yield
        connection.execute("alter table landing drop constraint clean")


@pytest.mark.usefixtures("poisoned")
def test_a_webhook_that_cannot_be_stored_takes_none_of_its_group_along(
    client: Client, query: Query, database: Server
):
    good = [SENDGRID.sign(orjson.dumps([{"event": "open", "n": n}])) for n in range(30)]
    bad = [SENDGRID.sign(orjson.dumps([{"event": "spamreport", "email": "a@x.example", "n": "poison"}]))]
    with connect(database) as blocking, ThreadPoolExecutor(31) as threads:
        # Until they are all there, so that they are one group.
        blocking.execute("lock table landing in exclusive mode")
        first = threads.submit(post, client, good[0])
        rest = [threads.submit(post, client, signed) for signed in (*bad, *good[1:])]
        threading.Event().wait(1.0)
        assert not first.done()
        blocking.commit()
        answers = [each.result().status_code for each in rest]
    assert answers == [503, *[204] * 29]
    assert first.result().status_code == 204
    assert counts(query) == (30, 0, 0)


def test_a_broken_connection_is_mended_without_the_sender_noticing(
    client: Client, query: Query, database: Server
):
    for _ in range(2):
        assert post(client, RESEND.sign(RESEND.event("delivered"))).status_code == 204
        with connect(database, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid() and query like '%into landing%'"
            )
    assert post(client, RESEND.sign(RESEND.event("delivered"))).status_code == 204
    assert counts(query)[0] == 3


# --- Floods -----------------------------------------------------------------------------------------------


def test_whoever_calls_too_often_is_told_when_to_come_again(database: Server, query: Query, tmp_path: Path):
    limited = web_settings(tmp_path, **SETTINGS, webhook_rate="0.01/3")
    with serving(create_app(limited, database)) as client:
        unsigned = [client.post("/webhooks/resend", data=b"{}") for _ in range(4)]
        signed = post(client, RESEND.sign(RESEND.event("delivered")))
        other = post(client, MAILGUN.sign(MAILGUN.event("delivered")))
    assert [answer.status_code for answer in unsigned] == [403, 403, 403, 429]
    assert (signed.status_code, signed.json()) == (429, {"error": "too many requests"})
    assert 90 <= int(signed.headers["retry-after"]) <= 100
    assert signed.headers["x-content-type-options"] == "nosniff"
    assert other.status_code == 200
    assert counts(query) == (1, 0, 1)


def test_an_unsigned_flood_does_not_reach_the_database(database: Server, tmp_path: Path):
    """The database is not even there."""
    settings = web_settings(tmp_path, **SETTINGS)
    with serving(create_app(settings, replace(database, database="nowhere"))) as client:
        # Mailgun signs a token and not the body: a changed body is still signed.
        for sender in (sender for sender in SENDERS if sender is not MAILGUN):
            signed = sender.sign(sender.event("bounced"))
            refused = [client.post(signed.path, data=signed.body + b" ") for _ in range(20)]
            assert {answer.status_code for answer in refused} == {403}


# --- Replays ----------------------------------------------------------------------------------------------


def test_a_replayed_start_does_not_lift_a_later_stop(client: Client, query: Query):
    assert "You are unsubscribed" in inbound(client, "SM1", "STOP").text
    assert "You are subscribed again" in inbound(client, "SM2", "START").text
    assert "You are unsubscribed" in inbound(client, "SM3", "STOP").text
    # Twilio asks again when our answer was lost: it gets the same words.
    assert "You are subscribed again" in inbound(client, "SM2", "START").text
    assert [row[3] for row in query(SUPPRESSED)] == ["stopped"]
    assert counts(query) == (3, 1, 3)


def test_what_is_remembered_is_forgotten_when_its_signature_is_worth_nothing(database: Server, query: Query):
    def told(webhook_id: str, **lasts: float) -> Webhook:
        once = Once(webhook_id=webhook_id, lasts=timedelta(**lasts))
        return Webhook(provider="resend", kind="events", body=b"{}", once=once)

    with connect(database) as connection:
        assert take_in(connection, [told("old", hours=-1), told("new", hours=1), told("new", hours=1)]) == [
            True,
            True,
            False,
        ]
        assert webhooks.purge(connection) == 1
        assert take_in(connection, [told("new", hours=1), told("old", hours=1)]) == [False, True]
    assert counts(query) == (3, 0, 2)


def test_two_receivers_with_the_same_webhooks_in_other_orders_do_not_lock_each_other_out(
    database: Server, query: Query
):
    def told(number: int) -> Webhook:
        suppression = Suppression(
            organisation_id="*",
            channel=Channel.EMAIL,
            address_key=number.to_bytes(16),
            reason=SuppressionReason.BOUNCED,
            source="resend",
        )
        once = Once(webhook_id=str(number), lasts=timedelta(hours=1))
        return Webhook(provider="resend", kind="events", body=b"{}", once=once, suppressions=[suppression])

    def receive(turn: int) -> int:
        numbers = range(50) if turn % 2 else reversed(range(50))
        with connect(database, autocommit=True) as connection:
            return sum(take_in(connection, [told(number) for number in numbers]))

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(receive, range(4))) == [0, 0, 0, 50]
    assert counts(query) == (50, 50, 50)


# --- Anything at all --------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = {
    "sendgrid": [
        "event",
        "type",
        "email",
        "timestamp",
        "status",
        "reason",
        "comms_org",
        "comms_message",
        "url",
    ],
    "twilio": ["MessageSid", "MessageStatus", "ErrorCode", "To", "From", "Body", "OptOutType"],
    "resend": ["to", "tags", "bounce", "click", "suppressed", "email_id", "created_at"],
    "mailgun": [
        "event",
        "severity",
        "reason",
        "recipient",
        "delivery-status",
        "user-variables",
        "timestamp",
        "message",
    ],
}
WORDS = {
    "sendgrid": ["bounce", "dropped", "spamreport", "unsubscribe", "open", "?"],
    "resend": ["email.bounced", "email.complained", "email.suppressed", "email.opened", "?"],
    "mailgun": ["failed", "complained", "unsubscribed", "opened", "?"],
}


def bodies(sender: Sender) -> st.SearchStrategy[bytes]:
    """Of the provider's shape, with anything in its fields; or anything."""
    names = st.sampled_from(FIELDS[sender.provider])
    if sender is TWILIO:
        shaped: Any = st.dictionaries(names, st.text(max_size=30)).map(
            lambda params: urlencode(params).encode()
        )
    else:
        fields = st.dictionaries(names, JSON | st.just("ann@x.example"), max_size=5)
        words = st.sampled_from(WORDS[sender.provider])
        shaped = st.builds(
            lambda told, word: orjson.dumps(
                [told | {"event": word}]
                if sender is SENDGRID
                else {"type": word, "data": told}
                if sender is RESEND
                else {"event-data": told | {"event": word}}
            ),
            fields,
            words,
        )
    return shaped | JSON.map(orjson.dumps) | st.binary(max_size=200)


HEADERS = st.dictionaries(
    st.sampled_from(
        (
            *("svix-id", "svix-timestamp", "svix-signature", "X-Twilio-Signature", "Content-Type"),
            *("X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp"),
            *("X-Forwarded-For", "I-Unknown"),
        )
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40).map(
        str.strip
    ),
    max_size=4,
)
# The autouse fixture empties the ledger once for all examples; each looks at what it added itself.
fuzzed = hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def sent(client: Client, query: Query, signed: Signed, headers: dict[str, str]) -> int:
    """The status of the answer; what is stored fits it: all of it, or nothing."""
    before = counts(query)
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    answer = requests.post(client.address + signed.path, data=signed.body, headers=raw, timeout=60)
    after = counts(query)
    landed, suppressed, seen = (now - then for now, then in zip(after, before, strict=True))
    assert answer.status_code < 500
    assert landed == int(answer.ok)
    assert landed or not (suppressed or seen)
    return answer.status_code


@pytest.mark.parametrize("sender", SENDERS, ids=str)
@fuzzed
@given(data=st.data())
def test_whatever_is_signed_is_stored_whole_or_refused(
    client: Client, query: Query, sender: Sender, data: st.DataObject
):
    signed = sender.sign(data.draw(bodies(sender)))
    status = sent(client, query, signed, dict(signed.headers))
    assert status in {200, 204, 400, 403}


@pytest.mark.parametrize("sender", SENDERS, ids=str)
@fuzzed
@given(data=st.data())
def test_whatever_is_not_signed_is_refused_and_not_stored(
    client: Client, query: Query, sender: Sender, data: st.DataObject
):
    path = sender.sign(b"{}").path
    unsigned = Signed(path=path, body=data.draw(bodies(sender)))
    assert sent(client, query, unsigned, data.draw(HEADERS)) == 403

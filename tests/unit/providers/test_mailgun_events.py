"""Mailgun's webhooks: signatures, translation, suppression. Bodies as documented."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.event import EventKind, InvalidEvents, ProviderEvent, SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.mailgun_events import Signature, parse, signature, suppression_reason, verify

KEY = "key-of-these-tests"
TIMESTAMP, TOKEN = "1772366400", "e0b5477167110d68991efc6b9f89f0a11066af27834600e123"
SIGNED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MESSAGE_ID = "11223344556677889900aabbccddeeff"
DELIVERY = {
    "tls": True,
    "mx-host": "mx.example.com",
    "attempt-no": 1,
    "description": "",
    "code": 550,
    "message": "5.1.1 no such user",
}


def digest(key: str = KEY, timestamp: str = TIMESTAMP, token: str = TOKEN) -> str:
    return hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()


def shown(**changed: object) -> Signature | None:
    told = {"timestamp": TIMESTAMP, "token": TOKEN, "signature": digest()} | changed
    return signature(orjson.dumps({"signature": told, "event-data": {}}))


def parse_one(**data: Any) -> ProviderEvent:
    (event,) = parse(orjson.dumps({"signature": {}, "event-data": data}))
    return event


def failed(reason: str, severity: str = "permanent", **status: object) -> dict[str, Any]:
    return {"event": "failed", "severity": severity, "reason": reason, "delivery-status": DELIVERY | status}


def test_what_mailgun_signed_is_accepted():
    # As OpenSSL computes it: `openssl dgst -sha256 -hmac KEY` of time and token.
    published = "5c73c58e0a817d0bf874dea512373f4720335d5e02ae5791443118584f402c73"
    assert verify(shown(signature=published), KEY, SIGNED_AT) is True
    assert verify(shown(), KEY, SIGNED_AT) is True
    assert verify(shown(timestamp=int(TIMESTAMP)), KEY, SIGNED_AT) is True


def test_of_a_subaccount_the_parents_signature_is_enough():
    told = {"signature": digest("the subaccount's"), "parent-signature": digest()}
    assert verify(shown(**told), KEY, SIGNED_AT) is True
    assert verify(shown(**told | {"parent-signature": "00"}), KEY, SIGNED_AT) is False


@pytest.mark.parametrize(
    "changed",
    [
        {"token": TOKEN[::-1]},
        {"token": ""},
        {"token": None},
        {"token": [TOKEN]},
        {"timestamp": "1772366401"},
        {"timestamp": "soon"},
        {"timestamp": None},
        {"timestamp": 1e300},
        {"signature": ""},
        {"signature": "é"},
        {"signature": None},
        {"signature": digest("another key")},
        {"signature": digest()[:-1]},
    ],
    ids=str,
)
def test_a_changed_signature_is_refused(changed: dict[str, object]):
    assert verify(shown(**changed), KEY, SIGNED_AT) is False


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"signature": []}', b"token=1"], ids=str)
def test_a_body_without_signature_is_refused(body: bytes):
    assert signature(body) is None
    assert verify(None, KEY, SIGNED_AT) is False


@pytest.mark.parametrize(
    ("age", "is_accepted"),
    [
        (timedelta(hours=12), True),
        (timedelta(hours=12, seconds=1), False),
        (timedelta(minutes=-5), True),
        (timedelta(minutes=-5, seconds=-1), False),
    ],
    ids=str,
)
def test_only_as_long_as_mailgun_repeats_is_a_signature_accepted(age: timedelta, is_accepted: bool):
    assert verify(shown(), KEY, SIGNED_AT + age) is is_accepted


def test_without_a_key_nothing_is_accepted_and_the_key_is_named():
    forged = shown(signature=digest(""))
    with pytest.raises(ProviderMisconfigured, match="COMMS_MAILGUN_WEBHOOK_KEY: is not set"):
        verify(forged, "", SIGNED_AT)


def test_a_bounce_is_translated_in_full():
    event = parse_one(
        **failed("bounce", message="5.1.1 <ann@example.com> unknown"),
        id="G9Bn5sl1TC6nu79C8C0bwg",
        timestamp=1772366400.153125,
        recipient="ann@example.com",
        envelope={"sender": "office@acme.example", "targets": "ann@example.com"},
        message={
            "headers": {
                "to": "ann@example.com",
                "message-id": "20260301120000.1.AB@mg.acme.example",
                "subject": "For Ann",
            }
        },
        tags=["spring", "batch_7"],
        **{
            "recipient-domain": "example.com",
            "user-variables": {"comms_message": MESSAGE_ID, "comms_org": "wedding", "comms_count": "3"},
        },
    )
    assert event == ProviderEvent(
        provider="mailgun",
        channel=Channel.EMAIL,
        kind=EventKind.BOUNCED,
        raw_kind="failed",
        occurred_at=datetime(2026, 3, 1, 12, 0, 0, 153125, tzinfo=UTC),
        message_id=MESSAGE_ID,
        organisation_id="wedding",
        provider_message_id="20260301120000.1.AB@mg.acme.example",
        provider_event_id="G9Bn5sl1TC6nu79C8C0bwg",
        address="ann@example.com",
        reason="5.1.1 <<address>> unknown",
        code="5.1.1",
        raw={
            "event": "failed",
            "severity": "permanent",
            "reason": "bounce",
            "delivery-status": DELIVERY | {"message": "5.1.1 <<address>> unknown"},
            "id": "G9Bn5sl1TC6nu79C8C0bwg",
            "timestamp": 1772366400.153125,
            "tags": ["spring", "batch_7"],
            "recipient-domain": "example.com",
            "user-variables": {"comms_message": MESSAGE_ID, "comms_org": "wedding", "comms_count": "3"},
        },
    )


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"event": "accepted"}, EventKind.QUEUED),
        ({"event": "delivered"}, EventKind.DELIVERED),
        (failed("generic", "temporary", code=421), EventKind.DEFERRED),
        (failed("espblock", "temporary"), EventKind.DEFERRED),
        (failed("bounce"), EventKind.BOUNCED),
        (failed("bounce", message="5.7.1 refused by policy"), EventKind.BLOCKED),
        (failed("bounce", **{"enhanced-code": "5.2.2"}), EventKind.BLOCKED),
        (failed("generic"), EventKind.BOUNCED),
        (failed("generic", **{"bounce-type": "soft"}), EventKind.BLOCKED),
        (failed("espblock"), EventKind.BLOCKED),
        (failed("suppress-bounce", code=605, message=""), EventKind.REJECTED),
        (failed("suppress-complaint"), EventKind.REJECTED),
        (failed("suppress-unsubscribe"), EventKind.REJECTED),
        (failed("old", code=602), EventKind.FAILED),
        (failed("what comes next year"), EventKind.FAILED),
        (
            {"event": "rejected", "reject": {"reason": "Sandbox subdomains are for test purposes only"}},
            EventKind.REJECTED,
        ),
        ({"event": "opened"}, EventKind.OPENED),
        ({"event": "clicked", "url": "https://x.example"}, EventKind.CLICKED),
        ({"event": "complained"}, EventKind.COMPLAINED),
        ({"event": "unsubscribed"}, EventKind.UNSUBSCRIBED),
        ({"event": "stored"}, EventKind.INBOUND),
        ({"event": "list_member_uploaded"}, EventKind.UNKNOWN),
        ({}, EventKind.UNKNOWN),
    ],
    ids=str,
)
def test_every_kind_is_translated_and_the_unknown_survives(data: dict[str, Any], kind: EventKind):
    event = parse_one(**data)
    assert (event.kind, event.raw_kind) == (kind, data.get("event", ""))


@pytest.mark.parametrize(
    ("bot", "is_machine"), [("apple", True), ("generic", True), ("gmail", False), ("", False), ([], False)]
)
def test_who_opens_by_itself_is_a_machine(bot: object, is_machine: bool):
    event = parse_one(
        event="opened", ip="203.0.113.7", **{"client-info": {"user-agent": "Mozilla/5.0", "bot": bot}}
    )
    assert event.is_machine is is_machine
    assert event.user_agent == "Mozilla/5.0"
    assert "203.0.113.7" not in repr(event)


def test_no_address_hides_in_the_kept_words():
    event = parse_one(
        event="clicked",
        url="https://shop.example/a?email=ann%40example.com",
        recipient="ann@example.com",
        geolocation={"city": "Vienna"},
        **{"user-variables": {"their": {"note": ["ann@example.com"]}}},
    )
    assert "ann@" not in repr(event) + repr(event.raw)
    assert event.raw == {
        "event": "clicked",
        "url": "https://shop.example/a?email=<address>",
        "user-variables": {"their": {"note": ["<address>"]}},
    }


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{}", b'{"event-data": []}', b"event=opened"], ids=str
)
def test_what_has_no_event_data_is_refused(body: bytes):
    with pytest.raises(InvalidEvents, match="Mailgun webhook"):
        parse(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.sampled_from(
        (
            *("severity", "reason", "delivery-status", "timestamp", "recipient", "message", "user-variables"),
            *("client-info", "reject", "url", "id", "tags"),
        )
    ),
)
def test_no_value_of_any_field_breaks_the_parser(value: object, name: str):
    event = parse_one(**failed("bounce") | {name: value})
    assert event.provider == "mailgun"
    assert suppression_reason(event) in {None, *SuppressionReason}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (failed("bounce"), SuppressionReason.BOUNCED),
        (failed("generic"), SuppressionReason.BOUNCED),
        (failed("suppress-bounce", code=605), SuppressionReason.BOUNCED),
        (failed("suppress-complaint", code=607), SuppressionReason.COMPLAINED),
        (failed("suppress-unsubscribe", code=606), SuppressionReason.UNSUBSCRIBED),
        (failed("bounce", "temporary"), None),
        (failed("espblock"), None),
        (failed("generic", **{"bounce-type": "soft"}), None),
        (failed("bounce", message="5.7.1 no"), None),
        (failed("bounce", **{"enhanced-code": "4.2.2"}), None),
        (failed("old"), None),
        ({"event": "complained"}, SuppressionReason.COMPLAINED),
        ({"event": "unsubscribed"}, SuppressionReason.UNSUBSCRIBED),
        ({"event": "rejected", "reject": {"reason": "virus"}}, None),
        ({"event": "delivered", "reason": "suppress-bounce"}, None),
        ({"event": "opened"}, None),
        ({"event": "novel"}, None),
    ],
    ids=str,
)
def test_only_what_speaks_against_the_address_suppresses(
    data: dict[str, Any], reason: SuppressionReason | None
):
    assert suppression_reason(parse_one(**data)) is reason

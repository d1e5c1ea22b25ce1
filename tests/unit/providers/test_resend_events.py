"""Resend's webhooks: Svix signatures, translation, suppression. Bodies as documented."""

import base64
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
from comms_pipeline.providers.resend_events import landed_query, parse, suppression_reason, verify

# The vector of Svix's documentation and of its libraries' tests (go/webhook_test.go, TestWebhookSign).
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
PUBLISHED = {
    "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "svix-timestamp": "1614265330",
    "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
SIGNED_AT = datetime.fromtimestamp(1614265330, UTC)
MESSAGE_ID = "11223344556677889900aabbccddeeff"
EMAIL_ID = "56761188-7520-42d8-8898-ff6fc54ce618"
PERMANENT = {"type": "Permanent", "subType": "General"}


def parse_one(kind: str, query: str = "", **data: Any) -> ProviderEvent:
    (event,) = parse(query, orjson.dumps({"type": kind, "created_at": "2026-03-01T12:00:00Z", "data": data}))
    return event


def test_the_published_example_is_accepted():
    assert verify(PUBLISHED, BODY, SECRET, SIGNED_AT) is True
    assert verify({name.title(): value for name, value in PUBLISHED.items()}, BODY, SECRET, SIGNED_AT) is True
    assert verify(PUBLISHED, BODY, SECRET.removeprefix("whsec_"), SIGNED_AT) is True


@pytest.mark.parametrize(
    ("signatures", "is_accepted"),
    [
        ("v1,AAAA {right}", True),
        ("{right} v1,AAAA", True),
        ("v2,abc {right} v1a,xyz", True),
        ("v1,AAAA v1,BBBB", False),
        ("v1a,{bare}", False),
        ("{bare}", False),
        ("{right},", False),
        ("v1,", False),
        ("", False),
        ("é", False),
    ],
)
def test_one_of_several_signatures_of_the_known_scheme_is_enough(signatures: str, is_accepted: bool):
    right = PUBLISHED["svix-signature"]
    told = signatures.format(right=right, bare=right.removeprefix("v1,"))
    assert verify(PUBLISHED | {"svix-signature": told}, BODY, SECRET, SIGNED_AT) is is_accepted


@pytest.mark.parametrize("name", list(PUBLISHED))
@pytest.mark.parametrize("value", [None, "", "not base64", "AAAA", "é", "1e400", "9" * 30])
def test_a_missing_or_wrong_header_is_refused(name: str, value: str | None):
    headers = {other: told for other, told in PUBLISHED.items() if other != name}
    headers |= {} if value is None else {name: value}
    assert verify(headers, BODY, SECRET, SIGNED_AT) is False


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY.replace(b"2432", b"2433")], ids=str)
def test_a_changed_body_is_refused(body: bytes):
    assert verify(PUBLISHED, body, SECRET, SIGNED_AT) is False


@pytest.mark.parametrize(
    ("age", "is_accepted"),
    [
        (timedelta(minutes=5), True),
        (timedelta(minutes=5, seconds=1), False),
        (timedelta(minutes=-5), True),
        (timedelta(minutes=-5, seconds=-1), False),
    ],
    ids=str,
)
def test_only_five_minutes_are_tolerated(age: timedelta, is_accepted: bool):
    assert verify(PUBLISHED, BODY, SECRET, SIGNED_AT + age) is is_accepted


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64", "é"])
def test_an_unusable_secret_is_named_and_never_accepts(secret: str):
    # An empty key would accept what anybody can make.
    digest = hmac.digest(b"\0", b"x.1614265330." + BODY, hashlib.sha256)
    forged = PUBLISHED | {"svix-id": "x", "svix-signature": f"v1,{base64.b64encode(digest).decode()}"}
    with pytest.raises(ProviderMisconfigured, match="COMMS_RESEND_WEBHOOK_SECRET"):
        verify(forged, BODY, secret, SIGNED_AT)


def test_a_bounce_is_translated_in_full():
    event = parse_one(
        "email.bounced",
        landed_query("msg_2W2D3q&x=1"),
        created_at="2026-03-01T11:59:00Z",
        email_id=EMAIL_ID,
        to=["Ann <ann@example.com>"],
        subject="For Ann",
        headers=[{"name": "Reply-To", "value": "us@acme.example"}],
        tags={"comms_message": MESSAGE_ID, "comms_org": "wedding", "comms_campaign": "spring"},
        bounce={
            **PERMANENT,
            "message": "no ann@example.com here",
            "diagnosticCode": ["smtp; 550 5.1.1 no such user <ann@example.com>"],
        },
        **{"from": "Acme <office@acme.example>"},
    )
    assert event == ProviderEvent(
        provider="resend",
        channel=Channel.EMAIL,
        kind=EventKind.BOUNCED,
        raw_kind="email.bounced",
        occurred_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        message_id=MESSAGE_ID,
        organisation_id="wedding",
        provider_message_id=EMAIL_ID,
        provider_event_id="msg_2W2D3q&x=1",
        address="ann@example.com",
        reason="no <address> here",
        code="5.1.1",
        raw={
            "type": "email.bounced",
            "created_at": "2026-03-01T12:00:00Z",
            "data": {
                "created_at": "2026-03-01T11:59:00Z",
                "email_id": EMAIL_ID,
                "tags": {"comms_message": MESSAGE_ID, "comms_org": "wedding", "comms_campaign": "spring"},
                "bounce": {
                    **PERMANENT,
                    "message": "no <address> here",
                    "diagnosticCode": ["smtp; 550 5.1.1 no such user <<address>>"],
                },
            },
        },
    )


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("email.scheduled", {}, EventKind.QUEUED),
        ("email.sent", {}, EventKind.SENT),
        ("email.delivered", {}, EventKind.DELIVERED),
        ("email.delivery_delayed", {}, EventKind.DEFERRED),
        ("email.failed", {"failed": {"reason": "reached_daily_quota"}}, EventKind.FAILED),
        ("email.suppressed", {"suppressed": {"type": "OnAccountSuppressionList"}}, EventKind.REJECTED),
        ("email.opened", {}, EventKind.OPENED),
        ("email.clicked", {"click": {"link": "https://x.example"}}, EventKind.CLICKED),
        ("email.complained", {}, EventKind.COMPLAINED),
        ("email.received", {}, EventKind.INBOUND),
        ("email.bounced", {"bounce": PERMANENT}, EventKind.BOUNCED),
        ("email.bounced", {"bounce": {"type": "Permanent", "subType": "Suppressed"}}, EventKind.REJECTED),
        ("email.bounced", {"bounce": {"type": "Transient", "subType": "MailboxFull"}}, EventKind.BLOCKED),
        ("email.bounced", {"bounce": {"type": "Undetermined"}}, EventKind.FAILED),
        ("email.bounced", {"bounce": {"message": "an old one"}}, EventKind.FAILED),
        ("email.bounced", {"bounce": {"type": "Novel"}}, EventKind.UNKNOWN),
        ("contact.created", {"email": "ann@example.com"}, EventKind.UNKNOWN),
        ("what.comes_next_year", {}, EventKind.UNKNOWN),
        ("", {}, EventKind.UNKNOWN),
    ],
    ids=str,
)
def test_every_kind_is_translated_and_the_unknown_survives(
    kind: str, data: dict[str, Any], expected: EventKind
):
    event = parse_one(kind, **data)
    assert (event.kind, event.raw_kind) == (expected, kind)


@pytest.mark.parametrize(
    "tags",
    [
        {"comms_message": MESSAGE_ID, "comms_org": "wedding"},
        [{"name": "comms_message", "value": MESSAGE_ID}, {"name": "comms_org", "value": "wedding"}, 7, {}],
    ],
    ids=["object", "list"],
)
def test_our_ids_are_found_in_either_shape_of_tags(tags: object):
    event = parse_one("email.opened", tags=tags)
    assert (event.message_id, event.organisation_id) == (MESSAGE_ID, "wedding")


def test_a_click_keeps_link_and_agent_but_neither_address_nor_ip():
    event = parse_one(
        "email.clicked",
        click={
            "ipAddress": "203.0.113.7",
            "link": "https://shop.example/a?email=ann%40example.com",
            "userAgent": "Firefox",
            "timestamp": "2026-03-01T12:00:00Z",
        },
    )
    assert event.url == "https://shop.example/a?email=<address>"
    assert event.user_agent == "Firefox"
    assert event.raw["data"]["click"] == {
        "link": "https://shop.example/a?email=<address>",
        "timestamp": "2026-03-01T12:00:00Z",
    }


def test_of_several_recipients_nobody_is_blamed():
    event = parse_one("email.complained", to=["ann@example.com", "bob@example.com"])
    assert event.address is None


def test_nothing_personal_of_another_kind_is_kept():
    event = parse_one("contact.updated", email="ann@example.com", first_name="Ann", unsubscribed=True)
    assert event.raw == {"type": "contact.updated", "created_at": "2026-03-01T12:00:00Z", "data": {}}


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"7", b"\xff", b"type=email.sent"], ids=str)
def test_what_is_not_an_object_is_refused(body: bytes):
    with pytest.raises(InvalidEvents, match="Resend webhook"):
        parse("", body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.sampled_from(["to", "tags", "bounce", "click", "suppressed", "failed", "email_id", "created_at"]),
)
def test_no_value_of_any_field_breaks_the_parser(value: object, name: str):
    event = parse_one("email.bounced", **{name: value})
    assert event.provider == "resend"
    assert suppression_reason(event) in {None, SuppressionReason.BOUNCED}


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        ("email.bounced", {"bounce": PERMANENT}, SuppressionReason.BOUNCED),
        (
            "email.bounced",
            {"bounce": PERMANENT | {"diagnosticCode": ["550 5.2.1 off"]}},
            SuppressionReason.BOUNCED,
        ),
        ("email.bounced", {"bounce": PERMANENT | {"diagnosticCode": ["552 5.2.2 full"]}}, None),
        ("email.bounced", {"bounce": PERMANENT | {"diagnosticCode": ["554 5.7.1 spam"]}}, None),
        (
            "email.bounced",
            {"bounce": {"type": "Permanent", "subType": "Suppressed"}},
            SuppressionReason.BOUNCED,
        ),
        ("email.bounced", {"bounce": {"type": "Transient", "subType": "General"}}, None),
        ("email.bounced", {"bounce": {"type": "Undetermined"}}, None),
        ("email.bounced", {}, None),
        ("email.suppressed", {"suppressed": {"type": "OnAccountSuppressionList"}}, SuppressionReason.BOUNCED),
        ("email.suppressed", {}, None),
        ("email.complained", {}, SuppressionReason.COMPLAINED),
        ("email.failed", {}, None),
        ("email.delivery_delayed", {}, None),
        ("email.opened", {}, None),
        ("contact.updated", {"unsubscribed": True}, None),
    ],
    ids=str,
)
def test_only_what_speaks_against_the_address_suppresses(
    kind: str, data: dict[str, Any], reason: SuppressionReason | None
):
    assert suppression_reason(parse_one(kind, **data)) is reason

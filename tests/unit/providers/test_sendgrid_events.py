"""SendGrid's event webhook: signatures, translation, suppression. Bodies as documented."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.event import EventKind, InvalidEvents, ProviderEvent, SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.sendgrid_events import KINDS, parse, suppression_reason, suppressions, verify

PRIVATE_KEY = ec.derive_private_key(42, ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(
    PRIVATE_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
SIGNED_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
BODY = b'[{"event":"open"}]\r\n'
MESSAGE_ID = "11223344556677889900aabbccddeeff"


def signed_headers(body: bytes = BODY, signed_at: datetime = SIGNED_AT) -> dict[str, str]:
    timestamp = str(int(signed_at.timestamp()))
    signature = PRIVATE_KEY.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }


def parse_one(**entry: object) -> ProviderEvent:
    (event,) = parse(orjson.dumps([entry]))
    return event


def test_a_body_signed_by_the_key_is_accepted():
    assert verify(signed_headers(), BODY, PUBLIC_KEY, SIGNED_AT) is True


def test_header_names_match_in_any_case():
    headers = {name.upper(): value for name, value in signed_headers().items()}
    assert verify(headers, BODY, PUBLIC_KEY, SIGNED_AT) is True


def test_the_published_example_of_the_sdk_is_accepted():
    """The vector of sendgrid-python's test_eventwebhook.py."""
    key = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1"
        "flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
    )
    signature = (
        "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
    )
    body = (
        b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","sg_event_id":'
        b'"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA","sg_message_id":'
        b'"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0","smtp-id":'
        b'"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
    )
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": signature,
        "X-Twilio-Email-Event-Webhook-Timestamp": "1600112502",
    }
    now = datetime.fromtimestamp(1600112502, UTC)
    assert verify(headers, body, key, now) is True
    assert verify(headers, body.rstrip(), key, now) is False


@pytest.mark.parametrize(
    "body", [b"", b"[]", BODY.strip(), BODY + b" ", BODY.replace(b"open", b"oPen")], ids=str
)
def test_a_changed_body_is_refused(body: bytes):
    assert verify(signed_headers(), body, PUBLIC_KEY, SIGNED_AT) is False


@pytest.mark.parametrize("name", list(signed_headers()))
@pytest.mark.parametrize("value", [None, "", "not base64", "AAAA", "é"])
def test_a_missing_or_wrong_header_is_refused(name: str, value: str | None):
    headers = signed_headers()
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    assert verify(headers, BODY, PUBLIC_KEY, SIGNED_AT) is False


def test_a_changed_timestamp_is_refused():
    headers = signed_headers()
    headers["X-Twilio-Email-Event-Webhook-Timestamp"] = str(int(SIGNED_AT.timestamp()) + 1)
    assert verify(headers, BODY, PUBLIC_KEY, SIGNED_AT) is False


@pytest.mark.parametrize(
    ("age", "is_accepted"),
    [
        (timedelta(hours=26), True),
        (timedelta(hours=26, seconds=1), False),
        (timedelta(minutes=-5), True),
        (timedelta(minutes=-5, seconds=-1), False),
    ],
    ids=str,
)
def test_only_fresh_signatures_are_accepted(age: timedelta, is_accepted: bool):
    assert verify(signed_headers(), BODY, PUBLIC_KEY, SIGNED_AT + age) is is_accepted


@pytest.mark.parametrize("key", ["", "not base64", "AAAA"])
def test_an_unusable_key_is_named(key: str):
    with pytest.raises(ProviderMisconfigured, match="COMMS_SENDGRID_WEBHOOK_KEY"):
        verify(signed_headers(), BODY, key, SIGNED_AT)


def test_a_key_of_another_kind_is_named():
    der = ed25519.Ed25519PrivateKey.generate().public_key()
    key = base64.b64encode(der.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    with pytest.raises(ProviderMisconfigured, match="elliptic-curve"):
        verify(signed_headers(), BODY, key, SIGNED_AT)


def test_a_bounce_is_translated_in_full():
    event = parse_one(
        email="ann@example.com",
        timestamp=1772366400,
        event="bounce",
        type="bounce",
        status="5.1.1",
        reason="550 5.1.1 <ann@example.com>: user unknown",
        sg_message_id="14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        sg_event_id="ZXZlbnQ",
        ip="203.0.113.7",
        comms_message=MESSAGE_ID,
        comms_org="wedding",
        category=["wedding", "batch-7"],
        **{"smtp-id": "<1.2@ismtpd>"},
    )
    assert event == ProviderEvent(
        provider="sendgrid",
        channel=Channel.EMAIL,
        kind=EventKind.BOUNCED,
        raw_kind="bounce",
        occurred_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        message_id=MESSAGE_ID,
        organisation_id="wedding",
        provider_message_id="14c5d75ce93",
        provider_event_id="ZXZlbnQ",
        address="ann@example.com",
        reason="550 5.1.1 <<address>>: user unknown",
        code="5.1.1",
        raw={
            "timestamp": 1772366400,
            "event": "bounce",
            "type": "bounce",
            "status": "5.1.1",
            "reason": "550 5.1.1 <<address>>: user unknown",
            "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
            "sg_event_id": "ZXZlbnQ",
            "comms_message": MESSAGE_ID,
            "comms_org": "wedding",
            "category": ["wedding", "batch-7"],
        },
    )


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"event": "processed"}, EventKind.QUEUED),
        ({"event": "deferred"}, EventKind.DEFERRED),
        ({"event": "delivered"}, EventKind.DELIVERED),
        ({"event": "dropped"}, EventKind.REJECTED),
        ({"event": "bounce"}, EventKind.BOUNCED),
        ({"event": "bounce", "type": "bounce"}, EventKind.BOUNCED),
        ({"event": "bounce", "type": "blocked"}, EventKind.BLOCKED),
        ({"event": "bounce", "type": "novel"}, EventKind.UNKNOWN),
        ({"event": "open"}, EventKind.OPENED),
        ({"event": "click"}, EventKind.CLICKED),
        ({"event": "spamreport"}, EventKind.COMPLAINED),
        ({"event": "unsubscribe"}, EventKind.UNSUBSCRIBED),
        ({"event": "group_unsubscribe"}, EventKind.UNSUBSCRIBED),
        ({"event": "group_resubscribe"}, EventKind.SUBSCRIBED),
        ({"event": "account_status_change"}, EventKind.UNKNOWN),
        ({"event": "what_comes_next_year"}, EventKind.UNKNOWN),
        ({}, EventKind.UNKNOWN),
    ],
    ids=str,
)
def test_every_kind_is_translated_and_the_unknown_survives(entry: dict[str, str], kind: EventKind):
    event = parse_one(**entry)
    assert event.kind is kind
    assert event.raw_kind == entry.get("event", "")


def test_an_asynchronous_bounce_is_known_by_our_own_id():
    event = parse_one(event="bounce", comms_message=MESSAGE_ID)
    assert event.message_id == MESSAGE_ID
    assert event.provider_message_id is None


@pytest.mark.parametrize(
    "foreign", ["someone else's", MESSAGE_ID.upper(), MESSAGE_ID + "\n", "", 7, None, ["x"]]
)
def test_foreign_ids_are_not_taken_for_ours(foreign: object):
    event = parse_one(event="open", comms_message=foreign, comms_org=foreign)
    assert (event.message_id, event.organisation_id) == (None, None)


def test_a_machine_open_is_marked():
    assert parse_one(event="open", sg_machine_open=True, useragent="Mozilla/5.0").is_machine is True
    assert parse_one(event="open", sg_machine_open=False).is_machine is False
    assert parse_one(event="open").is_machine is False


def test_a_click_keeps_its_address_but_not_the_recipients():
    event = parse_one(
        event="click", url="https://shop.example/a?email=ann%40example.com&x=1", useragent="Firefox"
    )
    assert event.url == "https://shop.example/a?email=<address>&x=1"
    assert event.user_agent == "Firefox"


def test_no_address_hides_anywhere_in_the_kept_words():
    event = parse_one(
        event="deferred",
        response="451 <ann@example.com> try later, call +1 (650) 253-0000",
        email="ann@example.com",
        pool={"name": "p", "note": ["ann@example.com"]},
        Email="ann@example.com",
        IP="203.0.113.7",
    )
    kept = repr(event.raw) + repr(event)
    assert "ann@" not in kept
    assert "650" not in kept
    assert "203.0.113.7" not in kept
    assert event.raw["pool"] == {"name": "p", "note": ["<address>"]}


@pytest.mark.parametrize("timestamp", [None, True, "soon", -1e30, 1e30, 10**15, [1], ""], ids=str)
def test_a_time_that_is_none_does_not_cost_the_event(timestamp: object):
    event = parse_one(event="open", timestamp=timestamp)
    assert event.kind is EventKind.OPENED
    assert event.occurred_at is None


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"[1]", b'["a"]', b"[{}, []]", b"event=open", b"\xff"], ids=str
)
def test_what_is_not_an_array_of_objects_is_refused(body: bytes):
    with pytest.raises(InvalidEvents, match="SendGrid event webhook"):
        parse(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.sampled_from(["event", "timestamp", "email", "sg_message_id", "reason", "status", "type", "url"]),
)
def test_no_value_of_any_field_breaks_the_parser(value: object, name: str):
    (event,) = parse(orjson.dumps([{"event": "bounce", name: value}], option=orjson.OPT_NON_STR_KEYS))
    assert event.provider == "sendgrid"
    assert suppression_reason(event) in {
        None,
        SuppressionReason.BOUNCED,
        SuppressionReason.UNSUBSCRIBED,
        SuppressionReason.COMPLAINED,
    }


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"event": "bounce", "type": "bounce", "status": "5.1.1"}, SuppressionReason.BOUNCED),
        ({"event": "bounce", "type": "bounce", "status": "5.0.0"}, SuppressionReason.BOUNCED),
        ({"event": "bounce", "type": "bounce"}, SuppressionReason.BOUNCED),
        ({"event": "bounce", "type": "bounce", "status": "4.2.1"}, None),
        ({"event": "bounce", "type": "bounce", "status": "5.2.2"}, None),
        ({"event": "bounce", "type": "bounce", "status": "5.7.1"}, None),
        ({"event": "bounce", "type": "blocked", "status": "5.1.1"}, None),
        ({"event": "dropped", "reason": "Bounced Address"}, SuppressionReason.BOUNCED),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, SuppressionReason.UNSUBSCRIBED),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, SuppressionReason.COMPLAINED),
        ({"event": "dropped", "reason": "Invalid"}, SuppressionReason.INVALID),
        ({"event": "dropped", "reason": "Invalid SMTPAPI header"}, None),
        ({"event": "dropped", "reason": "Spam Content"}, None),
        ({"event": "dropped"}, None),
        ({"event": "spamreport"}, SuppressionReason.COMPLAINED),
        ({"event": "unsubscribe"}, SuppressionReason.UNSUBSCRIBED),
        ({"event": "group_unsubscribe"}, SuppressionReason.UNSUBSCRIBED),
        ({"event": "group_resubscribe"}, None),
        ({"event": "deferred", "reason": "Bounced Address"}, None),
        ({"event": "delivered"}, None),
        ({"event": "open", "sg_machine_open": True}, None),
        ({"event": "novel"}, None),
    ],
    ids=str,
)
def test_only_what_speaks_against_the_address_suppresses(
    entry: dict[str, str], reason: SuppressionReason | None
):
    assert suppression_reason(parse_one(**entry)) is reason


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "event": st.sampled_from(
                    ["bounce", "dropped", "spamreport", "unsubscribe", "group_unsubscribe"]
                )
            }
            | {
                "type": st.sampled_from(["bounce", "blocked", "?"]),
                "status": st.sampled_from(["5.1.1", "4.2.2"]),
            }
            | {"reason": st.sampled_from(["Bounced Address", "Invalid", "?"]), "email": st.text(max_size=9)}
        )
        | st.dictionaries(st.sampled_from(["event", "email"]), st.none() | st.lists(st.text()) | st.text())
        | st.sampled_from(sorted(KINDS)).map(lambda word: {"event": word})
    )
)
def test_the_quick_look_finds_the_suppressions_that_reading_everything_finds(
    entries: list[dict[str, object]],
):
    body = orjson.dumps(entries)
    told = [(event, suppression_reason(event)) for event in parse(body)]
    expected = [(replace(event, raw={}), reason) for event, reason in told if reason]
    assert suppressions(body) == expected

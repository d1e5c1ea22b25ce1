"""Twilio's webhooks: signatures, status callbacks, inbound messages, opt-out words."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.event import EventKind, InvalidEvents, ProviderEvent, SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.twilio_events import (
    OptOutWord,
    form,
    opt_out_word,
    parse_inbound,
    parse_status,
    suppression_reason,
    verify,
)

# The example of https://www.twilio.com/docs/usage/security#validating-requests
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
PARAMS = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
TOKEN = "12345"
MESSAGE_ID = "11223344556677889900aabbccddeeff"


def status(query: str = "", **params: str) -> ProviderEvent:
    base = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+15005550006"}
    return parse_status(query, urlencode(base | params).encode())


def inbound(**params: str) -> ProviderEvent:
    return parse_inbound(urlencode({"MessageSid": "SM2", "From": "+15005550006"} | params).encode())


def test_the_documented_example_is_accepted():
    assert verify(URL, PARAMS, SIGNATURE, TOKEN) is True


@pytest.mark.parametrize("signature", [None, "", "AAAA", SIGNATURE.lower(), SIGNATURE[:-1], "é"])
def test_a_missing_or_wrong_signature_is_refused(signature: str | None):
    assert verify(URL, PARAMS, signature, TOKEN) is False


def test_a_changed_field_address_or_token_is_refused():
    assert verify(URL, PARAMS | {"Digits": "1235"}, SIGNATURE, TOKEN) is False
    assert verify(URL, PARAMS | {"More": ""}, SIGNATURE, TOKEN) is False
    assert verify(URL + "&baz=3", PARAMS, SIGNATURE, TOKEN) is False
    assert verify(URL, PARAMS, SIGNATURE, "12346") is False


def test_without_an_auth_token_nothing_can_be_verified():
    with pytest.raises(ProviderMisconfigured, match="COMMS_TWILIO_AUTH_TOKEN"):
        verify(URL, PARAMS, SIGNATURE, "")


def test_a_form_keeps_empty_fields_and_decodes_utf_8():
    assert form(b"Body=h%C3%A9+you&Media=&Bad=%ff") == {"Body": "hé you", "Media": "", "Bad": "\ufffd"}


def test_a_status_callback_is_translated_in_full():
    event = status(
        f"message={MESSAGE_ID}&org=wedding",
        MessageStatus="undelivered",
        ErrorCode="30005",
        ErrorMessage="Unknown handset +15005550006",
        From="+15005550001",
        AccountSid="AC1",
        Body="Dear Ann",
    )
    assert event == ProviderEvent(
        provider="twilio",
        channel=Channel.SMS,
        kind=EventKind.BOUNCED,
        raw_kind="undelivered",
        message_id=MESSAGE_ID,
        organisation_id="wedding",
        provider_message_id="SM1",
        provider_event_id="SM1:undelivered:30005",
        address="+15005550006",
        reason="Unknown handset <address>",
        code="30005",
        raw={"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30005", "AccountSid": "AC1"},
    )


@pytest.mark.parametrize(
    ("raw_kind", "code", "kind"),
    [
        ("accepted", "", EventKind.QUEUED),
        ("scheduled", "", EventKind.QUEUED),
        ("queued", "", EventKind.QUEUED),
        ("sending", "", EventKind.QUEUED),
        ("sent", "", EventKind.SENT),
        ("partially_delivered", "", EventKind.SENT),
        ("delivered", "", EventKind.DELIVERED),
        ("read", "", EventKind.OPENED),
        ("canceled", "", EventKind.REJECTED),
        ("failed", "", EventKind.FAILED),
        ("undelivered", "30003", EventKind.FAILED),
        ("undelivered", "30006", EventKind.BOUNCED),
        ("undelivered", "30007", EventKind.BLOCKED),
        ("undelivered", "99999", EventKind.FAILED),
        ("failed", "not a code", EventKind.FAILED),
        ("sent", "30006", EventKind.SENT),
        ("novel", "", EventKind.UNKNOWN),
    ],
)
def test_every_status_is_translated_and_the_unknown_survives(raw_kind: str, code: str, kind: EventKind):
    event = status(MessageStatus=raw_kind, ErrorCode=code)
    assert event.kind is kind
    assert event.raw_kind == raw_kind
    assert event.occurred_at is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("21610", SuppressionReason.STOPPED),
        ("63033", SuppressionReason.STOPPED),
        ("21211", SuppressionReason.INVALID),
        ("21614", SuppressionReason.INVALID),
        ("21635", SuppressionReason.INVALID),
        ("30005", SuppressionReason.INVALID),
        ("30006", SuppressionReason.INVALID),
        ("63003", SuppressionReason.INVALID),
        ("63024", SuppressionReason.INVALID),
        ("30003", None),
        ("30007", None),
        ("30008", None),
        ("", None),
    ],
)
def test_only_codes_that_speak_against_the_address_suppress(code: str, reason: SuppressionReason | None):
    assert suppression_reason(status(MessageStatus="undelivered", ErrorCode=code)) is reason


def test_foreign_ids_in_the_query_are_not_taken_for_ours():
    event = status("message=1%00&org=%2A")
    assert (event.message_id, event.organisation_id) == (None, None)


def test_a_whatsapp_number_is_of_its_own_channel():
    event = status(To="whatsapp:+15005550006")
    assert (event.channel, event.address) == (Channel.WHATSAPP, "+15005550006")


@pytest.mark.parametrize(
    ("raw_kind", "code", "kind", "reason"),
    [
        ("read", "", EventKind.OPENED, None),
        ("undelivered", "63016", EventKind.BLOCKED, None),
        ("undelivered", "63024", EventKind.BOUNCED, SuppressionReason.INVALID),
        ("failed", "63049", EventKind.BLOCKED, None),
    ],
)
def test_whatsapp_tells_of_reading_and_of_its_own_refusals(
    raw_kind: str, code: str, kind: EventKind, reason: SuppressionReason | None
):
    event = status(To="whatsapp:+15005550006", MessageStatus=raw_kind, ErrorCode=code)
    assert (event.channel, event.kind) == (Channel.WHATSAPP, kind)
    assert suppression_reason(event) is reason


@pytest.mark.parametrize("missing", ["MessageSid", "MessageStatus"])
def test_a_callback_without_its_essentials_is_refused(missing: str):
    with pytest.raises(InvalidEvents, match=f"has no {missing}"):
        status(**{missing: ""})


def test_an_inbound_message_keeps_no_words_and_no_number():
    event = inbound(Body="We are coming, call 650 253 0000", ProfileName="Ann", FromCity="Oslo", NumMedia="0")
    assert event == ProviderEvent(
        provider="twilio",
        channel=Channel.SMS,
        kind=EventKind.INBOUND,
        raw_kind="inbound",
        provider_message_id="SM2",
        provider_event_id="SM2",
        address="+15005550006",
        raw={"MessageSid": "SM2", "NumMedia": "0"},
    )
    assert "+15005550006" not in repr(event)
    assert suppression_reason(event) is None


@pytest.mark.parametrize(
    ("params", "kind", "code"),
    [
        ({"Body": "STOP"}, EventKind.UNSUBSCRIBED, "STOP"),
        ({"Body": "start"}, EventKind.SUBSCRIBED, "START"),
        ({"Body": "Help!"}, EventKind.INBOUND, "HELP"),
        ({"Body": "parar", "OptOutType": "STOP"}, EventKind.UNSUBSCRIBED, "STOP"),
        ({"Body": "stop", "OptOutType": "HELP"}, EventKind.UNSUBSCRIBED, "STOP"),
        ({"Body": "hello", "OptOutType": "novel"}, EventKind.INBOUND, None),
        ({}, EventKind.INBOUND, None),
    ],
    ids=str,
)
def test_opt_outs_are_read_by_twilio_and_by_us(params: dict[str, str], kind: EventKind, code: str | None):
    event = inbound(**params)
    assert (event.kind, event.code) == (kind, code)


def test_stop_suppresses_and_start_does_not():
    assert suppression_reason(inbound(Body="stop")) is SuppressionReason.STOPPED
    assert suppression_reason(inbound(Body="start")) is None


@pytest.mark.parametrize("missing", ["MessageSid", "From"])
def test_an_inbound_message_without_its_essentials_is_refused(missing: str):
    with pytest.raises(InvalidEvents, match=f"has no {missing}"):
        inbound(**{missing: ""})


@pytest.mark.parametrize(
    "body",
    [
        "STOP",
        "stop",
        " Stop. ",
        "S T O P",
        "“Stop!”",
        "ＳＴＯＰ",
        "st\u200bop",
        "STOPALL",
        "stop all",
        "Unsubscribe",
        "un-subscribe",
        "END",
        "quit",
        "Revoke",
        "opt out",
        "OPT-OUT",
        "optout",
        "cancel",
        "Please stop",
        "stop texting me please",
        "Please stop sending messages",
        "unsubscribe me, thank you",
    ],
)
def test_stop_is_understood(body: str):
    assert opt_out_word(body) is OptOutWord.STOP


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("START", OptOutWord.START),
        ("Yes!", OptOutWord.START),
        ("un-stop", OptOutWord.START),
        ("help", OptOutWord.HELP),
        (" INFO? ", OptOutWord.HELP),
    ],
)
def test_start_and_help_are_understood(body: str, word: OptOutWord):
    assert opt_out_word(body) is word


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "!",
        "hello",
        "Please don't stop",
        "We will stop by at noon",
        "yes please",
        "yes, both of us",
        "please cancel it",
        "in the end we can come",
        "stopped",
        "Can you help me?",
        "nonstop",
        "please",
    ],
)
def test_other_words_are_left_alone(body: str):
    assert opt_out_word(body) is None


@given(st.binary(max_size=200), st.text(max_size=50))
def test_no_body_breaks_the_parser(body: bytes, query: str):
    prefix = b"MessageSid=SM1&MessageStatus=failed&From=%2B1&To=%2B2&"
    assert parse_status(query, prefix + body).provider == "twilio"
    assert parse_inbound(prefix + body).provider == "twilio"

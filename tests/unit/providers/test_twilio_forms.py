"""The form of each text message, made by column, is the one `urllib` makes of it alone."""

from urllib.parse import parse_qsl, urlencode

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.content import Content, Skeleton
from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.base import Envelope
from comms_pipeline.providers.twilio_send import request_bodies

CALLBACK = "https://mail.acme.example/webhooks/twilio/status"
SENDER = "+15005550006"
# Lone surrogates are no text: Polars has none.
texts = st.text(st.characters(exclude_categories=["Cs"]))
awkward = st.one_of(texts, st.text("%+ &=~.-_*éü😀漢\0\r\n"))
scripts = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x4F00), min_size=30, max_size=60)


def envelope(rows: list[tuple[str, str, str, str]], skeleton: Skeleton, sender: str = "") -> Envelope:
    return Envelope(
        batch_id=1,
        send_id="spring-1",
        organisation_id="acme & co",
        content=Content(campaign_id="spring", parts={"text": skeleton}, sender=sender),
        recipients=pl.DataFrame(
            rows, schema=dict.fromkeys(("message_id", "address", "s0", "s1"), pl.String), orient="row"
        ),
    )


def test_a_form_holds_everything_twilio_is_to_know() -> None:
    sent = envelope([("0a1b", "+1 555", "Zoë & Co", "x")], ("Hi ", 0, "! 100%"))
    assert request_bodies(sent, channel=Channel.SMS, sender=SENDER, callback_url=CALLBACK) == [
        b"To=%2B1+555&From=%2B15005550006&Body=Hi+Zo%C3%AB+%26+Co%21+100%25&StatusCallback="
        b"https%3A%2F%2Fmail.acme.example%2Fwebhooks%2Ftwilio%2Fstatus%3Fmessage%3D0a1b%26org%3Dacme%2B%2526%2Bco"
    ]


def test_a_messaging_service_goes_by_its_own_name() -> None:
    service = "MG" + "a" * 32
    [form] = request_bodies(
        envelope([("1", "+1", "", "")], ("Hi",), service),
        channel=Channel.SMS,
        sender=SENDER,
        callback_url=CALLBACK,
    )
    told = dict(parse_qsl(form.decode()))
    assert (told["MessagingServiceSid"], told["Body"], "From" in told) == (service, "Hi", False)


def test_no_recipients_make_no_forms() -> None:
    assert (
        request_bodies(envelope([], ("Hi ", 0)), channel=Channel.SMS, sender=SENDER, callback_url=CALLBACK)
        == []
    )


@given(
    rows=st.lists(st.tuples(awkward, awkward, awkward | scripts, texts), min_size=1, max_size=4),
    skeleton=st.lists(st.one_of(awkward, st.sampled_from([0, 1])), max_size=5).map(tuple),
    sender=st.sampled_from(["", "MGM Grand", "+1 & 2"]),
)
def test_forms_are_those_of_urlencode_whatever_the_texts(
    rows: list[tuple[str, str, str, str]], skeleton: Skeleton, sender: str
) -> None:
    expected = []
    for message_id, address, *slots in rows:
        query = urlencode({"message": message_id, "org": "acme & co"})
        body = "".join(slots[piece] if isinstance(piece, int) else piece for piece in skeleton)
        form = {
            "To": address,
            "From": sender or SENDER,
            "Body": body,
            "StatusCallback": f"{CALLBACK}?{query}",
        }
        expected.append(urlencode(form).encode())
    sent = envelope(rows, skeleton, sender)
    assert request_bodies(sent, channel=Channel.SMS, sender=SENDER, callback_url=CALLBACK) == expected

"""The form of each WhatsApp message: prefixed numbers, and Content variables as the JSON that orjson makes."""

from urllib.parse import parse_qsl, urlencode

import orjson
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.content import Content, Skeleton, variable_part
from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.base import Envelope
from comms_pipeline.providers.twilio_send import request_bodies

CALLBACK = "https://mail.acme.example/webhooks/twilio/status"
SENDER, SERVICE, TEMPLATE = "+15005550006", "MG" + "a" * 32, "HX" + "b" * 32
# Lone surrogates are no text: Polars has none.
texts = st.text(st.characters(exclude_categories=["Cs"]))
awkward = st.one_of(texts, st.text('%+ &"\\/\b\f\n\r\t\0\x1f\x7f\u2028{}:,é😀u00'))


def envelope(
    rows: list[tuple[str, str, str, str]], parts: dict[str, Skeleton], content_sid: str = ""
) -> Envelope:
    return Envelope(
        batch_id=1,
        send_id="spring-1",
        organisation_id="acme",
        content=Content(campaign_id="spring", parts=parts, sender="", content_sid=content_sid),
        recipients=pl.DataFrame(
            rows, schema=dict.fromkeys(("message_id", "address", "s0", "s1"), pl.String), orient="row"
        ),
    )


def told(sent: Envelope, sender: str = SENDER) -> list[dict[str, str]]:
    bodies = request_bodies(sent, channel=Channel.WHATSAPP, sender=sender, callback_url=CALLBACK)
    return [dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict")) for body in bodies]


def test_free_text_goes_from_number_to_number_on_whatsapp() -> None:
    [form] = told(envelope([("1", "+4369912345678", "Zoë\n*Co*", "")], {"text": ("Hi ", 0)}))
    assert form == {
        "To": "whatsapp:+4369912345678",
        "From": "whatsapp:+15005550006",
        "Body": "Hi Zoë\n*Co*",
        "StatusCallback": f"{CALLBACK}?message=1&org=acme",
    }


def test_a_content_template_is_named_and_filled_and_says_nothing_else() -> None:
    parts: dict[str, Skeleton] = {
        variable_part("10"): ("last",),
        variable_part("2"): (0, " & ", 1),
        variable_part("1"): ("due ", 1),
    }
    [form] = told(envelope([("1", "+43", 'say "hi"', "C:\\new")], parts, TEMPLATE))
    assert form == {
        "To": "whatsapp:+43",
        "From": "whatsapp:+15005550006",
        "ContentSid": TEMPLATE,
        "ContentVariables": '{"1":"due C:\\\\new","2":"say \\"hi\\" & C:\\\\new","10":"last"}',
        "StatusCallback": f"{CALLBACK}?message=1&org=acme",
    }


def test_a_template_without_variables_is_sent_without_any() -> None:
    [one, two] = told(envelope([("1", "+43", "", ""), ("2", "+44", "", "")], {}, TEMPLATE))
    assert (one["ContentSid"], "ContentVariables" in one, "Body" in one) == (TEMPLATE, False, False)
    assert two["To"] == "whatsapp:+44"


def test_a_messaging_service_has_no_prefix() -> None:
    [form] = told(envelope([("1", "+43", "", "")], {"text": ("Hi",)}), SERVICE)
    assert (form["MessagingServiceSid"], form["To"], "From" in form) == (SERVICE, "whatsapp:+43", False)


@given(
    rows=st.lists(st.tuples(awkward, awkward, awkward, awkward), min_size=1, max_size=4),
    skeletons=st.lists(
        st.lists(st.one_of(awkward, st.sampled_from([0, 1])), max_size=4).map(tuple), min_size=1, max_size=3
    ),
)
def test_content_variables_are_the_json_of_orjson_whatever_the_texts(
    rows: list[tuple[str, str, str, str]], skeletons: list[Skeleton]
) -> None:
    expected = []
    for message_id, address, *slots in rows:
        variables = {
            str(number): "".join(slots[piece] if isinstance(piece, int) else piece for piece in skeleton)
            for number, skeleton in enumerate(skeletons, start=1)
        }
        form = {
            "To": f"whatsapp:{address}",
            "From": f"whatsapp:{SENDER}",
            "ContentSid": TEMPLATE,
            "ContentVariables": orjson.dumps(variables).decode(),
            "StatusCallback": f"{CALLBACK}?{urlencode({'message': message_id, 'org': 'acme'})}",
        }
        expected.append(urlencode(form).encode())
    parts = {variable_part(str(number)): skeleton for number, skeleton in enumerate(skeletons, start=1)}
    sent = envelope(rows, parts, TEMPLATE)
    assert request_bodies(sent, channel=Channel.WHATSAPP, sender=SENDER, callback_url=CALLBACK) == expected

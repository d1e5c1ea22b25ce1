"""The form of Mailgun's `messages`, and what its answers mean."""

import re
from collections import defaultdict

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.content import Content
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.providers import http
from comms_pipeline.providers.base import Envelope, joined
from comms_pipeline.providers.mailgun_send import multipart, report, request_fields

NONCE = "0a1b2c3d4e5f6071"
OWN_WORDS = ["%recipient%", "%recipient_email%", "%unsubscribe_url%", "recipient%", "unsubscribe_url%"]
# What a variable is made of, in all its pieces: if data could make one, this would.
PIECES = ["%", "%recipient.", "s1", "s1_", "%recipient.s1%", "recipient%", "0a1b2c", "_", "%%"]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=4).map("".join)
VALUES = st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=4)
LITERALS = st.sampled_from([*PIECES, *OWN_WORDS]) | st.text(max_size=8)
SKELETONS = st.lists(LITERALS | st.integers(0, 2), min_size=1, max_size=6).map(tuple)


def envelope(
    count: int = 2, parts: dict[str, tuple[str | int, ...]] | None = None, **columns: list[str]
) -> Envelope:
    content = Content(
        campaign_id="spring",
        parts=parts or {"subject": ("For ", 0), "text": ("Hi ", 0), "html": ("<p>", 0, "</p>")},
        sender="office@acme.example",
        sender_name="Acme, Inc.",
        reply_to="hello@acme.example",
        has_one_click=True,
    )
    frame = pl.DataFrame(
        {
            "message_id": [f"m{number}" for number in range(count)],
            "address": [f"p{number}@x.example" for number in range(count)],
            "s0": [f"person {number}" for number in range(count)],
            "unsubscribe_url": [f"https://acme.example/u/{number}" for number in range(count)],
        }
        | columns
    )
    return Envelope(batch_id=7, send_id="spring-1", organisation_id="acme", content=content, recipients=frame)


def form(sent: Envelope) -> dict[str, list[str]]:
    fields = defaultdict(list)
    for name, value in request_fields(sent, sent.recipients, nonce=NONCE):
        fields[name].append(value)
    return dict(fields)


def answer(status: int, body: object = None, **headers: str) -> http.Answer:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return http.Answer(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=raw
    )


def test_the_form_is_what_the_api_asks_for() -> None:
    fields = form(envelope())
    variables = orjson.loads(fields.pop("recipient-variables")[0])
    assert fields == {
        "from": ['"Acme, Inc." <office@acme.example>'],
        "to": ["p0@x.example", "p1@x.example"],
        "subject": [f"For %recipient.s0_{NONCE}%"],
        "text": [f"Hi %recipient.s0_{NONCE}%"],
        "html": [f"<p>%recipient.s0_{NONCE}%</p>"],
        "o:tag": ["spring", "batch_7"],
        "o:tracking": ["yes"],
        "v:comms_message": [f"%recipient.message_{NONCE}%"],
        "v:comms_org": ["acme"],
        "v:comms_count": ["2"],
        "h:Reply-To": ["hello@acme.example"],
        "h:List-Unsubscribe": [f"<%recipient.unsubscribe_{NONCE}%>"],
        "h:List-Unsubscribe-Post": ["List-Unsubscribe=One-Click"],
    }
    assert variables == {
        f"p{number}@x.example": {
            f"s0_{NONCE}": f"person {number}",
            f"message_{NONCE}": f"m{number}",
            f"unsubscribe_{NONCE}": f"https://acme.example/u/{number}",
        }
        for number in (0, 1)
    }


def test_every_recipient_has_variables_even_without_slots() -> None:
    sent = envelope(parts={"subject": ("Hi",), "text": ("All alike",)})
    (variables,) = form(sent)["recipient-variables"]
    assert set(orjson.loads(variables)) == {"p0@x.example", "p1@x.example"}


def once(text: str, variables: dict[str, str]) -> str:
    """Each variable filled in where it stands; values are not looked through."""
    return re.sub(r"%recipient\.(\w+)%", lambda found: variables.get(found[1], found[0]), text)


def in_turn(text: str, variables: dict[str, str]) -> str:
    """One variable after the other, through what the ones before it filled in."""
    for name, value in variables.items():
        text = text.replace(f"%recipient.{name}%", value)
    return text


@pytest.mark.parametrize("filled", [once, in_turn])
@given(skeleton=SKELETONS, values=VALUES)
def test_whatever_the_data_the_text_arrives_as_it_is_meant(filled, skeleton, values) -> None:
    columns = {f"s{at}": [row[at] for row in values] for at in range(3)}
    sent = envelope(len(values), {"subject": ("x",), "text": skeleton}, **columns)
    fields = form(sent)
    variables = orjson.loads(fields["recipient-variables"][0])
    text = fields.get("text", [""])[0]
    got = [filled(text, variables[address]) for address in sent.recipients["address"]]
    assert got == joined(skeleton, sent.recipients).to_list()


@given(skeleton=SKELETONS)
def test_no_text_of_ours_is_taken_for_a_word_of_mailguns(skeleton) -> None:
    (text,) = form(envelope(1, {"subject": ("x",), "text": (*skeleton, ".")}, s1=[""], s2=[""]))["text"]
    without_ours = re.sub(rf"%recipient\.\w+_{NONCE}%", "%", text)
    assert not [word for word in OWN_WORDS[:3] if word in text or word in without_ours]


def test_a_thousand_recipients_share_one_skeleton() -> None:
    body = multipart(request_fields(envelope(1000), envelope(1000).recipients, nonce=NONCE), boundary=NONCE)
    assert body.count(b"<p>") == 1
    assert body.count(b"@x.example") == 2000


def test_the_form_goes_as_multipart_with_texts_as_they_are() -> None:
    body = multipart([("a", "ü\r\n--x"), ("b", "")], boundary="B")
    assert body == (
        b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xc3\xbc\r\n--x\r\n'
        b'--B\r\nContent-Disposition: form-data; name="b"\r\n\r\n\r\n--B--\r\n'
    )


def test_an_accepted_request_names_all_its_messages() -> None:
    told = report(envelope().recipients, answer(200, {"id": "<1.2@mg.x>", "message": "Queued. Thank you."}))
    assert told.results.rows() == [
        ("m0", "accepted", None, None, "1.2@mg.x"),
        ("m1", "accepted", None, None, "1.2@mg.x"),
    ]
    assert (told.error, told.stop) == (None, None)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "reason"),
    [
        (200, b"<html>", "unknown", None),
        (200, {"message": "Queued. Thank you."}, "unknown", None),
        (302, b"", "unknown", None),
        (
            400,
            {"message": "to parameter is not a valid address. please check documentation"},
            "refused",
            "invalid",
        ),
        (400, {"message": "'to' parameter is not a valid address. please check"}, "refused", "invalid"),
        (400, {"message": "from parameter is not a valid address."}, "refused", "content"),
        (413, {"message": "too large"}, "refused", "content"),
        (408, b"", "deferred", None),
        (429, {"message": "Too many requests"}, "deferred", None),
        (500, b"", "deferred", None),
        (502, b"", "unknown", None),
        (503, b"", "deferred", None),
        (504, b"", "unknown", None),
    ],
)
def test_every_answer_has_its_outcome(status: int, body: object, outcome: str, reason: str | None) -> None:
    told = report(envelope().recipients, answer(status, body))
    assert set(told.results.select("status", "reason", "code").rows()) == {(outcome, reason, str(status))}
    assert (told.stop, told.is_throttled) == (None, status == 429)
    assert told.error == f"Mailgun answered {status}"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"Mailgun Magnificent API"),
        (401, b"Forbidden"),
        (402, b""),
        (403, {"message": "Domain mg.x is not allowed to send: Account disabled"}),
        (404, {"message": "Domain not found: mg.x"}),
        (405, b""),
    ],
)
def test_what_no_message_can_be_blamed_for_stops_the_lane(status: int, body: object) -> None:
    told = report(envelope().recipients, answer(status, body))
    assert set(told.results["status"]) == {"deferred"}
    assert isinstance(told.stop, ProviderMisconfigured)
    assert "COMMS_MAILGUN_DOMAIN" in str(told.stop)


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [("7", {}, 7.0), ("", {"retry-seconds": 60}, 60.0), ("soon", {}, None), ("", {}, None), ("", b"", None)],
)
def test_the_wait_asked_for_is_passed_on(header: str, body: object, seconds: float | None) -> None:
    told = report(envelope().recipients, answer(429, body, Retry_After=header))
    assert told.retry_after_seconds == seconds


def test_what_was_not_sent_is_deferred_and_what_was_not_answered_in_doubt() -> None:
    recipients = envelope().recipients
    assert set(report(recipients, http.NotSent(error="x")).results["status"]) == {"deferred"}
    assert set(report(recipients, http.NoAnswer(error="x")).results["status"]) == {"unknown"}

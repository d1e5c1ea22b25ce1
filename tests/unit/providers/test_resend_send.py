"""The body of Resend's `POST /emails/batch`, and what its answers mean."""

import orjson
import polars as pl
import pytest

from comms_pipeline.domain.content import Content
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.providers import http
from comms_pipeline.providers.base import Envelope
from comms_pipeline.providers.resend_send import report, request_body


def envelope(count: int = 2, batch_id: int = 7, **content: object) -> Envelope:
    values = {
        "campaign_id": "spring",
        "parts": {"subject": ("For ", 0), "text": ("Hi ", 0), "html": ("<p>", 0, "</p>")},
        "sender": "office@acme.example",
        "sender_name": "Acme",
        "reply_to": "hello@acme.example",
        "has_one_click": True,
    }
    frame = pl.DataFrame(
        {
            "message_id": [f"m{number}" for number in range(count)],
            "address": [f"p{number}@x.example" for number in range(count)],
            "s0": [f"person {number}" for number in range(count)],
            "unsubscribe_url": [f"https://acme.example/u/{number}" for number in range(count)],
        }
    )
    return Envelope(
        batch_id=batch_id,
        send_id="spring-1",
        organisation_id="acme",
        content=Content(**values | content),  # type: ignore[arg-type]
        recipients=frame,
    )


def answer(status: int, body: object = None, **headers: str) -> http.Answer:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return http.Answer(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=raw
    )


def test_the_body_is_what_the_api_asks_for() -> None:
    assert orjson.loads(request_body(envelope(1))) == [
        {
            "from": "Acme <office@acme.example>",
            "to": ["p0@x.example"],
            "subject": "For person 0",
            "text": "Hi person 0",
            "html": "<p>person 0</p>",
            "reply_to": "hello@acme.example",
            "headers": {
                "List-Unsubscribe": "<https://acme.example/u/0>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            },
            "tags": [
                {"name": "comms_message", "value": "m0"},
                {"name": "comms_org", "value": "acme"},
                {"name": "comms_campaign", "value": "spring"},
            ],
        }
    ]


def test_the_same_messages_make_the_same_body_in_whatever_batch() -> None:
    assert request_body(envelope(3, batch_id=7)) == request_body(envelope(3, batch_id=8))
    assert request_body(envelope(3)) != request_body(envelope(2))


def test_a_content_without_html_sends_none() -> None:
    plain = envelope(
        1, parts={"subject": ("Hi",), "text": ("Hi ", 0), "html": ()}, reply_to="", has_one_click=False
    )
    (email,) = orjson.loads(request_body(plain))
    assert set(email) == {"from", "to", "subject", "text", "tags"}


@pytest.mark.parametrize(
    ("name", "sender"),
    [
        ("", "office@acme.example"),
        ("Acme, Inc.", "Acme Inc. <office@acme.example>"),
        ('The "Acme" <Team>', "The Acme Team <office@acme.example>"),
        ("Zoë & Söhne", "Zoë & Söhne <office@acme.example>"),
        ("Acme\r\nBcc: x@y.example", "Acme Bcc x y.example <office@acme.example>"),
        (",;", "office@acme.example"),
    ],
)
def test_a_senders_name_loses_what_resend_refuses(name: str, sender: str) -> None:
    (email,) = orjson.loads(request_body(envelope(1, sender_name=name)))
    assert email["from"] == sender


def test_accepted_and_refused_emails_are_told_apart_by_their_places() -> None:
    body = {
        "data": [{"id": "id-0"}, {"id": "id-2"}],
        "errors": [
            {"index": 3, "message": "Missing `subject` field."},
            {"index": 1, "message": "Invalid `to` field. The email address needs to follow …"},
        ],
    }
    told = report(envelope(4), answer(200, body))
    assert told.results.rows() == [
        ("m0", "accepted", None, None, "id-0"),
        ("m1", "refused", "invalid", "validation_error", None),
        ("m2", "accepted", None, None, "id-2"),
        ("m3", "refused", "content", "validation_error", None),
    ]
    assert (told.error, told.stop, told.retry_after_seconds) == (None, None, None)


@pytest.mark.parametrize(
    "body",
    [
        b"OK",
        b"<html>",
        [],
        {},
        {"data": None},
        {"data": [{"id": "only one"}]},
        {"data": [{"id": "1"}, {"id": "2"}, {"id": "3"}]},
        {"data": [{"id": "1"}], "errors": [{"index": 2, "message": "x"}]},
        {"data": [{"id": "1"}], "errors": [{"index": "x", "message": "x"}]},
        {"data": [{"id": "1"}], "errors": [None]},
    ],
)
def test_an_answer_that_does_not_tell_of_each_leaves_all_in_doubt(body: object) -> None:
    told = report(envelope(2), answer(200, body))
    assert set(told.results["status"]) == {"unknown"}
    assert told.error == "Resend answered 200"


@pytest.mark.parametrize(
    ("status", "name", "outcome", "reason"),
    [
        (400, "invalid_idempotency_key", "refused", "content"),
        (409, "invalid_idempotent_request", "refused", "content"),
        (409, "concurrent_idempotent_requests", "unknown", None),
        (413, None, "refused", "content"),
        (422, "validation_error", "refused", "content"),
        (408, None, "deferred", None),
        (429, "rate_limit_exceeded", "deferred", None),
        (500, "application_error", "deferred", None),
        (502, None, "unknown", None),
        (503, None, "deferred", None),
        (504, None, "unknown", None),
        (302, None, "unknown", None),
    ],
)
def test_every_answer_has_its_outcome(
    status: int, name: str | None, outcome: str, reason: str | None
) -> None:
    told = report(envelope(), answer(status, {"name": name} if name else {}))
    assert set(told.results.select("status", "reason", "code").rows()) == {
        (outcome, reason, name or str(status))
    }
    assert (told.stop, told.is_throttled) == (None, status == 429)


@pytest.mark.parametrize(
    ("status", "name", "words"),
    [
        (401, "restricted_api_key", "COMMS_RESEND_API_KEY"),
        (403, "invalid_api_key", "COMMS_RESEND_API_KEY"),
        (403, "validation_error", "domain is verified"),
        (404, "not_found", "COMMS_RESEND_BASE_URL"),
        (429, "daily_quota_exceeded", "quota is used up"),
        (429, "monthly_quota_exceeded", "quota is used up"),
    ],
)
def test_what_no_message_can_be_blamed_for_stops_the_lane(status: int, name: str, words: str) -> None:
    told = report(envelope(), answer(status, {"name": name}))
    assert set(told.results["status"]) == {"deferred"}
    assert isinstance(told.stop, ProviderMisconfigured)
    assert words in str(told.stop)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None), ("", None)])
def test_the_wait_asked_for_is_passed_on(header: str, seconds: float | None) -> None:
    told = report(envelope(), answer(429, {}, Retry_After=header))
    assert told.retry_after_seconds == seconds


def test_what_was_not_sent_is_deferred_and_what_was_not_answered_in_doubt() -> None:
    assert set(report(envelope(), http.NotSent(error="x")).results["status"]) == {"deferred"}
    assert set(report(envelope(), http.NoAnswer(error="x")).results["status"]) == {"unknown"}

"""The body of SendGrid's `mail/send`, and what its answers mean."""

from datetime import UTC, datetime

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comms_pipeline.domain.content import Content
from comms_pipeline.providers import http
from comms_pipeline.providers.base import Envelope, joined
from comms_pipeline.providers.sendgrid_send import SendGrid, report, request_body

NONCE = "0a1b2c3d4e5f"
PIECES = st.lists(st.one_of(st.text(max_size=12), st.integers(0, 2)), min_size=1, max_size=8).map(tuple)
# What a tag is made of, in all its pieces: if data could make one, this would.
TAGGISH = st.text(alphabet="-s012.abcdef", max_size=24) | st.sampled_from(
    ["-s1.", "-s1", "-", "-s1.0a1b2c", ""]
)
VALUES = st.lists(st.tuples(TAGGISH | st.text(max_size=20), TAGGISH, TAGGISH), min_size=1, max_size=4)


def envelope(count: int = 2, **columns: list[str]) -> Envelope:
    content = Content(
        campaign_id="spring",
        parts={"subject": ("For ", 0), "text": ("Hi ", 0), "html": ("<p>", 0, "</p>")},
        sender="office@acme.example",
        sender_name="Acme",
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


def filled(body: dict[str, object], part: str, position: int) -> str:
    """What the recipient at `position` gets, by the provider's plain text replacement."""
    texts = {piece["type"]: piece["value"] for piece in body["content"]}  # type: ignore[attr-defined]
    text = str(body["subject"] if part == "subject" else texts[part])
    personalization = body["personalizations"][position]  # type: ignore[index]
    for tag, value in personalization.get("substitutions", {}).items():
        text = text.replace(tag, value)
    return text


def test_the_body_is_what_the_api_asks_for() -> None:
    body = orjson.loads(request_body(envelope(1), nonce=NONCE))
    assert body == {
        "personalizations": [
            {
                "to": [{"email": "p0@x.example"}],
                "custom_args": {"comms_message": "m0", "comms_org": "acme"},
                "substitutions": {"-s0.0a1b2c3d4e5f-": "person 0"},
                "headers": {
                    "List-Unsubscribe": "<https://acme.example/u/0>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
            }
        ],
        "from": {"email": "office@acme.example", "name": "Acme"},
        "reply_to": {"email": "hello@acme.example"},
        "subject": "For -s0.0a1b2c3d4e5f-",
        "content": [
            {"type": "text/plain", "value": "Hi -s0.0a1b2c3d4e5f-"},
            {"type": "text/html", "value": "<p>-s0.0a1b2c3d4e5f-</p>"},
        ],
        "categories": ["spring", "batch:7"],
        "tracking_settings": {"subscription_tracking": {"enable": False}},
    }


def test_a_thousand_recipients_share_one_skeleton() -> None:
    given_names = [f"person {number} " + "x" * 40 for number in range(1000)]
    body = request_body(envelope(1000, s0=given_names), nonce=NONCE)
    parsed = orjson.loads(body)
    assert len(parsed["personalizations"]) == 1000
    assert body.count(b"<p>") == 1
    assert [filled(parsed, "text/plain", at) for at in (0, 999)] == [
        f"Hi {given_names[0]}",
        f"Hi {given_names[999]}",
    ]


@settings(max_examples=200)
@given(skeleton=PIECES, values=VALUES)
def test_data_is_never_taken_for_a_tag(
    skeleton: tuple[str | int, ...], values: list[tuple[str, str, str]]
) -> None:
    columns = {f"s{slot}": [row[slot] for row in values] for slot in range(3)}
    sent = envelope(len(values), **columns)
    content = Content(campaign_id="c", parts={"subject": skeleton, "text": skeleton}, sender="a@x.example")
    sent = Envelope(batch_id=1, send_id="s", organisation_id="o", content=content, recipients=sent.recipients)
    body = orjson.loads(request_body(sent, nonce=NONCE))
    expected = joined(skeleton, sent.recipients).to_list()
    assert [filled(body, "subject", at) for at in range(len(values))] == expected
    # The API refuses an empty part: it is left out.
    assert bool(body["content"]) == any(piece != "" for piece in skeleton)
    if body["content"]:
        assert [filled(body, "text/plain", at) for at in range(len(values))] == expected


def test_values_of_the_greatest_size_leave_room_for_their_tags() -> None:
    slots = {f"s{slot}": ["x" * 75] for slot in range(100)}
    assert sum(len(values[0]) + 20 for values in slots.values()) == SendGrid.limits.slot_bytes == 9500
    body = orjson.loads(request_body(envelope(1, **slots), nonce=NONCE))
    substitutions = body["personalizations"][0]["substitutions"]
    assert sum(len(tag) + len(value) for tag, value in substitutions.items()) <= 10_000


# What JSON writers get wrong: quotes, backslashes, all control characters, line separators, wide characters.
HOSTILE = st.text(
    alphabet=st.characters(exclude_categories=["Cs"])
    | st.sampled_from([*map(chr, range(32)), *'"\\/<>&{}%', "\x7f", "\u2028", "\u2029", "\ufeff", "😀"]),
    max_size=30,
)


@settings(max_examples=200)
@given(
    rows=st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE, HOSTILE), max_size=5),
    organisation_id=HOSTILE,
    has_one_click=st.booleans(),
    slots=st.integers(0, 2),
)
def test_data_of_any_kind_arrives_as_it_is(
    rows: list[tuple[str, ...]], organisation_id: str, has_one_click: bool, slots: int
) -> None:
    names = ["message_id", "address", "s0", "s1"][: 2 + slots]
    columns = {name: pl.Series([row[at] for row in rows], dtype=pl.String) for at, name in enumerate(names)}
    urls = pl.Series([row[3] for row in rows], dtype=pl.String)
    sent = Envelope(
        batch_id=1,
        send_id="s",
        organisation_id=organisation_id,
        content=Content(
            campaign_id="c", parts={"subject": ("x",)}, sender="a@x.example", has_one_click=has_one_click
        ),
        recipients=pl.DataFrame(columns | {"unsubscribe_url": urls}),
    )
    # One by one, as dictionaries: what the columns must come to.
    expected: list[dict[str, object]] = []
    for row in sent.recipients.iter_rows(named=True):
        personalization: dict[str, object] = {
            "to": [{"email": row["address"]}],
            "custom_args": {"comms_message": row["message_id"], "comms_org": organisation_id},
        }
        if slots:
            personalization["substitutions"] = {f"-s{at}.{NONCE}-": row[f"s{at}"] for at in range(slots)}
        if has_one_click:
            personalization["headers"] = {
                "List-Unsubscribe": f"<{row['unsubscribe_url']}>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            }
        expected.append(personalization)
    assert orjson.loads(request_body(sent, nonce=NONCE))["personalizations"] == expected


def test_a_part_of_a_larger_frame_says_only_its_own() -> None:
    whole = envelope(10)
    part = Envelope(
        batch_id=1,
        send_id="s",
        organisation_id="o",
        content=whole.content,
        recipients=whole.recipients.slice(4, 2),
    )
    personalizations = orjson.loads(request_body(part, nonce=NONCE))["personalizations"]
    assert [each["to"][0]["email"] for each in personalizations] == ["p4@x.example", "p5@x.example"]


def test_an_empty_part_is_left_out() -> None:
    content = Content(
        campaign_id="c", parts={"subject": ("x",), "text": ("", ""), "html": ("y",)}, sender="a@x.example"
    )
    sent = Envelope(
        batch_id=1, send_id="s", organisation_id="o", content=content, recipients=envelope().recipients
    )
    assert orjson.loads(request_body(sent, nonce=NONCE))["content"] == [{"type": "text/html", "value": "y"}]


def answer(status: int, *fields: str | None, **headers: str) -> http.Answer:
    errors = [{"message": "no", "field": field, "help": None} for field in fields]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.Answer(status=status, headers=named, body=orjson.dumps({"errors": errors}))


@pytest.mark.parametrize(
    ("fields", "outcomes"),
    [
        (["personalizations.1.to.0.email"], ["deferred", "refused invalid", "deferred"]),
        (["personalizations.1"], ["deferred", "refused invalid", "deferred"]),
        (["personalizations.2.substitutions"], ["deferred", "deferred", "refused content"]),
        (
            ["personalizations.0.to.0.email", "personalizations.2.headers.x"],
            ["refused invalid", "deferred", "refused content"],
        ),
        (["personalizations.0.to.0.email", "from.email"], ["refused content"] * 3),
        (["subject"], ["refused content"] * 3),
        (["personalizations"], ["refused content"] * 3),
        ([None], ["refused content"] * 3),
        ([], ["refused content"] * 3),
        (["personalizations.3.to.0.email"], ["refused content"] * 3),
    ],
)
def test_whoever_is_at_fault_is_refused_and_the_others_go_again_at_once(
    fields: list[str | None], outcomes: list[str]
) -> None:
    told = report(envelope(3), answer(400, *fields))
    rows = told.results.sort("message_id").select("status", "reason").rows()
    assert [f"{status} {reason or ''}".strip() for status, reason in rows] == outcomes
    assert told.retry_after_seconds == (0.0 if "deferred" in outcomes else None)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"errors": null}', b'{"errors": ["x"]}', b"<html>"])
def test_a_refusal_nobody_can_read_refuses_all(body: bytes) -> None:
    told = report(envelope(2), http.Answer(status=400, headers={}, body=body))
    assert told.results["status"].to_list() == ["refused", "refused"]
    assert told.results["reason"].to_list() == ["content", "content"]


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 502, 504])
def test_an_answer_that_is_neither_yes_nor_no_leaves_all_in_doubt(status: int) -> None:
    assert report(envelope(2), answer(status)).results["status"].to_list() == ["unknown", "unknown"]


def test_the_wait_is_the_providers_own() -> None:
    reset = int(datetime.now(UTC).timestamp()) + 100
    assert report(envelope(1), answer(429, Retry_After="7")).retry_after_seconds == 7.0
    from_reset = report(envelope(1), answer(429, X_RateLimit_Reset=str(reset))).retry_after_seconds
    assert from_reset is not None
    assert 90 < from_reset <= 100
    assert report(envelope(1), answer(429, X_RateLimit_Reset="1")).retry_after_seconds == 1.0
    assert report(envelope(1), answer(429)).retry_after_seconds is None
    assert report(envelope(1), answer(503, X_RateLimit_Reset=str(reset))).retry_after_seconds is None
    assert report(envelope(1), answer(503, Retry_After="soon")).retry_after_seconds is None

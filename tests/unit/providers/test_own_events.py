"""What our own pages land, and how it is read again."""

from datetime import UTC, datetime

import orjson
import pytest

from comms_pipeline.domain.event import EventKind, InvalidEvents
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import TokenClaims
from comms_pipeline.providers.event_parsers import parse_landed
from comms_pipeline.providers.own_events import Hit, hit_body, resubscribe_body, unsubscribe_body

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
CLAIMS = TokenClaims(
    organisation_id="wedding",
    contact_id="c0" * 16,
    channel=Channel.EMAIL,
    message_id="ab" * 16,
    address_key=b"k" * 16,
)


def hit(**changed: object) -> Hit:
    values = {"claims": CLAIMS, "occurred_at": AT, "user_agent": "Firefox", "is_head": False}
    return Hit(**values | {"is_prefetch": False} | changed)


@pytest.mark.parametrize(
    ("name", "kind"), [("unsubscribe", EventKind.UNSUBSCRIBED), ("resubscribe", EventKind.SUBSCRIBED)]
)
def test_a_choice_says_which_message_and_when(name: str, kind: EventKind):
    make = {"unsubscribe": unsubscribe_body, "resubscribe": resubscribe_body}[name]
    (event,) = parse_landed("comms", name, "", make(CLAIMS, AT))
    assert (event.kind, event.raw_kind, event.channel) == (kind, name, Channel.EMAIL)
    assert (event.message_id, event.organisation_id, event.occurred_at) == ("ab" * 16, "wedding", AT)
    assert event.provider_event_id == f"{name}:{'ab' * 16}"
    assert event.raw["contact_id"] == "c0" * 16


def test_an_opt_out_landed_without_a_time_is_read_too():
    (event,) = parse_landed("comms", "unsubscribe", "", unsubscribe_body(CLAIMS))
    assert event.occurred_at is None


@pytest.mark.parametrize(("name", "kind"), [("open", EventKind.OPENED), ("click", EventKind.CLICKED)])
def test_a_hit_says_who_asked_for_what(name: str, kind: EventKind):
    body = hit_body(hit(url="https://example.org/?m=ann@example.com"))
    (event,) = parse_landed("comms", name, "", body)
    assert (event.kind, event.occurred_at, event.user_agent) == (kind, AT, "Firefox")
    assert event.url == "https://example.org/?m=<address>"
    assert event.is_machine is False


@pytest.mark.parametrize("which", ["is_head", "is_prefetch"])
def test_a_head_and_a_prefetch_are_machines(which: str):
    (event,) = parse_landed("comms", "open", "", hit_body(hit(**{which: True})))
    assert event.is_machine is True


def test_two_hits_alike_are_two_events():
    first, second = (parse_landed("comms", "open", "", hit_body(hit()))[0] for _ in range(2))
    assert first.provider_event_id != second.provider_event_id


def test_bodies_hold_ids_only_and_are_small():
    body = hit_body(hit(user_agent="x" * 5000))
    assert len(body) < 900
    assert b"address" not in body
    assert (b"k" * 16) not in body


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{}", b'{"channel": "fax", "message_id": "x"}', b'{"channel": ["email"]}'],
)
@pytest.mark.parametrize("name", ["unsubscribe", "resubscribe", "open", "click"])
def test_what_is_not_ours_is_refused(name: str, body: bytes):
    with pytest.raises(InvalidEvents, match=f"{name} landing: is not one of ours"):
        parse_landed("comms", name, "", body)


def test_a_wrong_time_is_refused():
    entry = orjson.loads(unsubscribe_body(CLAIMS, AT))
    for wrong in ("yesterday", 7):
        with pytest.raises(InvalidEvents):
            parse_landed("comms", "unsubscribe", "", orjson.dumps(entry | {"occurred_at": wrong}))

"""Mailgun's stand-in over HTTP, as its API is documented, and what the adapter makes of its harder answers."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import polars as pl
import pytest
from sending import MAILGUN_DOMAIN, MAILGUN_KEY, SandboxProcess, content, new_send_id, recipients

from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.base import Envelope, Found, Provider, SendReport
from comms_pipeline.providers.registry import Providers

MARGIN = timedelta(minutes=5)
MESSAGES, EVENTS = f"/v3/{MAILGUN_DOMAIN}/messages", f"/v3/{MAILGUN_DOMAIN}/events"
Form = list[tuple[str, str]]
FORM: Form = [
    ("from", "Acme <office@acme.example>"),
    ("to", "quiet@x.example"),
    ("subject", "Hi"),
    ("text", "Hello"),
]


def ask(
    sandbox: SandboxProcess, path: str, form: Form | None = None, key: str = MAILGUN_KEY
) -> tuple[int, Any]:
    headers = {"Authorization": "Basic " + b64encode(f"api:{key}".encode()).decode()}
    url = path if path.startswith("http") else f"http://127.0.0.1:{sandbox.port}{path}"
    data = None if form is None else urlencode(form).encode()
    try:
        with urlopen(Request(url, data, headers=headers), timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        with error:
            body = error.read()
            return error.code, json.loads(body) if body.startswith(b"{") else body


def envelope(*names: str, batch_id: int | None = None, **changes: list[str]) -> Envelope:
    send_id = new_send_id()
    return Envelope(
        batch_id=batch_id or int.from_bytes(send_id[-6:].encode()),
        send_id=send_id,
        organisation_id="acme",
        content=content(Channel.EMAIL),
        recipients=recipients(Channel.EMAIL, list(names), send_id).with_columns(
            **{name: pl.Series(values) for name, values in changes.items()}
        ),
    )


def using(sandbox: SandboxProcess, what: Callable[[Provider], Any], **changes: Any) -> Any:
    async def within() -> Any:
        credentials = {"mailgun_api_key": MAILGUN_KEY, "mailgun_domain": MAILGUN_DOMAIN}
        providers = Providers(sandbox.settings(**credentials | changes))
        async with providers.for_lane("email:mailgun") as provider:
            return await what(provider)

    return asyncio.run(within())


def send(sandbox: SandboxProcess, sent: Envelope, **changes: Any) -> SendReport:
    report: SendReport = using(sandbox, lambda provider: provider.send(sent), **changes)
    return report


def find(sandbox: SandboxProcess, sent: Envelope, since: timedelta = -MARGIN) -> Found | None:
    found: Found | None = using(
        sandbox, lambda provider: provider.find(sent, datetime.now(UTC) + since, datetime.now(UTC) + MARGIN)
    )
    return found


def fates(report: SendReport, sent: Envelope) -> list[str]:
    told = dict(report.results.select("message_id", "status").iter_rows())
    return [told[message_id] for message_id in sent.recipients["message_id"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"from": ""}, "from parameter is missing"),
        ({"from": "Acme"}, "from parameter is not a valid address. please check documentation"),
        ({"to": "nobody"}, "to parameter is not a valid address. please check documentation"),
        ({"text": ""}, "Need at least one of 'text' or 'html' parameters specified"),
        (
            {"v:data": "x" * 16_400},
            "Send options (parameters starting with o:, h:, or v:) are limited to 16 kB total",
        ),
        ({"recipient-variables": "[]"}, "recipient-variables parameter is not a valid JSON object"),
        ({"recipient-variables": "{"}, "recipient-variables parameter is not a valid JSON object"),
        ({"o:tag": "ü"}, "A message has at most 10 tags of 128 ASCII characters"),
        ({"h:X-A": "a\r\nBcc: b"}, "Header values must not hold line breaks"),
    ],
)
def test_a_faulty_form_is_refused(sandbox: SandboxProcess, change: dict[str, str], message: str) -> None:
    form = list((dict(FORM) | change).items())
    assert ask(sandbox, MESSAGES, form) == (400, {"message": message})


def test_a_form_has_recipients_and_at_most_a_thousand(sandbox: SandboxProcess) -> None:
    to = [("to", f"p{number}@x.example") for number in range(1001)]
    assert ask(sandbox, MESSAGES, [FORM[0], *FORM[2:], *to]) == (
        400,
        {"message": "Too many recipients; max is 1000"},
    )
    assert ask(sandbox, MESSAGES, [FORM[0], *FORM[2:]]) == (400, {"message": "to parameter is missing"})


def test_without_recipient_variables_everybody_sees_everybody(sandbox: SandboxProcess) -> None:
    message_id = new_send_id()
    form = [*FORM, ("to", "ann@x.example, Bob <bob@x.example>"), ("v:comms_message", message_id)]
    assert ask(sandbox, MESSAGES, form)[0] == 200
    shown = sandbox.message(message_id)
    assert shown
    assert shown["to"] == "quiet@x.example, ann@x.example, bob@x.example"


def test_the_key_and_the_domain_are_checked(sandbox: SandboxProcess) -> None:
    assert ask(sandbox, MESSAGES, FORM, key="wrong") == (401, b"Forbidden")
    assert ask(sandbox, EVENTS, key="wrong") == (401, b"Forbidden")
    assert ask(sandbox, "/v3/other.example/messages", FORM) == (
        404,
        {"message": "Domain not found: other.example"},
    )
    assert ask(sandbox, f"{MESSAGES}.mime", FORM)[0] == 404
    assert send(sandbox, envelope("ann"), mailgun_domain="other.example").stop is not None


@pytest.mark.parametrize("query", ["", "begin=1", "begin=x&end=1", "begin=1&end=2&limit=301"])
def test_events_that_cannot_be_asked_for_are_refused(sandbox: SandboxProcess, query: str) -> None:
    assert ask(sandbox, f"{EVENTS}?{query}")[0] == 400
    assert ask(sandbox, f"{EVENTS}/nothing")[0] == 404


def test_events_come_in_pages_in_the_order_asked_for(sandbox: SandboxProcess) -> None:
    sent = envelope("ann", "bob", "cem")
    send(sandbox, sent)
    times = f"begin=0&end={datetime.now(UTC).timestamp() + 60:.0f}"
    tag = f"batch_{sent.batch_id}"
    _, first = ask(sandbox, f"{EVENTS}?{times}&tags={tag}&limit=2&event=accepted")
    _, second = ask(sandbox, first["paging"]["next"])
    _, third = ask(sandbox, second["paging"]["next"])
    items = [*first["items"], *second["items"]]
    assert [item["recipient"] for item in items] == sent.recipients["address"].to_list()
    assert [item["user-variables"]["comms_message"] for item in items] == sent.recipients[
        "message_id"
    ].to_list()
    assert {item["message"]["headers"]["to"] for item in items} == set(sent.recipients["address"])
    assert third["items"] == []
    backwards = f"begin={times.partition('end=')[2]}&end=0&tags={tag}&recipient=quiet.cem@x.example"
    _, last = ask(sandbox, f"{EVENTS}?{backwards}")
    assert [item["recipient"] for item in last["items"]] == ["quiet.cem@x.example"]
    assert ask(sandbox, f"{EVENTS}?{times}&tags={tag}&event=opened")[1]["items"] == []


def test_the_bad_addresses_of_many_are_found_by_halving(sandbox: SandboxProcess) -> None:
    names = [f"p{number}" for number in range(100)]
    bad = {13, 14, 77}
    addresses = [f"p{at}@nowhere" if at in bad else f"quiet.p{at}@x.example" for at in range(100)]
    sent = envelope(*names, address=addresses)
    report = send(sandbox, sent)
    assert fates(report, sent) == ["refused" if at in bad else "accepted" for at in range(100)]
    assert set(report.results.filter(status="refused")["reason"]) == {"invalid"}
    accepted = sandbox.accepted(sent.recipients["message_id"])
    assert (len(accepted), {told.times for told in accepted.values()}) == (97, {1})
    found = find(sandbox, sent)
    assert found
    assert found.accepted == {message_id: told.provider_id for message_id, told in accepted.items()}


@pytest.mark.parametrize(
    "address",
    [
        "a@x.example, b@x.example",
        "a@x.example;b@x.example",
        "A <a@x.example>",
        'a"b@x.example',
        "",
        "a\\b@x.example",
    ],
)
def test_what_mailgun_might_take_for_several_addresses_never_leaves(
    sandbox: SandboxProcess, address: str
) -> None:
    sent = envelope("ann", "bob", address=["quiet.ann@x.example", address])
    report = send(sandbox, sent)
    assert fates(report, sent) == ["accepted", "refused"]
    alone = envelope("bob", address=[address])
    assert fates(send(sandbox, alone), alone) == ["refused"]


def test_a_second_message_to_one_address_goes_by_itself(sandbox: SandboxProcess) -> None:
    sent = envelope("ann", "twin", address=["quiet.ann@x.example", "Quiet.Ann@x.example"])
    report = send(sandbox, sent)
    assert fates(report, sent) == ["accepted", "deferred"]
    assert (report.retry_after_seconds, report.error) == (0.0, None)
    twin = replace(sent, recipients=sent.recipients.tail(1))
    assert fates(send(sandbox, twin), twin) == ["accepted"]
    assert len(sandbox.accepted(sent.recipients["message_id"])) == 2


def test_what_is_left_when_its_turn_is_too_far_is_deferred(sandbox: SandboxProcess) -> None:
    turns = iter([0.0, 0.0, 9.0])

    async def pace() -> float:
        return next(turns)

    addresses = ["ann@nowhere", "quiet.bob@x.example", "quiet.cem@x.example", "quiet.dan@x.example"]
    sent = replace(envelope("ann", "bob", "cem", "dan", address=addresses), pace=pace)
    report = send(sandbox, sent)
    assert set(fates(report, sent)) == {"deferred"}
    assert report.retry_after_seconds == 9.0
    assert sandbox.accepted(sent.recipients["message_id"]) == {}


def test_a_fault_after_a_bad_address_is_told_of_each_half(sandbox: SandboxProcess) -> None:
    sent = envelope("ann", "bob", address=["ann@nowhere", "quiet.bob@x.example"])
    sandbox.break_things({"provider": "mailgun", "kind": "slow", "seconds": 0.0, "count": 2})
    sandbox.break_things({"provider": "mailgun", "kind": "status", "code": 503, "count": 1})
    report = send(sandbox, sent)
    assert fates(report, sent) == ["refused", "deferred"]
    assert (report.retry_after_seconds, report.stop) == (None, None)


def test_a_refused_domain_stops_what_is_left_of_a_batch(sandbox: SandboxProcess) -> None:
    sent = envelope("ann", "bob", address=["ann@nowhere", "quiet.bob@x.example"])
    sandbox.break_things({"provider": "mailgun", "kind": "slow", "seconds": 0.0, "count": 1})
    sandbox.break_things({"provider": "mailgun", "kind": "status", "code": 403, "count": 1})
    report = send(sandbox, sent)
    assert fates(report, sent) == ["deferred", "deferred"]
    assert report.stop is not None


def test_a_thousand_messages_are_found_over_many_pages(sandbox: SandboxProcess) -> None:
    sent = envelope(*[f"p{number}" for number in range(1000)])
    assert set(fates(send(sandbox, sent), sent)) == {"accepted"}
    found = find(sandbox, sent)
    assert found
    assert found.accepted.keys() == set(sent.recipients["message_id"])


def test_a_request_that_is_not_listed_in_full_concludes_nothing(sandbox: SandboxProcess) -> None:
    sent = envelope("ann", "bob")
    form = [
        *FORM,
        ("o:tag", f"batch_{sent.batch_id}"),
        ("v:comms_message", sent.recipients["message_id"][0]),
        ("v:comms_count", "2"),
    ]
    assert ask(sandbox, MESSAGES, form)[0] == 200
    assert find(sandbox, sent) is None


def test_beyond_what_mailgun_keeps_only_what_is_found_is_certain(sandbox: SandboxProcess) -> None:
    sent = envelope("ann", "bob")
    assert find(sandbox, sent, since=timedelta(days=-2)) is None
    send(sandbox, sent)
    found = find(sandbox, sent, since=timedelta(days=-2))
    assert found
    assert len(found.accepted) == 2


def test_foreign_messages_under_our_tag_conclude_nothing(sandbox: SandboxProcess) -> None:
    sent = envelope("ann")
    assert ask(sandbox, MESSAGES, [*FORM, ("o:tag", f"batch_{sent.batch_id}")])[0] == 200
    assert find(sandbox, sent) is None


def test_a_reading_that_must_wait_for_its_turn_too_long_concludes_nothing(sandbox: SandboxProcess) -> None:
    async def later() -> float:
        return 1.0

    assert find(sandbox, replace(envelope("ann"), pace=later)) is None

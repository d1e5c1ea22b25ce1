"""Resend's stand-in over HTTP, as its API is documented, and what the adapter makes of its harder answers."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from sending import RESEND_KEY, SandboxProcess, content, new_send_id, recipients

from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.base import Envelope, Found, Provider, SendReport
from comms_pipeline.providers.registry import Providers

MARGIN = timedelta(minutes=5)
Answer = tuple[int, Any, dict[str, str]]


def ask(
    sandbox: SandboxProcess,
    method: str,
    path: str,
    body: Any = None,
    key: str | None = RESEND_KEY,
    **headers: str,
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= {"Authorization": f"Bearer {key}"} if key else {}
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"http://127.0.0.1:{sandbox.port}{path}", data, headers=named, method=method)
    try:
        with urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read()), dict(answer.headers)
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)


def email(message_id: str = "", **changes: Any) -> dict[str, Any]:
    return {
        "from": "Acme <office@acme.example>",
        "to": ["quiet@x.example"],
        "subject": "Hi",
        "text": "Hello",
        "tags": [{"name": "comms_message", "value": message_id or new_send_id()}],
    } | changes


def envelope(*names: str) -> Envelope:
    send_id = new_send_id()
    return Envelope(
        batch_id=1,
        send_id=send_id,
        organisation_id="acme",
        content=content(Channel.EMAIL),
        recipients=recipients(Channel.EMAIL, list(names), send_id),
    )


def using(sandbox: SandboxProcess, what: Callable[[Provider], Any], timeout_seconds: float = 30.0) -> Any:
    async def within() -> Any:
        settings = sandbox.settings(resend_api_key=RESEND_KEY)
        async with Providers(settings, timeout_seconds=timeout_seconds).for_lane("email:resend") as provider:
            return await what(provider)

    return asyncio.run(within())


def send(sandbox: SandboxProcess, sent: Envelope, timeout_seconds: float = 30.0) -> SendReport:
    report: SendReport = using(sandbox, lambda provider: provider.send(sent), timeout_seconds)
    return report


def find(sandbox: SandboxProcess, sent: Envelope, since: timedelta = -MARGIN) -> Found | None:
    found: Found | None = using(
        sandbox, lambda provider: provider.find(sent, datetime.now(UTC) + since, datetime.now(UTC) + MARGIN)
    )
    return found


def ids_of(report: SendReport) -> dict[str, str]:
    return dict(report.results.select("message_id", "provider_message_id").iter_rows())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"from": ""}, "Missing `from` field."),
        ({"from": '"Acme, Inc." <office@acme.example>'}, "Invalid `from` field."),
        ({"to": []}, "Missing `to` field."),
        ({"to": ["nobody"]}, "Invalid `to` field."),
        ({"to": ["a@x.example"] * 51}, "The `to` field takes 50 addresses."),
        ({"reply_to": "nobody"}, "Invalid `reply_to` field."),
        ({"subject": ""}, "Missing `subject` field."),
        ({"text": ""}, "Missing `html` or `text` field."),
        ({"headers": {"X-A": "a\r\nBcc: b"}}, "Each header must be a string without line breaks."),
        ({"tags": [{"name": "a", "value": "batch:7"}]}, "Tags should only contain ASCII letters"),
    ],
)
def test_a_faulty_email_is_refused_with_all_others_or_alone(
    sandbox: SandboxProcess, change: dict[str, Any], message: str
) -> None:
    good = new_send_id()
    batch = [email(**change), email(good)]
    status, body, _ = ask(sandbox, "POST", "/emails/batch", batch)
    assert (status, body["name"]) == (422, "validation_error")
    assert body["message"].startswith(message)
    assert sandbox.message(good) is None
    status, body, _ = ask(sandbox, "POST", "/emails/batch", batch, x_batch_validation="permissive")
    assert (status, len(body["data"]), body["errors"][0]["index"]) == (200, 1, 0)
    assert body["errors"][0]["message"].startswith(message)
    shown = sandbox.message(good)
    assert shown
    assert (shown["id"], shown["sender"]) == (body["data"][0]["id"], "Acme <office@acme.example>")


@pytest.mark.parametrize("batch", [[], [email()] * 101, {}, "x"])
def test_a_batch_has_one_to_a_hundred_emails(sandbox: SandboxProcess, batch: Any) -> None:
    assert ask(sandbox, "POST", "/emails/batch", batch)[0] == 422


@pytest.mark.parametrize(
    ("key", "status", "name"), [(None, 401, "missing_api_key"), ("x", 403, "invalid_api_key")]
)
@pytest.mark.parametrize("path", ["/emails", "/emails/1"])
def test_nothing_is_told_without_the_key(
    sandbox: SandboxProcess, key: str | None, status: int, name: str, path: str
) -> None:
    assert ask(sandbox, "GET", path, key=key)[1]["name"] == name
    told = ask(sandbox, "POST", "/emails/batch", [email()], key=key)
    assert (told[0], told[1]["name"]) == (status, name)


def test_a_key_is_answered_once_and_refused_for_anything_else(sandbox: SandboxProcess) -> None:
    key, batch = new_send_id(), [email("twice-" + new_send_id())]
    first = ask(sandbox, "POST", "/emails/batch", batch, Idempotency_Key=key)
    again = ask(sandbox, "POST", "/emails/batch", batch, Idempotency_Key=key)
    assert first[:2] == again[:2]
    status, body, _ = ask(sandbox, "POST", "/emails/batch", [email()], Idempotency_Key=key)
    assert (status, body["name"]) == (409, "invalid_idempotent_request")
    shown = sandbox.message(batch[0]["tags"][0]["value"])
    assert shown
    assert shown["accepted"] == 1
    status, body, _ = ask(sandbox, "POST", "/emails/batch", batch, Idempotency_Key="x" * 257)
    assert (status, body["name"]) == (400, "invalid_idempotency_key")


def test_the_limit_is_told_in_every_answer(sandbox: SandboxProcess) -> None:
    _, _, headers = ask(sandbox, "GET", "/emails?limit=1")
    assert int(headers["ratelimit-remaining"]) < int(headers["ratelimit-limit"])
    sandbox.break_things({"provider": "resend", "kind": "rate_limit", "requests": 0, "window_seconds": 100})
    status, body, headers = ask(sandbox, "GET", "/emails")
    assert (status, body["name"], headers["ratelimit-remaining"]) == (429, "rate_limit_exceeded", "0")
    assert 1 <= int(headers["retry-after"]) <= 100


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=nobody"])
def test_a_list_that_cannot_be_made_is_refused(sandbox: SandboxProcess, query: str) -> None:
    assert ask(sandbox, "GET", f"/emails?{query}")[0] == 422


def test_what_is_not_there_is_not_found(sandbox: SandboxProcess) -> None:
    status, body, _ = ask(sandbox, "GET", "/emails/none")
    assert (status, body["name"]) == (404, "not_found")
    assert ask(sandbox, "DELETE", "/emails/none")[0] == 405


def test_the_same_messages_sent_again_in_another_batch_are_sent_once(sandbox: SandboxProcess) -> None:
    sent = envelope("ann", "bob")
    first = send(sandbox, sent)
    again = send(sandbox, replace(sent, batch_id=2))
    assert ids_of(again) == ids_of(first)
    assert {accepted.times for accepted in sandbox.accepted(sent.recipients["message_id"]).values()} == {1}


def test_a_killed_sandbox_remembers_its_keys(tmp_path: Path) -> None:
    sent = envelope("ann")
    before = SandboxProcess(tmp_path)
    first = send(before, sent)
    before.stop()
    after = SandboxProcess(tmp_path)
    assert ids_of(send(after, sent)) == ids_of(first)
    assert {accepted.times for accepted in after.accepted(sent.recipients["message_id"]).values()} == {1}
    after.stop()
    assert (tmp_path / "complaints.txt").read_text() == ""


def test_messages_whose_answer_was_lost_can_be_sent_again_without_harm(sandbox: SandboxProcess) -> None:
    sent = envelope("ann", "bob")
    sandbox.break_things({"provider": "resend", "kind": "reset_after_accept", "count": 1})
    assert set(send(sandbox, sent).results["status"]) == {"unknown"}
    again = send(sandbox, sent)
    assert find(sandbox, sent) == Found(accepted=ids_of(again))
    assert {accepted.times for accepted in sandbox.accepted(sent.recipients["message_id"]).values()} == {1}


def test_the_inbox_shows_the_email(sandbox: SandboxProcess) -> None:
    ask(sandbox, "POST", "/emails/batch", [email(subject="Look at me", html="<b>Hello</b>")])
    with urlopen(f"http://127.0.0.1:{sandbox.port}/", timeout=30) as answer:
        page = answer.read().decode()
    assert "Look at me" in page
    key = page.partition("/?key=")[2].partition('"')[0]
    with urlopen(f"http://127.0.0.1:{sandbox.port}/_sandbox/preview/{key}", timeout=30) as answer:
        assert answer.read() == b"<b>Hello</b>"


def test_messages_are_found_behind_many_others_and_among_others_to_the_same_people(
    sandbox: SandboxProcess,
) -> None:
    names = [f"p{number}" for number in range(100)]
    sent, other = envelope(*names[:3]), envelope(*names)
    told = send(sandbox, sent)
    for _ in range(2):
        send(sandbox, envelope(*names))
    found = find(sandbox, sent)
    assert found
    assert found.accepted == ids_of(told)
    assert find(sandbox, other) == Found()


def test_reading_goes_on_after_a_short_wait(sandbox: SandboxProcess) -> None:
    sent = envelope("ann")
    told = send(sandbox, sent)
    rule = {"provider": "resend", "kind": "status", "code": 429, "on": "read", "count": 1}
    sandbox.break_things({**rule, "retry_after": 0})
    assert find(sandbox, sent) == Found(accepted=ids_of(told))
    sandbox.mend()
    sandbox.break_things({**rule, "retry_after": 60})
    assert find(sandbox, sent) is None


def test_beyond_what_resend_keeps_only_what_is_found_is_certain(sandbox: SandboxProcess) -> None:
    sent = envelope("ann", "bob")
    assert find(sandbox, sent, since=timedelta(days=-2)) is None
    told = send(sandbox, sent)
    assert find(sandbox, sent, since=timedelta(days=-2)) == Found(accepted=ids_of(told))


def test_an_email_without_tags_that_may_be_ours_concludes_nothing(sandbox: SandboxProcess) -> None:
    sent = envelope("untagged")
    (address,) = sent.recipients["address"]
    (name,) = sent.recipients["s0"]
    ask(sandbox, "POST", "/emails/batch", [email(to=[address], subject="Another", tags=[])])
    assert find(sandbox, sent) == Found()
    ask(sandbox, "POST", "/emails/batch", [email(to=[address.upper()], subject=f"For {name}", tags=[])])
    assert find(sandbox, sent) is None


def test_a_reading_that_must_wait_for_its_turn_too_long_concludes_nothing(sandbox: SandboxProcess) -> None:
    async def later() -> float:
        return 1.0

    assert find(sandbox, replace(envelope("ann"), pace=later)) is None

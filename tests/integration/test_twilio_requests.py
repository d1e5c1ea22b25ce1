"""Twilio's adapter at servers that answer as tests need it: pace, throttling, and pages that lead elsewhere."""

import asyncio
from datetime import UTC, datetime

import polars as pl
from http_servers import Behaviour, Peer, Server, serving
from sending import ACCOUNT_SID, AUTH_TOKEN, PUBLIC_URL, SENDER, content, new_send_id, recipients

from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.base import Envelope, Found, Pace, SendReport, at_once
from comms_pipeline.providers.twilio_send import Twilio


def answering(*answers: tuple[int, bytes, bytes]) -> Behaviour:
    """Answer requests with these in turn (status, further header fields, body), and the last for ever."""
    left = list(answers)

    async def behave(peer: Peer) -> None:
        while True:
            await peer.request()
            status, fields, body = left[0] if len(left) == 1 else left.pop(0)
            peer.say(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), fields, body))

    return behave


def twilio(server: Server) -> Twilio:
    return Twilio(
        channel=Channel.SMS,
        account_sid=ACCOUNT_SID,
        auth_token=AUTH_TOKEN,
        base_url=server.url,
        sender=SENDER,
        callback_url=PUBLIC_URL,
        connections=1,
    )


def envelope(count: int, pace: Pace = at_once) -> Envelope:
    people = recipients(Channel.SMS, [f"p{number}" for number in range(count)], new_send_id())
    return Envelope(
        batch_id=1,
        send_id="spring-1",
        organisation_id="acme",
        content=content(Channel.SMS),
        recipients=people,
        pace=pace,
    )


def send(behave: Behaviour, sent: Envelope) -> tuple[SendReport, Server]:
    async def run() -> tuple[SendReport, Server]:
        async with serving(behave) as server, twilio(server) as provider:
            return await provider.send(sent), server

    return asyncio.run(run())


def counts(report: SendReport) -> dict[str, int]:
    return dict(report.results["status"].value_counts().iter_rows())


def test_what_would_go_too_late_is_not_tried_and_due_when_its_turn_would_come() -> None:
    turns = iter([0.0, 0.0, 7.5])

    async def pace() -> float:
        return next(turns)

    report, server = send(answering((201, b"", b'{"sid": "SM1"}')), envelope(6, pace))
    assert report.results["status"].to_list() == ["accepted"] * 2 + ["deferred"] * 4
    assert report.retry_after_seconds == 7.5
    assert (report.error, report.stop, report.is_throttled) == (None, None, False)
    assert server.seen.count(b"POST ") == 2


def test_a_429_is_told_as_too_many_requests() -> None:
    report, _ = send(
        answering((429, b"Retry-After: 9\r\n", b'{"code": 20429}'), (201, b"", b'{"sid": "SM1"}')),
        envelope(3),
    )
    assert counts(report) == {"deferred": 1, "accepted": 2}
    assert (report.is_throttled, report.retry_after_seconds) == (True, 9.0)


def test_after_a_configuration_error_nothing_more_is_tried() -> None:
    report, server = send(answering((401, b"", b'{"code": 20003}')), envelope(5))
    assert counts(report) == {"deferred": 5}
    assert server.seen.count(b"POST ") == 1


def test_one_connection_serves_a_whole_batch() -> None:
    report, server = send(answering((201, b"", b'{"sid": "SM1"}')), envelope(50))
    assert counts(report) == {"accepted": 50}
    assert report.results.select(pl.col("provider_message_id").unique()).item() == "SM1"
    assert len(server.connections) == 1


def test_a_next_page_that_would_lead_to_another_host_is_not_followed() -> None:
    async def run() -> tuple[Found | None, bytes]:
        page = b'{"messages": [], "next_page_uri": "@127.0.0.1/elsewhere"}'
        async with serving(answering((200, b"", page))) as server, twilio(server) as provider:
            now = datetime.now(UTC)
            return await provider.find(envelope(1), now, now), server.seen

    found, seen = asyncio.run(run())
    assert found is None
    assert seen.count(b"GET ") == 1

"""Which answers of a server the HTTP client believes, and what it writes: real sockets, servers that misbehave."""

import asyncio

import pytest
from http_servers import (
    OK,
    Behaviour,
    Peer,
    exchange,
    once,
    saying,
    serving,
    session,
    told,
)

from comms_pipeline.providers import http
from comms_pipeline.providers.http import Answer, NoAnswer, Reply

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def dripping(peer: Peer) -> None:
    await peer.request()
    for byte in OK:
        peer.say(bytes([byte]))
        await asyncio.sleep(0.001)


async def resetting_on_request(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def resetting_half_way(peer: Peer) -> None:
    await peer.request()
    peer.say(OK[:40])
    await peer.writer.drain()
    await asyncio.sleep(0.05)
    peer.reset()


def test_a_request_is_written_as_http_has_it_and_nothing_more() -> None:
    async def run() -> bytes:
        async with serving(saying(OK)) as server, session() as client:
            await http.post(
                client, f"{server.url}/v3/mail?x=1#part", data=b"{}", content_type="application/json"
            )
            return server.seen.replace(server.url.removeprefix("http://").encode(), b"HOST")

    assert asyncio.run(run()) == (
        b"POST /v3/mail?x=1 HTTP/1.1\r\nHost: HOST\r\nUser-Agent: comms-pipeline\r\nAccept: */*\r\n"
        b"Accept-Encoding: identity\r\nAuthorization: Basic abc\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )


def test_a_mapping_goes_as_a_form_and_parameters_in_the_query() -> None:
    async def run() -> bytes:
        async with serving(saying(OK)) as server, session() as client:
            await http.post(client, server.url, data={"To": "+1 555", "Body": "é&"})
            await http.get(client, server.url, params={"DateSent>": "2026-01-01"})
            return server.seen

    seen = asyncio.run(run())
    assert (
        b"application/x-www-form-urlencoded\r\nContent-Length: 26\r\n\r\nTo=%2B1+555&Body=%C3%A9%26" in seen
    )
    assert b"GET /?DateSent%3E=2026-01-01 HTTP/1.1\r\n" in seen


def test_header_names_are_found_in_any_case_and_repeated_ones_are_joined() -> None:
    [reply], _ = exchange(
        once(b"HTTP/1.1 200 OK\r\nretry-AFTER: 7\r\nVia: a\r\nvia: b\r\nContent-Length: 0\r\n\r\n")
    )
    assert isinstance(reply, Answer)
    assert reply.headers["Retry-After"] == "7"
    assert reply.headers.get("VIA") == "a, b"
    assert reply.headers.get("X-Message-Id", "none") == "none"
    assert dict(reply.headers) == {"retry-after": "7", "via": "a, b", "content-length": "0"}
    assert len(reply.headers) == 3


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (saying(OK), (200, b"hi")),
        (dripping, (200, b"hi")),
        (saying(CHUNKED, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"), (200, b"abcde")),
        (saying(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK), (200, b"hi")),
        (saying(b"HTTP/1.1 204 No Content\r\n\r\n"), (204, b"")),
        (saying(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"), (302, b"")),
        (saying(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"), (503, b"busy")),
    ],
    ids=["length", "drip", "chunked", "interim", "no content", "redirect", "error"],
)  # fmt: skip
def test_complete_answers_are_taken_and_the_connection_is_kept(
    behave: Behaviour, expected: tuple[int, bytes]
) -> None:
    requests = 1 if behave is dripping else 3
    replies, server = exchange(behave, requests)
    assert [told(reply) for reply in replies] == [expected] * requests
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (OK + OK, b"hi"),
        (OK + b"\x00garbage", b"hi"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi" + OK, b"hi"),
    ],
    ids=["close", "HTTP/1.0", "until close", "second answer", "garbage behind", "answer behind close"],
)
def test_an_answer_that_ends_its_connection_stands_and_the_next_request_takes_another(
    answer: bytes, body: bytes
) -> None:
    replies, server = exchange(once(answer), 2)
    assert [told(reply) for reply in replies] == [(200, body)] * 2
    assert len(server.connections) == 2


def test_an_answer_nobody_asked_for_drops_the_connection() -> None:
    async def too_late(peer: Peer) -> None:
        await peer.request()
        peer.say(OK)
        await peer.writer.drain()
        await asyncio.sleep(0.005)
        peer.say(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
        await peer.request()

    replies, server = exchange(too_late, 2)
    assert [told(reply) for reply in replies] == [(200, b"hi")] * 2
    assert len(server.connections) == 2


@pytest.mark.parametrize(
    "behave",
    [
        resetting_on_request,
        resetting_half_way,
        once(),
        once(b"220 mail.example ESMTP\r\n"),
        once(b"\x16\x03\x01\x02\x00\x01"),
        once(b"<html>\r\n\r\n"),
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        once(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        once(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        once(b"HTTP/1.1 100 Continue\r\n\r\n"),
        once(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nabc"),
    ],
    ids=[
        "reset",
        "reset half way",
        "no answer",
        "SMTP",
        "TLS",
        "HTML",
        "bad chunk",
        "chunks cut",
        "two lengths",
        "length and chunks",
        "interim only",
        "upgrade",
    ],
)
def test_whatever_is_no_complete_answer_is_no_answer(behave: Behaviour) -> None:
    replies, server = exchange(behave, 2)
    assert [told(reply) for reply in replies] == [NoAnswer, NoAnswer]
    assert len(server.connections) == 2


def test_an_answer_cut_at_any_byte_is_no_answer() -> None:
    cuts = iter(range(len(OK)))

    async def cutting(peer: Peer) -> None:
        await peer.request()
        peer.say(OK[: next(cuts)])

    async def run() -> list[Reply]:
        async with serving(cutting) as server, session() as client:
            return [await http.post(client, server.url, data=b"x") for _ in range(len(OK))]

    assert {told(reply) for reply in asyncio.run(run())} == {NoAnswer}


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n", *[b"x" * 1_000_000] * 40],
        [b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 1_000_000] * 17],
        [b"HTTP/1.1 200 OK\r\nX: ", *[b"x" * 100_000] * 4],
        [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n" * 10_000] * 6],
        [b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, OK],
    ],
    ids=["length", "no length", "one field", "many fields", "interim answers"],
)
def test_an_answer_without_measure_is_no_answer(pieces: list[bytes]) -> None:
    async def huge(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            peer.say(piece)
            await peer.writer.drain()

    [reply], _ = exchange(huge)
    assert reply == NoAnswer(error="the answer is too large")


def test_a_large_answer_within_measure_is_taken_whole() -> None:
    body = bytes(range(256)) * 40_000
    [reply], _ = exchange(once(b"HTTP/1.1 200 OK\r\nContent-Length: 10240000\r\n\r\n", body))
    assert told(reply) == (200, body)


def test_an_answer_before_the_request_was_read_stands_and_its_connection_is_not_used_again() -> None:
    async def impatient(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await peer.writer.drain()
        while await peer.reader.read(100_000):
            await asyncio.sleep(0.001)

    async def run() -> tuple[list[Reply], int]:
        async with serving(impatient) as server, session() as client:
            replies = [await http.post(client, server.url, data=b"x" * 30_000_000) for _ in range(2)]
            return replies, len(server.connections)

    replies, connections = asyncio.run(run())
    assert [told(reply) for reply in replies] == [(413, b"")] * 2
    assert connections == 2

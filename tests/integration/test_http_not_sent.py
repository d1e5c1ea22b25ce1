"""Requests the HTTP client never sent: bad addresses and headers, nobody there, TLS that fails. Real sockets."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
from http_servers import (
    OK,
    Certificate,
    Peer,
    Server,
    certificate,
    exchange,
    once,
    saying,
    serving,
    session,
    told,
)
from sending import free_port

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.providers import http
from comms_pipeline.providers.http import Answer, NoAnswer, NotSent, Reply


async def resetting_on_accept(peer: Peer) -> None:
    peer.reset()


def exchange_over_tls(made: Certificate) -> tuple[list[Reply], Server]:
    async def run() -> tuple[list[Reply], Server]:
        # What the loop says of handshakes that clients break off is of no interest.
        asyncio.get_running_loop().set_exception_handler(lambda _, told: None)
        async with serving(saying(OK), made.context) as server, session() as client:
            return [await http.post(client, server.url, data=b"x" * 100_000) for _ in range(2)], server

    return asyncio.run(run())


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "ключ", "a\x7f"])
def test_a_header_that_would_leave_its_line_is_refused_without_naming_its_value(value: str) -> None:
    async def run() -> None:
        http.open_session(connections=1, timeout_seconds=1, headers={"Authorization": value})

    with pytest.raises(ProviderMisconfigured) as refused:
        asyncio.run(run())
    assert "'Authorization'" in str(refused.value)
    assert value not in str(refused.value)


@pytest.mark.parametrize(
    "path",
    ["/a\r\nX: y", "/a b", "/a\nb", "/a\0b", "/é", "/\x7f"],
)
def test_a_url_that_would_leave_its_line_is_not_sent(path: str) -> None:
    async def run() -> tuple[Reply, Answer | None, bytes]:
        async with serving(saying(OK)) as server, session() as client:
            url = f"{server.url}{path}"
            return await http.post(client, url, data=b"x"), await http.get(client, url), server.seen

    reply, answer, seen = asyncio.run(run())
    assert reply == NotSent(error="cannot connect: the URL is malformed")
    assert (answer, seen) == (None, b"")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example@127.0.0.1/",
        "ftp://127.0.0.1/",
        "127.0.0.1/",
        "http:///path",
        "http://127.0.0.1:http/",
        "http://127.0.0.1:99999/",
        "http://[::1/",
        "",
    ],
)
def test_what_is_no_http_address_is_not_sent(url: str) -> None:
    async def run() -> Reply:
        async with session() as client:
            return await http.post(client, url, data=b"x")

    assert asyncio.run(run()) == NotSent(error="cannot connect: the URL is malformed")


def test_where_nobody_listens_or_nobody_can_be_nothing_is_sent() -> None:
    urls = [f"http://127.0.0.1:{free_port()}/", "http://a..b/", f"http://{'a' * 70}.example/"]

    async def run() -> list[Reply]:
        async with session() as client:
            return [await http.post(client, url, data=b"x") for url in urls]

    replies = asyncio.run(run())
    assert [told(reply) for reply in replies] == [NotSent] * 3
    assert replies[0] == NotSent(error="cannot connect: Connection refused")


def test_a_time_out_before_the_connection_is_there_is_not_sent() -> None:
    async def run(port: int) -> Reply:
        async with session(timeout_seconds=0.2) as client:
            return await http.post(client, f"http://127.0.0.1:{port}/", data=b"x")

    with socket.socket() as full, contextlib.ExitStack() as crowd:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):
            # They fill the queue of those waiting to be accepted; further ones get no word at all.
            waiting = crowd.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        reply = asyncio.run(run(full.getsockname()[1]))
    assert reply == NotSent(error="cannot connect: timed out")


def test_a_connection_reset_on_accept_is_not_sent_only_if_the_server_saw_nothing() -> None:
    replies, server = exchange(resetting_on_accept, 20)
    assert {told(reply) for reply in replies} <= {NotSent, NoAnswer}
    assert server.seen == b""


def test_a_server_that_speaks_first_gets_no_request_on_that_connection_or_no_belief() -> None:
    async def greeting(peer: Peer) -> None:
        peer.say(b"220 mail.example ESMTP\r\n")
        await peer.request()

    replies, _ = exchange(greeting, 3)
    assert {told(reply) for reply in replies} <= {NotSent, NoAnswer}


def test_a_self_made_certificate_is_refused_before_a_byte_of_the_request(tmp_path: Path) -> None:
    replies, server = exchange_over_tls(certificate(tmp_path, "127.0.0.1"))
    assert (
        replies
        == [NotSent(error="cannot connect: its certificate is not trusted: self-signed certificate")] * 2
    )
    assert server.seen == b""


def test_a_trusted_certificate_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    replies, server = exchange_over_tls(made)
    assert [told(reply) for reply in replies] == [(200, b"hi")] * 2
    assert len(server.connections) == 1


def test_a_trusted_certificate_of_another_host_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificate(tmp_path, "127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    replies, server = exchange_over_tls(made)
    assert {told(reply) for reply in replies} == {NotSent}
    assert server.seen == b""


def test_plain_http_where_tls_is_spoken_and_the_other_way_round_is_never_an_answer(tmp_path: Path) -> None:
    made = certificate(tmp_path, "127.0.0.1")

    async def run() -> list[Reply]:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: None)
        async with (
            serving(saying(OK), made.context) as secure,
            serving(once(OK)) as plain,
            session(timeout_seconds=0.4) as client,
        ):
            return [
                await http.post(client, secure.url.replace("https", "http"), data=b"x"),
                await http.post(client, plain.url.replace("http", "https"), data=b"x"),
            ]

    assert [told(reply) for reply in asyncio.run(run())] == [NoAnswer, NotSent]

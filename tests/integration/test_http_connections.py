"""The HTTP client's connections: kept, shared, dropped, timed out, closed under it. Real sockets."""

import asyncio
import socket
import threading
import time

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
    silent,
    told,
)

from comms_pipeline.providers import http, http_pool
from comms_pipeline.providers.http import NoAnswer, NotSent, Reply


async def dripping_for_ever(peer: Peer) -> None:
    await peer.request()
    peer.say(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.say(b"X: y\r\n")
        await peer.writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("behave", [silent, dripping_for_ever])
def test_a_time_out_after_the_request_is_no_answer_and_closes_the_connection(behave: Behaviour) -> None:
    async def run() -> Reply:
        async with serving(behave) as server, session(timeout_seconds=0.2) as client:
            reply = await http.post(client, server.url, data=b"x")
            await asyncio.wait_for(server.connections[0].is_closed.wait(), 10)
            return reply

    assert asyncio.run(run()) == NoAnswer(error="timed out waiting for the answer")


def test_one_request_waiting_for_another_does_not_use_up_its_time() -> None:
    async def slow(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(0.2)
            peer.say(OK)

    async def run() -> list[Reply]:
        async with serving(slow) as server, session(connections=1, timeout_seconds=0.5) as client:
            return await asyncio.gather(*(http.post(client, server.url, data=b"x") for _ in range(5)))

    assert [told(reply) for reply in asyncio.run(run())] == [(200, b"hi")] * 5


def test_a_connection_closed_while_idle_is_not_used_again() -> None:
    replies, server = exchange(once(OK), 3)
    assert [told(reply) for reply in replies] == [(200, b"hi")] * 3
    assert len(server.connections) == 3


def test_a_close_that_our_busy_loop_has_not_heard_of_yet_is_noticed() -> None:
    closed = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(10_000)
                    connection.sendall(OK)
                closed.set()

        async def run() -> list[Reply]:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            async with session() as client:
                first = await http.post(client, url, data=b"x")
                # The loop stands still while the server closes, and while the connection rests.
                assert closed.wait(10)
                time.sleep(0.15)
                return [first, await http.post(client, url, data=b"x")]

        thread = threading.Thread(target=serve)
        thread.start()
        replies = asyncio.run(run())
        thread.join()
    assert [told(reply) for reply in replies] == [(200, b"hi")] * 2


def test_a_connection_that_rested_too_long_is_closed_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "IDLE_SECONDS", 0.05)

    async def run() -> tuple[Reply, int]:
        async with serving(saying(OK)) as server, session() as client:
            await asyncio.gather(*(http.post(client, server.url, data=b"x") for _ in range(3)))
            for peer in server.connections:
                await asyncio.wait_for(peer.is_closed.wait(), 10)
            return await http.post(client, server.url, data=b"x"), len(server.connections)

    reply, connections = asyncio.run(run())
    assert told(reply) == (200, b"hi")
    assert connections == 4


def test_a_thousand_requests_share_sixteen_connections_and_each_gets_its_own_answer() -> None:
    async def echo(peer: Peer) -> None:
        while True:
            body = await peer.request()
            await asyncio.sleep(0)
            peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def run() -> tuple[list[Reply], int]:
        async with serving(echo) as server, session(connections=16) as client:
            replies = await asyncio.gather(
                *(http.post(client, server.url, data=b"n%d" % number) for number in range(1000))
            )
            return replies, server.most_open

    replies, most_open = asyncio.run(run())
    assert [told(reply) for reply in replies] == [(200, b"n%d" % number) for number in range(1000)]
    assert most_open == 16


def test_a_cancelled_request_closes_its_connection_and_the_next_one_gets_its_own_answer() -> None:
    async def run() -> tuple[Reply, int]:
        async def slow_first(peer: Peer) -> None:
            if await peer.request() == b"first":
                await peer.reader.read()
                peer.is_closed.set()
            peer.say(OK)

        async with serving(slow_first) as server, session(connections=1) as client:
            first = asyncio.create_task(http.post(client, server.url, data=b"first"))
            while not server.seen:
                await asyncio.sleep(0.001)
            first.cancel()
            second = await http.post(client, server.url, data=b"second")
            await asyncio.wait_for(server.connections[0].is_closed.wait(), 10)
            with pytest.raises(asyncio.CancelledError):
                await first
            return second, len(server.connections)

    reply, connections = asyncio.run(run())
    assert told(reply) == (200, b"hi")
    assert connections == 2


def test_requests_cancelled_at_any_moment_leave_every_connection_to_the_others() -> None:
    async def run() -> list[Reply]:
        async with serving(saying(OK)) as server, session(connections=2) as client:
            for turns in range(60):
                doomed = [asyncio.create_task(http.post(client, server.url, data=b"x")) for _ in range(5)]
                for _ in range(turns):
                    await asyncio.sleep(0)
                for task in doomed:
                    task.cancel()
                await asyncio.gather(*doomed, return_exceptions=True)
            return await asyncio.gather(*(http.post(client, server.url, data=b"x") for _ in range(10)))

    assert [told(reply) for reply in asyncio.run(run())] == [(200, b"hi")] * 10


def test_closing_the_session_ends_what_is_under_way_and_what_waits() -> None:
    async def run() -> list[Reply]:
        async with serving(silent) as server, session(connections=1) as client:
            waiting = [asyncio.create_task(http.post(client, server.url, data=b"x")) for _ in range(2)]
            while not server.seen:
                await asyncio.sleep(0.001)
            await client.close()
            return [*await asyncio.gather(*waiting), await http.post(client, server.url, data=b"x")]

    assert asyncio.run(run()) == [
        NoAnswer(error="the session was closed"),
        NotSent(error="cannot connect: the session is closed"),
        NotSent(error="cannot connect: the session is closed"),
    ]

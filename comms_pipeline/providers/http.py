"""HTTP as sending needs it: an answer, surely not sent, or no answer. Knows no provider."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

REQUEST_TIMEOUT_SECONDS = 30.0
"""Longest wait for one answer."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The provider answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class NotSent:
    """No connection came about: not a byte of the request left."""

    error: str


@dataclass(frozen=True, kw_only=True)
class NoAnswer:
    """Bytes left and nothing conclusive came back: nobody here can know what the provider did."""

    error: str


Reply = Answer | NotSent | NoAnswer


def open_session(
    *, connections: int, timeout_seconds: float, headers: Mapping[str, str]
) -> aiohttp.ClientSession:
    """A pooled session. `timeout_seconds` bounds a whole request; connecting gets 10 s of it at most."""
    return aiohttp.ClientSession(
        # Our pools are per provider: one host each. Idle connections go before servers usually drop them.
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=15),
        timeout=aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=10),
        headers=dict(headers),
        auto_decompress=True,
    )


async def post(
    session: aiohttp.ClientSession,
    url: str,
    *,
    data: bytes | Mapping[str, str],
    content_type: str | None = None,
) -> Reply:
    """POST once, never again. The reply tells an answer from silence from not having reached anybody."""
    headers = {"Content-Type": content_type} if content_type else None
    try:
        # aiohttp repeats a request on a stale connection only for idempotent methods; POST is none.
        async with session.post(url, data=data, headers=headers, allow_redirects=False) as response:
            return Answer(status=response.status, headers=response.headers, body=await response.read())
    except aiohttp.ClientConnectorError as error:
        return NotSent(error=f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}")
    except aiohttp.ConnectionTimeoutError:
        return NotSent(error="cannot connect: timed out")
    except TimeoutError:
        return NoAnswer(error="timed out waiting for the answer")
    except aiohttp.ClientError as error:
        return NoAnswer(error=f"connection broke: {type(error).__name__}")


async def get(
    session: aiohttp.ClientSession, url: str, *, params: Mapping[str, str] | None = None
) -> Answer | None:
    """GET; `None` when no answer came."""
    try:
        async with session.get(url, params=params, allow_redirects=False) as response:
            return Answer(status=response.status, headers=response.headers, body=await response.read())
    except (TimeoutError, aiohttp.ClientError):
        return None

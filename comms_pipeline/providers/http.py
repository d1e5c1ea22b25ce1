"""HTTP/1.1 as sending needs it: an answer, surely not sent, or no answer. Knows no provider.

Every request goes out at most once, over connections that stay open (`http_pool`, `http_connection`). No redirects,
no compression, no cookies, no proxies: variables such as HTTPS_PROXY are not read.
"""

import asyncio
import os
import re
import ssl
from collections.abc import Mapping
from functools import cached_property, lru_cache
from urllib.parse import urlencode, urlsplit

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.providers.http_pool import Origin, Pool
from comms_pipeline.providers.http_replies import Answer, NoAnswer, NotSent, Reply

__all__ = [
    "REQUEST_TIMEOUT_SECONDS",
    "Answer",
    "NoAnswer",
    "NotSent",
    "Reply",
    "Session",
    "get",
    "open_session",
    "post",
]

REQUEST_TIMEOUT_SECONDS = 30.0
"""Longest wait for one answer."""
_FORM = "application/x-www-form-urlencoded"
_DEFAULTS = {"User-Agent": "comms-pipeline", "Accept": "*/*", "Accept-Encoding": "identity"}
_PORTS = {"http": 80, "https": 443}
# RFC 9110, 5.1 and 5.5; our own values need nothing beyond ASCII.
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t -~]*")
# Names beyond ASCII are written in their xn-- form; what stands before an @ would become part of the host.
_URL = re.compile(r"[!-~]+")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(:[0-9]+)?")


class Session:
    """Pooled connections, `connections` at most to each origin. Belongs to the event loop it is made in."""

    def __init__(self, *, connections: int, timeout_seconds: float, headers: Mapping[str, str]) -> None:
        self._connections = connections
        self._timeout_seconds = timeout_seconds
        self._fields = _fields({**_DEFAULTS, **headers})
        self._loop = asyncio.get_running_loop()
        self._pools: dict[tuple[str, str, int], Pool] = {}
        self._is_closed = False
        # Bulk sending asks the same few URLs over and over.
        self._known = lru_cache(maxsize=64)(self._prepared)

    async def ask(
        self,
        method: str,
        url: str,
        body: bytes,
        content_type: str | None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request once, as soon as one of the connections is free. Never raises for what peers do.

        The time-out runs from when its turn comes: waiting behind our own requests is not the provider's doing.
        Raises `ProviderMisconfigured` for a header of this request that would not stay within its line.
        """
        own = _fields(headers).encode("ascii") if headers else b""
        if self._is_closed:
            return NotSent(error="cannot connect: the session is closed")
        try:
            pool, head = self._known(method, url, content_type)
        except ValueError:
            return NotSent(error="cannot connect: the URL is malformed")
        async with pool.slots:
            deadline = self._loop.time() + self._timeout_seconds
            try:
                connection = await pool.take(self._timeout_seconds)
            except OSError as error:
                return NotSent(error=f"cannot connect: {_reason(error)}")
            reply = await connection.ask(b"%b%d\r\n%b\r\n%b" % (head, len(body), own, body), deadline)
            pool.give_back(connection)
            return reply

    async def close(self) -> None:
        """Close every connection and wait for it. Requests under way get `NoAnswer`, later ones `NotSent`."""
        self._is_closed = True
        for pool in self._pools.values():
            await pool.close()

    def _prepared(self, method: str, url: str, content_type: str | None) -> tuple[Pool, bytes]:
        """The pool for a URL, and the head of a request to it up to the length of its body.

        Raises `ValueError` for a URL or type that would not stay within its line, or is none.
        """
        parts = urlsplit(url)
        if not (_URL.fullmatch(url) and parts.scheme in _PORTS and _AUTHORITY.fullmatch(parts.netloc)):
            raise ValueError("malformed")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        key = (parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])
        if key not in self._pools:
            tls = self._tls if parts.scheme == "https" else None
            self._pools[key] = Pool(Origin(host=key[1], port=key[2], tls=tls), self._connections)
        kind = _fields({"Content-Type": content_type}) if content_type else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n{self._fields}{kind}Content-Length: "
        return self._pools[key], head.encode("ascii")

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context


def open_session(*, connections: int, timeout_seconds: float, headers: Mapping[str, str]) -> Session:
    """A pooled session. `timeout_seconds` bounds a request from its turn on; connecting gets 10 s of it at most.

    Raises `ProviderMisconfigured` for a header that would not stay within its line.
    """
    return Session(connections=connections, timeout_seconds=timeout_seconds, headers=headers)


async def post(
    session: Session,
    url: str,
    *,
    data: bytes | Mapping[str, str],
    content_type: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """POST once, never again; a mapping goes as a form. The reply tells an answer from silence from not sent.

    `headers` are of this request alone, beside the session's.
    """
    if not isinstance(data, bytes):
        data, content_type = urlencode(data).encode("ascii"), _FORM
    return await session.ask("POST", url, data, content_type, headers)


async def get(session: Session, url: str, *, params: Mapping[str, str] | None = None) -> Answer | None:
    """GET; `None` when no answer came."""
    query = f"{'&' if '?' in url else '?'}{urlencode(params)}" if params else ""
    reply = await session.ask("GET", url + query, b"", None)
    return reply if isinstance(reply, Answer) else None


def _fields(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if not (_FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(value)):
            # The value is a credential, or holds one.
            raise ProviderMisconfigured(
                f"request header {name!r}",
                "it holds a line break or a character outside ASCII",
                "Correct the credential or setting it is made of",
            )
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _reason(error: OSError) -> str:
    """What went wrong, in the system's words, which name no person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason}"
    if isinstance(error, TimeoutError):
        return "timed out"
    # Event loops word a refused connection each in its own way; the number is the system's. Names have no number.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or type(error).__name__

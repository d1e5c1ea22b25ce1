"""What accounts behind an HTTP API have in common: one session, open as long as the account is. Knows no provider."""

from base64 import b64encode
from types import TracebackType
from typing import Self

from comms_pipeline.providers import http


class HttpAccount:
    """Opens its session with `async with` and closes it afterwards; every request carries the authorization."""

    def __init__(self, *, authorization: str, connections: int, timeout_seconds: float) -> None:
        self._authorization = authorization
        self._connections = connections
        self._timeout_seconds = timeout_seconds
        self._opened: http.Session | None = None

    async def __aenter__(self) -> Self:
        self._opened = http.open_session(
            connections=self._connections,
            timeout_seconds=self._timeout_seconds,
            headers={"Authorization": self._authorization},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened:
            await self._opened.close()

    @property
    def _session(self) -> http.Session:
        assert self._opened is not None, "use `async with`"
        return self._opened


def basic(user: str, password: str) -> str:
    """The `Authorization` of a user and password (RFC 7617)."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def bearer(token: str) -> str:
    """The `Authorization` of a token (RFC 6750)."""
    return f"Bearer {token}"

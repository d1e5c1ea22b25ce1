"""Reading requests and writing JSON answers, alike for both providers. No provider's rules."""

import hmac
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response


class BodyTooLargeError(Exception):
    """The request's body is longer than this endpoint reads."""


class JsonResponse(Response):
    """A JSON answer, written by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body. Raises `BodyTooLargeError` without reading further than the limit."""
    if int(request.headers.get("content-length") or 0) > limit_bytes:
        raise BodyTooLargeError
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise BodyTooLargeError
        chunks.append(chunk)
    return b"".join(chunks)


def content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_authorized(request: Request, expected: str) -> bool:
    """Whether the Authorization header is exactly what is expected, compared in constant time."""
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(), expected.encode())

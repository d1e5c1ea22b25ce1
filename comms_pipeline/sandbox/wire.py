"""Reading requests and writing JSON answers, alike for every provider. No provider's rules."""

import hmac
import re
from typing import Any
from urllib.parse import parse_qsl

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


def form_fields(body: bytes, kind: str) -> list[tuple[str, str]]:
    """The fields of a form in order, from its body and Content-Type. Raises `ValueError` for what is none."""
    if not kind.lower().startswith("multipart/form-data"):
        return parse_qsl(body.decode(), keep_blank_values=True)
    boundary = re.search(r'boundary="?([^";]+)', kind)
    if boundary is None:
        raise ValueError("no boundary")
    delimiter = f"\r\n--{boundary[1]}".encode()
    first, *parts, last = (b"\r\n" + body).split(delimiter)
    if first or not last.startswith(b"--"):
        raise ValueError("cut short")
    fields = []
    for part in parts:
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name is None:
            raise ValueError("a part without a name")
        fields.append((name[1].decode(), value.decode()))
    return fields


def is_authorized(request: Request, expected: str) -> bool:
    """Whether the Authorization header is exactly what is expected, compared in constant time."""
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(), expected.encode())

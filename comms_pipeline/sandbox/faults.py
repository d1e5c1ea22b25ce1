"""Faults on request: connections that break, answers that never come, wrong answers, limits. For tests.

Rules are posted to `/_sandbox/faults` and removed with DELETE. The first rule that applies decides about a
request. By default only sending is disturbed, so that what was sent can still be looked up.
"""

import asyncio
import re
import socket
import struct
from enum import StrEnum
from random import Random
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from comms_pipeline.sandbox.limits import RateLimit, RateLimiter
from comms_pipeline.sandbox.record import Provider


class FaultKind(StrEnum):
    """What goes wrong."""

    RESET_BEFORE = "reset_before"
    """The connection breaks; nothing was accepted."""
    RESET_AFTER_ACCEPT = "reset_after_accept"
    """The connection breaks; the messages were accepted and recorded."""
    TIMEOUT_BEFORE = "timeout_before"
    """No answer for `seconds`, then the connection breaks; nothing was accepted."""
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    """The same; the messages were accepted and recorded."""
    STATUS = "status"
    """The answer is `code`, with Retry-After when `retry_after` is given; nothing was accepted."""
    WRONG_BODY = "wrong_body"
    """A page of HTML with status 200, as a proxy in between would answer; nothing was accepted."""
    SLOW = "slow"
    """The request is served after `seconds`."""
    RATE_LIMIT = "rate_limit"
    """From now on `requests` per `window_seconds`."""


class FaultRule(BaseModel):
    """One rule. Without `count` and `probability` it applies to every request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Provider
    kind: FaultKind
    on: Literal["send", "read", "any"] = "send"
    count: int | None = Field(default=None, ge=1, description="How many requests it strikes.")
    probability: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0
    code: int = Field(default=503, ge=400, le=599)
    retry_after: int | None = Field(default=None, ge=0)
    seconds: float = Field(default=30.0, ge=0, le=3600)
    requests: int = Field(default=10, ge=0)
    window_seconds: float = Field(default=1.0, gt=0)


FAULT_RULES = TypeAdapter(list[FaultRule])
_API = re.compile(
    r"(?P<mailgun>/v3/[^/]*\.[^/]*/(?:messages|events)(?:/|$))|(?P<sendgrid>/v3/)"
    r"|(?P<twilio>/2010-04-01/)|(?P<resend>/emails(?:/|$))"
)
_WRONG_PAGE = b"<html><head><title>OK</title></head><body>It works!</body></html>"


def provider_of(path: str) -> Provider | None:
    """Whose API a path belongs to."""
    match = _API.match(path)
    return Provider(match.lastgroup) if match and match.lastgroup else None


class Faults:
    """The rules in force, the limits among them, and how often each may still strike."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Everything works again."""
        self._rules: list[_Armed] = []
        self.limits = {provider: RateLimiter() for provider in Provider}

    def add(self, rules: list[FaultRule]) -> None:
        for rule in rules:
            if rule.kind is FaultKind.RATE_LIMIT:
                limit = RateLimit(requests=rule.requests, window_seconds=rule.window_seconds)
                self.limits[rule.provider] = RateLimiter(limit)
            else:
                self._rules.append(_Armed(rule))

    def strike(self, provider: Provider, *, is_send: bool) -> FaultRule | None:
        """The rule that strikes a request now, if any."""
        return next((armed.rule for armed in self._rules if armed.strikes(provider, is_send=is_send)), None)


class _Armed:
    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self._left = rule.count
        self._random = Random(rule.seed)  # noqa: S311  (reproducible, not secret)

    def strikes(self, provider: Provider, *, is_send: bool) -> bool:
        rule = self.rule
        if rule.provider is not provider or self._left == 0 or rule.on == ("read" if is_send else "send"):
            return False
        if rule.probability < 1 and self._random.random() >= rule.probability:
            return False
        if self._left is not None:
            self._left -= 1
        return True


class FaultyServer:
    """The outermost ASGI application: lets a rule strike, or passes the request on."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rule = self._rule(scope) if scope["type"] == "http" else None
        if rule is None:
            await self._app(scope, receive, send)
            return
        match rule.kind:
            case FaultKind.SLOW:
                await asyncio.sleep(rule.seconds)
                await self._app(scope, receive, send)
            case FaultKind.STATUS:
                await _answer(send, rule.code, _refusal(rule), _retry_after(rule))
            case FaultKind.WRONG_BODY:
                await _answer(send, 200, _WRONG_PAGE, [(b"content-type", b"text/html")])
            case FaultKind.RESET_BEFORE:
                await _reset(receive)
            case FaultKind.TIMEOUT_BEFORE:
                await asyncio.sleep(rule.seconds)
                await _reset(receive)
            case _:
                await self._strike_after_accept(rule, scope, receive, send)

    def _rule(self, scope: Scope) -> FaultRule | None:
        path: str = scope["path"]
        provider = provider_of(path)
        if provider is None:
            return None
        # SendGrid's logs are asked by POST.
        is_send = scope["method"] == "POST" and path != "/v3/logs"
        return self._faults.strike(provider, is_send=is_send)

    async def _strike_after_accept(self, rule: FaultRule, scope: Scope, receive: Receive, send: Send) -> None:
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._app(scope, receive, keep)
        if answer[0]["status"] >= 300:
            for message in answer:
                await send(message)
            return
        if rule.kind is FaultKind.TIMEOUT_AFTER_ACCEPT:
            await asyncio.sleep(rule.seconds)
        await _reset(receive)


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _refusal(rule: FaultRule) -> bytes:
    message = "Too many requests" if rule.code == 429 else "The service had a fault on request"
    match rule.provider:
        case Provider.SENDGRID:
            return orjson.dumps({"errors": [{"message": message.lower(), "field": None, "help": None}]})
        case Provider.TWILIO:
            code = {429: 20429, 500: 20500, 503: 20503}.get(rule.code, 20000 + rule.code)
            more_info = f"https://www.twilio.com/docs/errors/{code}"
            body = {"code": code, "message": message, "more_info": more_info, "status": rule.code}
            return orjson.dumps(body)
        case Provider.RESEND:
            name = "rate_limit_exceeded" if rule.code == 429 else "application_error"
            return orjson.dumps({"statusCode": rule.code, "name": name, "message": message})
        case Provider.MAILGUN:
            return orjson.dumps({"message": message})


def _retry_after(rule: FaultRule) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", b"application/json")]
    if rule.retry_after is not None:
        headers.append((b"retry-after", str(rule.retry_after).encode()))
    return headers


async def _reset(receive: Receive) -> None:
    """Break the connection without an answer. ASGI has no word for it, so uvicorn's transport is asked."""
    transport: asyncio.Transport = receive.__self__.transport  # type: ignore[attr-defined]
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass  # what was still on its way in

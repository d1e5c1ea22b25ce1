"""What every answer has in common: size limit, security headers, errors without a word too much.

Knows no route. Nothing here, or in any handler, logs a body, an address, a query or a path with a token.
"""

import logging
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import psycopg
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.event import InvalidEvents
from comms_pipeline.domain.links import PATHS
from comms_pipeline.web.languages import Languages, Texts

MAX_BODY_BYTES = 5_000_000
"""SendGrid posts at most 768 kB at a time, Twilio a few."""

_PAGES = tuple(PATHS.values())
"""Paths that people open in a browser: their errors are pages, not JSON."""

_TEMPLATES = Path(__file__).parent / "templates"
_log = logging.getLogger(__name__)


async def limited_body(request: Request) -> bytes:
    """The raw body. Answers 413 as soon as it grows beyond `MAX_BODY_BYTES`, without reading on."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"the body is larger than {MAX_BODY_BYTES:,} bytes")
    return bytes(body)


LimitedBody = Annotated[bytes, Depends(limited_body)]


class Pages:
    """Renders the pages people see: no script, no image, one inline style allowed by its hash."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
        )
        self._style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
        self._languages = Languages()

    @property
    def content_security_policy(self) -> str:
        """The policy under which the pages work, and nothing else does."""
        style = b64encode(sha256(self._style.encode()).digest()).decode()
        return (
            f"default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; "
            "frame-ancestors 'none'; base-uri 'none'"
        )

    def texts(self, request: Request) -> Texts:
        """What the page says, in the visitor's language."""
        return self._languages.of(request)

    def answer(self, name: str, texts: Texts, status: int = 200, **values: object) -> HTMLResponse:
        """The page `name`.html in the language of `texts`, with `values` filled in."""
        page = self._environment.get_template(f"{name}.html").render(
            style=self._style, t=texts, languages=self._languages.names, **values
        )
        return HTMLResponse(page, status, headers={"content-language": texts.language})


class SecureAnswers:
    """ASGI middleware: security headers on every answer, and a plain 500 for what nobody foresaw."""

    def __init__(self, app: ASGIApp, content_security_policy: str) -> None:
        self._app = app
        self._headers = {
            "content-security-policy": content_security_policy,
            "x-content-type-options": "nosniff",
            # The address of a page of somebody's is a credential.
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
            "x-robots-tag": "noindex, nofollow",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; see the class."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        has_started = False

        async def send_secured(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        try:
            await self._app(scope, receive, send_secured)
        except ClientDisconnect:
            _log.info("a client hung up in the middle of its request")
        except Exception as error:
            if has_started:
                raise
            # The text of an exception may quote personal data; its class and place do not.
            _log.error("unforeseen %s at %s", type(error).__qualname__, _place(error))
            await _refusal(500, "something went wrong here")(scope, receive, send_secured)


def install_error_answers(app: FastAPI, pages: Pages) -> None:
    """Make every refusal `{"error": …}`, or a page where people look, each with its right status."""

    def answer(request: Request, status: int, text: str) -> Response:
        if not request.url.path.startswith(_PAGES):
            return _refusal(status, text)
        kind = "failed" if status >= 500 else "missing" if status == 404 else "refused"
        return pages.answer("error", pages.texts(request), status, kind=kind)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        response = answer(request, error.status_code, error.detail)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, _error: RequestValidationError) -> Response:
        return answer(request, 422, "the request does not have the documented form")

    @app.exception_handler(InvalidEvents)
    def unreadable(request: Request, error: InvalidEvents) -> Response:
        _log.warning("refused a signed webhook: %s", error)
        return answer(request, 400, f"the body {error.problem}")

    @app.exception_handler(ProviderMisconfigured)
    def misconfigured(request: Request, error: ProviderMisconfigured) -> Response:
        _log.error("cannot verify a webhook: %s", error)
        return answer(request, 503, "this receiver is not configured")

    @app.exception_handler(psycopg.Error)
    def not_stored(request: Request, error: psycopg.Error) -> Response:
        _log.error(
            "nothing stored, the sender must try again: %s %s", type(error).__qualname__, error.sqlstate
        )
        return answer(request, 503, "the database does not answer, try again")


def _refusal(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)


def _place(error: BaseException) -> str:
    """`file.py:line` of the innermost frame."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return (
        f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else "an unknown place"
    )

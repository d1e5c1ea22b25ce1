"""What every answer has in common: size limit, security headers, errors without a word too much.

Knows no route. Nothing here, or in any handler, logs a body, an address, a query or a path with a token.
"""

import logging
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, NamedTuple

import psycopg
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.event import InvalidEvents
from comms_pipeline.domain.links import PATHS
from comms_pipeline.web.languages import Languages, Texts

MAX_BODY_BYTES = 5_000_000
"""Of requests that say nothing else."""

_PAGES = tuple(PATHS.values())
"""Paths that people open in a browser: their errors are pages, not JSON."""

_TEMPLATES = Path(__file__).parent / "templates"
_log = logging.getLogger(__name__)


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The raw body. Answers 413 as soon as it grows beyond `most_bytes`, or says that it will, without reading on."""
    too_large = HTTPException(413, f"the body is larger than {most_bytes:,} bytes")
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > most_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise too_large
    return bytes(body)


async def limited_body(request: Request) -> bytes:
    """The raw body, of at most `MAX_BODY_BYTES`."""
    return await read_body(request, MAX_BODY_BYTES)


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
        self._headers = [
            (b"content-security-policy", content_security_policy.encode("latin-1")),
            (b"x-content-type-options", b"nosniff"),
            # The address of a page of somebody's is a credential.
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-store"),
            (b"x-robots-tag", b"noindex, nofollow"),
        ]
        self._names = {name for name, _ in self._headers}

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
                others = [pair for pair in message.get("headers", ()) if pair[0] not in self._names]
                message["headers"] = others + self._headers
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
            await Refusal(500, "something went wrong here").response()(scope, receive, send_secured)


class Refusal(NamedTuple):
    """How a request is refused."""

    status: int
    text: str
    headers: Mapping[str, str] | None = None

    def response(self) -> Response:
        """The answer to a program."""
        return JSONResponse({"error": self.text}, self.status, dict(self.headers or {}))


def refusal_of(error: Exception) -> Refusal | None:
    """How a request is refused that ended in this error, and a line in the log where somebody must know.

    None for what nobody foresaw.
    """
    match error:
        case HTTPException():
            return Refusal(error.status_code, error.detail, error.headers)
        case RequestValidationError():
            return Refusal(422, "the request does not have the documented form")
        case InvalidEvents():
            _log.warning("refused a signed webhook: %s", error)
            return Refusal(400, f"the body {error.problem}")
        case ProviderMisconfigured():
            _log.error("cannot verify a webhook: %s", error)
            return Refusal(503, "this receiver is not configured")
        case psycopg.Error():
            what = type(error).__qualname__
            _log.error("nothing stored, the sender must try again: %s %s", what, error.sqlstate)
            return Refusal(503, "the database does not answer, try again")
    return None


def install_error_answers(app: FastAPI, pages: Pages) -> None:
    """Make every refusal `{"error": …}`, or a page where people look, each with its right status."""

    def answer(request: Request, error: Exception) -> Response:
        refusal = refusal_of(error)
        assert refusal is not None
        if not request.url.path.startswith(_PAGES):
            return refusal.response()
        kind = "failed" if refusal.status >= 500 else "missing" if refusal.status == 404 else "refused"
        response = pages.answer("error", pages.texts(request), refusal.status, kind=kind)
        response.headers.update(refusal.headers or {})
        return response

    for kind in (HTTPException, RequestValidationError, InvalidEvents, ProviderMisconfigured, psycopg.Error):
        app.add_exception_handler(kind, answer)


def _place(error: BaseException) -> str:
    """`file.py:line` of the innermost frame."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return (
        f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else "an unknown place"
    )

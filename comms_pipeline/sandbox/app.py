"""Puts the sandbox together as one ASGI application, for one uvicorn process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from comms_pipeline.sandbox.config import SandboxConfig
from comms_pipeline.sandbox.faults import Faults, FaultyServer
from comms_pipeline.sandbox.poster import Poster
from comms_pipeline.sandbox.record import Record
from comms_pipeline.sandbox.sendgrid import SendGridApi, error
from comms_pipeline.sandbox.text_rules import Refusal
from comms_pipeline.sandbox.truth import TruthApi
from comms_pipeline.sandbox.twilio import TwilioApi
from comms_pipeline.sandbox.wire import JsonResponse


def create_sandbox(config: SandboxConfig) -> ASGIApp:
    """The sandbox as an ASGI application. Its record opens and its recipients act while it serves.

    Starting fails with `RecordInUseError` while another sandbox uses the folder.
    """
    faults = Faults()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        record = Record(config.folder)
        try:
            poster = Poster(config, record)
            try:
                app.routes.extend(SendGridApi(config, record, poster, faults).routes())
                app.routes.extend(TwilioApi(config, record, poster, faults).routes())
                app.routes.extend(TruthApi(record, poster, faults).routes())
                yield
            finally:
                await poster.close()
        finally:
            record.close()

    app = Starlette(lifespan=lifespan, exception_handlers={HTTPException: _not_served})
    return FaultyServer(app, faults)


async def _not_served(request: Request, exception: Exception) -> Response:
    """404 and 405 in the shape of the API that was asked."""
    status = exception.status_code if isinstance(exception, HTTPException) else 500
    path = request.url.path
    if path.startswith("/v3/"):
        return error(status, {404: "Not Found", 405: "Method Not Allowed"}.get(status, "error"))
    if path.startswith("/2010-04-01/"):
        return JsonResponse({**Refusal(20404, path).body, "status": status}, status_code=status)
    return PlainTextResponse("Not found", status_code=status)

"""Puts the sandbox together as one ASGI application, for one uvicorn process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from comms_pipeline.sandbox.config import SandboxConfig
from comms_pipeline.sandbox.faults import Faults, FaultyServer, provider_of
from comms_pipeline.sandbox.mailgun import MailgunApi
from comms_pipeline.sandbox.mailgun import error as mailgun_error
from comms_pipeline.sandbox.poster import Poster
from comms_pipeline.sandbox.record import Provider, Record
from comms_pipeline.sandbox.resend import ResendApi
from comms_pipeline.sandbox.resend import error as resend_error
from comms_pipeline.sandbox.sendgrid import SendGridApi
from comms_pipeline.sandbox.sendgrid import error as sendgrid_error
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
                if config.resend_api_key:
                    app.routes.extend(ResendApi(config, record, poster, faults).routes())
                if config.mailgun_api_key and config.mailgun_domain:
                    app.routes.extend(MailgunApi(config, record, poster, faults).routes())
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
    words = {404: "Not Found", 405: "Method Not Allowed"}.get(status, "error")
    match provider_of(path):
        case Provider.SENDGRID:
            return sendgrid_error(status, words)
        case Provider.TWILIO:
            return JsonResponse({**Refusal(20404, path).body, "status": status}, status_code=status)
        case Provider.RESEND:
            return resend_error(status, words.lower().replace(" ", "_"), words)
        case Provider.MAILGUN:
            return mailgun_error(status, words)
        case None:
            return PlainTextResponse("Not found", status_code=status)

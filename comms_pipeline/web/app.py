"""Assembles the web app. Routes live in their modules; starting a server is the command line's work.

Serve it without an access log: the path of a link is a credential.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from psycopg_pool import ConnectionPool
from starlette.concurrency import run_in_threadpool

from comms_pipeline.ledger.feeds import Watermark
from comms_pipeline.ledger.server import Server
from comms_pipeline.settings import Settings
from comms_pipeline.web.answers import Pages, SecureAnswers, install_error_answers
from comms_pipeline.web.confirmation import Confirmation
from comms_pipeline.web.events_api import EventsApi
from comms_pipeline.web.health import Health
from comms_pipeline.web.hits import Hits
from comms_pipeline.web.preferences import Preferences
from comms_pipeline.web.receivers.all import Receivers
from comms_pipeline.web.receivers.gate import Gate
from comms_pipeline.web.tracking import Tracking
from comms_pipeline.web.unsubscribe import Unsubscribe

_MAX_CONNECTIONS = 8
_CONNECTION_TIMEOUT_SECONDS = 5.0


def create_app(
    settings: Settings, server: Server, landing_watermark: Callable[[], Watermark] | None = None
) -> FastAPI:
    """The app over the ledger of `server`; its connections open with the app's lifespan and close with it.

    `landing_watermark` lets `/health` see how far the lake is behind. Raises `InvalidSettings` without a
    secret key: every link would be forgeable.
    """
    keys = settings.token_keys
    pages = Pages()
    pool = ConnectionPool(
        server.conninfo(),
        min_size=1,
        max_size=_MAX_CONNECTIONS,
        timeout=_CONNECTION_TIMEOUT_SECONDS,
        check=ConnectionPool.check_connection,
        open=False,
        name="web",
    )

    hits = Hits(server, settings.home / "spool")
    receivers = Receivers(settings, pool, server.conninfo())

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # Not waiting for the database: the app answers 503 without it and recovers by itself.
        pool.open(wait=False)
        receivers.open()
        try:
            async with hits:
                yield
        finally:
            await receivers.close()
            await run_in_threadpool(pool.close)

    app = FastAPI(
        title="comms-pipeline",
        version=version("comms-pipeline"),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Gate, endpoints=receivers.endpoints())
    app.add_middleware(SecureAnswers, content_security_policy=pages.content_security_policy)
    install_error_answers(app, pages)
    app.include_router(receivers.router())
    app.include_router(Unsubscribe(keys, pool, pages).router())
    app.include_router(Preferences(keys, pool, pages).router())
    app.include_router(Confirmation(keys, pool, pages).router())
    app.include_router(Tracking(keys, hits.add, settings.public_url, settings.secret_key).router())
    app.include_router(EventsApi(settings.events_key, settings.secret_key, pool).router())
    app.include_router(Health(pool, landing_watermark).router())
    return app

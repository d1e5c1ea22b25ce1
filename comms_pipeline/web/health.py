"""Is this web app able to do its duty? For load balancers, monitors and people. Changes nothing."""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import psycopg
from fastapi import APIRouter
from psycopg_pool import ConnectionPool
from starlette.responses import JSONResponse

from comms_pipeline.ledger.feeds import Watermark
from comms_pipeline.ledger.landing import oldest_waiting_seconds

MAX_BACKLOG_SECONDS = 900.0
"""Landed events older than this and not in the lake yet: the loader does not keep up or does not run."""
_DATABASE_TIMEOUT_SECONDS = 2.0
_log = logging.getLogger(__name__)


class Status(StrEnum):
    """How well. Only CRITICAL is a 503: a slow loader is no reason to turn webhooks and opt-outs away."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"


_WORST_FIRST = (Status.CRITICAL, Status.WARNING, Status.HEALTHY)


class Health:
    """The `/health` endpoint. `landing_watermark` tells how far the lake has loaded the landed events."""

    def __init__(self, pool: ConnectionPool, landing_watermark: Callable[[], Watermark] | None) -> None:
        self._pool = pool
        self._landing_watermark = landing_watermark

    def router(self) -> APIRouter:
        """The route, for the app to include."""
        router = APIRouter(tags=["health"])
        router.get("/health")(self.health)
        router.head("/health", include_in_schema=False)(self.health)
        return router

    def health(self) -> JSONResponse:
        """200 while webhooks and opt-outs can be stored, 503 when not; what was checked in either case."""
        checks: dict[str, dict[str, Any]] = {}
        try:
            with self._pool.connection(timeout=_DATABASE_TIMEOUT_SECONDS) as connection:
                connection.execute("select 1 from landing limit 1")
                checks["database"] = {"status": Status.HEALTHY}
                if self._landing_watermark is not None:
                    checks["landing"] = self._backlog(connection, self._landing_watermark)
        except psycopg.Error as error:
            _log.error("health: the database does not answer: %s", type(error).__qualname__)
            checks["database"] = {"status": Status.CRITICAL}
        found = {check["status"] for check in checks.values()}
        status = next(status for status in _WORST_FIRST if status in found)
        return JSONResponse({"status": status, "checks": checks}, 503 if status is Status.CRITICAL else 200)

    def _backlog(
        self, connection: psycopg.Connection, landing_watermark: Callable[[], Watermark]
    ) -> dict[str, Any]:
        try:
            watermark = landing_watermark()
        except Exception as error:
            # Whatever ails the lake, the ledger goes on receiving.
            _log.warning("health: the lake's watermark cannot be read: %s", type(error).__qualname__)
            return {"status": Status.WARNING, "oldest_waiting_seconds": None}
        age_seconds = oldest_waiting_seconds(connection, watermark)
        status = Status.WARNING if age_seconds > MAX_BACKLOG_SECONDS else Status.HEALTHY
        return {"status": status, "oldest_waiting_seconds": round(age_seconds, 1)}

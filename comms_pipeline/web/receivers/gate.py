"""Hands webhooks to their receivers without the way through FastAPI, which takes longer than all that they do."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from comms_pipeline.web.answers import refusal_of

Endpoint = Callable[[Request], Awaitable[Response]]


class Gate:
    """ASGI middleware. `endpoints` take the POSTs to their paths; all else goes on its way."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, Endpoint]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or pass on; what nobody foresaw is raised."""
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        endpoint = self._endpoints.get(scope["path"]) if is_post else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await endpoint(Request(scope, receive, send))
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            response = refusal.response()
        await response(scope, receive, send)

"""`POST /events`: business events from shops and CRMs. Checked and landed durably before the 202; loading is later.

One fault refuses the whole request: nothing of it is stored, and the sender can correct it and send all of it again.
"""

import hmac
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
from fastapi import APIRouter, Depends, Request
from psycopg_pool import ConnectionPool
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from comms_pipeline.domain.business_event import MAX_EVENTS, BusinessEvent, read_event, unknown_organisation
from comms_pipeline.domain.errors import NotFound
from comms_pipeline.domain.validation import Fault
from comms_pipeline.ledger.landing import land
from comms_pipeline.ledger.sends import get_organisation
from comms_pipeline.providers import business_events
from comms_pipeline.web.answers import LimitedBody

SOURCE = "api"
_FAULTS_TOLD = 20


class EventsApi:
    """The endpoint. `key` is what callers must show, `secret` keys contact ids and addresses."""

    def __init__(self, key: SecretStr, secret: SecretStr, pool: ConnectionPool) -> None:
        self._key = key.get_secret_value().encode()
        self._secret = secret.get_secret_value().encode()
        self._pool = pool

    def router(self) -> APIRouter:
        """The routes, for the app to include."""
        # Whoever has no key is answered before a byte of the body is read.
        router = APIRouter(tags=["events"], dependencies=[Depends(self._authorise)])
        router.post("/events", status_code=202, response_class=Response)(self.receive)
        return router

    def receive(self, body: LimitedBody) -> Response:
        """Land one event, or an array of up to 1,000. An idempotency key seen before changes nothing."""
        items = _items(body)
        read = [read_event(item, datetime.now(UTC)) for item in items]
        wrong = [(place, found) for place, found in enumerate(read) if isinstance(found, Fault)]
        if wrong:
            return _refused(wrong)
        events = [found for found in read if isinstance(found, BusinessEvent)]
        landed = business_events.body_of(events, source=SOURCE, secret=self._secret)
        with self._pool.connection() as connection:
            if strangers := _of_unknown_organisations(connection, events):
                return _refused(strangers)
            land(connection, business_events.PROVIDER, business_events.KIND, "", landed)
        return JSONResponse({"accepted": len(events)}, 202)

    def _authorise(self, request: Request) -> None:
        if not self._key:
            raise HTTPException(503, "this receiver is not configured: COMMS_EVENTS_KEY is not set")
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        # In constant time, so that nobody finds the key letter by letter.
        is_right = hmac.compare_digest(shown.strip().encode(), self._key)
        if scheme.lower() != "bearer" or not is_right:
            raise HTTPException(
                401,
                "the key is missing or wrong: send Authorization: Bearer KEY",
                {"www-authenticate": "Bearer"},
            )


def _items(body: bytes) -> list[Any]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise HTTPException(422, "the body is not JSON: send one event or an array of them") from None
    items = told if isinstance(told, list) else [told]
    if not 1 <= len(items) <= MAX_EVENTS:
        raise HTTPException(422, f"the array has {len(items)} events: send 1 to {MAX_EVENTS:,} at a time")
    return items


def _of_unknown_organisations(
    connection: psycopg.Connection[Any], events: list[BusinessEvent]
) -> list[tuple[int, Fault]]:
    first_of = {event.organisation_id: place for place, event in reversed(list(enumerate(events)))}
    found = []
    for organisation_id, place in sorted(first_of.items(), key=lambda each: each[1]):
        try:
            get_organisation(connection, organisation_id)
        except NotFound:
            found.append((place, unknown_organisation(events[place])))
    return found


def _refused(wrong: list[tuple[int, Fault]]) -> JSONResponse:
    """Places count from 0, as in the array sent."""
    told = [
        {
            "item": place,
            "field": ".".join(str(part) for part in found.path) or None,
            "problem": found.problem,
            "fix": found.fix,
        }
        for place, found in wrong[:_FAULTS_TOLD]
    ]
    place, first = wrong[0]
    text = f"item {place}: {first.problem}. {first.fix}"
    return JSONResponse({"error": text, "invalid_items": len(wrong), "faults": told}, 422)

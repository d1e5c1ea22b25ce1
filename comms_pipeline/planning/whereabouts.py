"""Where one planned message is: in the queue and why it waits, at a provider, or told of. Changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import polars as pl
import psycopg

from comms_pipeline.dispatch.payload import unpack
from comms_pipeline.domain.hours import Hours
from comms_pipeline.ledger import limits, operations
from comms_pipeline.ledger.feeds import Feed, Watermark
from comms_pipeline.ledger.limits import Quota
from comms_pipeline.ledger.operations import Stop
from comms_pipeline.ledger.sends import Send
from comms_pipeline.planning.story_lines import moment
from comms_pipeline.sqlfiles import named_queries

_LAKE, _LEDGER = "lake/queries/story.sql", "ledger/queries/story.sql"
_BATCHES_AT_A_TIME = 50


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One message of the plan, as `campaign.messages` has it."""

    message_id: str
    generation: int
    channel: str
    lane: str
    variant: str
    language: str | None
    segments: int | None
    due_at: datetime
    planned_at: datetime
    topic: str | None
    hours: str | None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a message is in the ledger's queue. `is_open`: it may still go out."""

    status: str
    at: datetime | None
    words: str
    is_open: bool


@dataclass(frozen=True, kw_only=True)
class Told:
    """One outcome or event of a message, in order of time. `what` is a status or a kind of event.

    `provider_message_id` is what the provider knows it by; `verdict_reasons` are the rules behind the verdict.
    """

    message_id: str
    what: str
    at: datetime
    provider: str
    reason: str | None
    code: str | None
    source: str
    verdict: str = ""
    verdict_reasons: Sequence[str] = ()
    provider_message_id: str | None = None

    def __str__(self) -> str:
        why = ", ".join(filter(None, (self.reason, f"code {self.code}" if self.code else None)))
        return f"{self.what}{f' ({why})' if why else ''}"


@dataclass(frozen=True, kw_only=True)
class _Holds:
    """What may hold back a batch beyond its time."""

    send: Send
    organisation_id: str
    stops: Sequence[Stop]
    quotas: Sequence[Quota]
    now: datetime


def place_of(
    ledger: psycopg.Connection, send: Send, organisation_id: str, message: Planned, now: datetime
) -> Place | None:
    """Where the message is in the queue; None when it was queued and has left it."""
    key = {"send_id": send.send_id, "generation": message.generation}
    if ledger.execute(named_queries(_LEDGER)["generation_enqueued"], key).fetchone() is None:
        return Place(status="planned", at=None, words="not in the queue yet", is_open=True)
    holds = _Holds(
        send=send,
        organisation_id=organisation_id,
        stops=operations.stops(ledger),
        quotas=limits.quotas(ledger),
        now=now,
    )
    with ledger.transaction(), ledger.cursor(name="open_batches") as cursor:
        cursor.itersize = _BATCHES_AT_A_TIME
        cursor.execute(named_queries(_LEDGER)["open_batches"], key | {"channel": message.channel})
        for *columns, payload in cursor:
            if message.message_id in unpack(bytes(payload))["message_id"]:
                return _place(dict(zip(_BATCH_COLUMNS, columns, strict=True)), message, holds)
    return None


_BATCH_COLUMNS = ("batch_id", "status", "lane", "due_at", "attempt", "last_error", "created_at", "sending_at")


def _place(batch: Mapping[str, Any], message: Planned, holds: _Holds) -> Place:
    status, error = batch["status"], batch["last_error"] or "no reason on record"
    at, words = {
        "planned": (batch["due_at"], _why_it_waits(batch, message, holds)),
        "claimed": (None, "in a worker's hands; no byte has left yet"),
        "sending": (batch["sending_at"], "being sent"),
        "unknown": (
            batch["sending_at"],
            f"in doubt ({error}): the provider's own record decides; it is never sent again blindly",
        ),
        "dead": (
            batch["created_at"],
            f"dead letter: every attempt failed in passing ({error}); "
            f"`comms dead-letters retry --batch {batch['batch_id']}` queues it again",
        ),
    }.get(status, (None, status))
    return Place(status=status, at=at, words=f"batch {batch['batch_id']}: {words}", is_open=status != "dead")


def _why_it_waits(batch: Mapping[str, Any], message: Planned, holds: _Holds) -> str:
    send = holds.send
    if send.status != "sending":
        why = f" ({send.status_reason})" if send.status_reason else ""
        fix = f"; `comms sends resume {send.send_id}` goes on" if send.status in ("paused", "failed") else ""
        return f"waits: its send is {send.status}{why}{fix}"
    for stop in holds.stops:
        if stop.scope in _scopes(batch["lane"], holds.organisation_id):
            return (
                f"waits: {stop.scope} is stopped since {moment(stop.stopped_at)} ({stop.reason}); "
                f"`comms start {stop.scope}` goes on"
            )
    due_at: datetime = batch["due_at"]
    if due_at <= holds.now:
        return "due: the next free worker of its lane takes it"
    until = f"waits until {moment(due_at)}"
    if batch["attempt"]:
        return f"{until}: attempt {batch['attempt']} failed in passing ({batch['last_error']})"
    if message.hours is not None and not Hours.parse(message.hours).is_open(holds.now):
        return f"{until}: outside the hours at which the contact may be reached"
    if due_at > message.due_at:
        for quota in holds.quotas:
            is_full = quota.used >= quota.allowed
            if is_full and quota.scope in _scopes(batch["lane"], holds.organisation_id):
                return f"{until}: the quota of {quota.scope} is used up, {quota.allowed:,} per {quota.period}"
        return f"{until}: put off when its turn came"
    return f"{until}: planned for that time"


def _scopes(lane: str, organisation_id: str) -> set[str]:
    channel = lane.partition(":")[0]
    return {"all", f"lane:{lane}", f"channel:{channel}", f"organisation:{organisation_id}"}


def outcomes_of(
    cursor: duckdb.DuckDBPyConnection, ledger: psycopg.Connection, send_id: str, message: Planned
) -> list[Told]:
    """Every outcome of the message, also those that the lake does not hold yet."""
    known = cursor.execute(
        named_queries(_LAKE)["outcomes"], {"send_id": send_id, "message_id": message.message_id}
    ).pl()
    found = [
        Told(
            message_id=message.message_id,
            what=row["status"],
            at=row["recorded_at"],
            provider=row["provider"],
            reason=row["reason"],
            code=row["code"],
            source="core.outcomes",
            provider_message_id=row["provider_message_id"],
        )
        for row in known.iter_rows(named=True)
    ]
    position = cursor.execute(named_queries(_LAKE)["feed_position"], {"feed": Feed.OUTCOMES}).fetchone()
    watermark = Watermark(xact=position[0], last_id=position[1]) if position else Watermark()
    key = {"send_id": send_id, "generation": message.generation, "channel": message.channel}
    rows = ledger.execute(named_queries(_LEDGER)["outcomes_of_channel"], key | vars(watermark))
    for provider, results, recorded_at in rows:
        for row in (
            unpack(bytes(results)).filter(pl.col("message_id") == message.message_id).iter_rows(named=True)
        ):
            found.append(
                Told(
                    message_id=message.message_id,
                    what=row["status"],
                    at=recorded_at,
                    provider=provider,
                    reason=row["reason"],
                    code=row["code"],
                    source="ledger outcome",
                    provider_message_id=row["provider_message_id"],
                )
            )
    return found


def events_of(cursor: duckdb.DuckDBPyConnection, message: Planned) -> list[Told]:
    """What the provider, or our own pages, told of the message, in order of time."""
    rows = cursor.execute(named_queries(_LAKE)["events"], {"message_id": message.message_id}).pl()
    return [
        Told(
            message_id=message.message_id,
            what=row["kind"],
            at=row["occurred_at"],
            provider=row["provider"],
            reason=row["reason"],
            code=row["code"],
            source="core.events",
            verdict="" if row["verdict"] == "unknown" else row["verdict"],
            verdict_reasons=tuple(row["verdict_reasons"] or ()),
        )
        for row in rows.iter_rows(named=True)
    ]

"""Follows one message, or one contact's messages: where each is, since when, why, and what will happen next.

Told from the records of others (`whereabouts`, `story`, `core.timeline`). Prints nothing, changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import duckdb
import psycopg

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.ledger.organisations import only_organisation
from comms_pipeline.people import find_person, unknown_person
from comms_pipeline.planning.answer import fate
from comms_pipeline.planning.context import SendContext, load_send
from comms_pipeline.planning.story import decision_lines, decisions_of
from comms_pipeline.planning.story_facts import Journey
from comms_pipeline.planning.story_lines import Chapter, Line, moment
from comms_pipeline.planning.whereabouts import Planned, Told, events_of, outcomes_of, place_of
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/following.sql"
_STEPS: Mapping[str, str] = {
    "accepted_at": "accepted",
    "sent_at": "sent",
    "deferred_at": "deferred",
    "delivered_at": "delivered",
    "failed_at": "failed",
    "bounced_at": "bounced",
    "first_opened_at": "opened",
    "first_human_opened_at": "opened by a person",
    "first_clicked_at": "clicked",
    "first_human_clicked_at": "clicked by a person",
    "unsubscribed_at": "unsubscribed",
    "complained_at": "complained",
}
"""Columns of `core.message_status` with the time of a step, and the step's name."""
_NOTHING_MORE = "Nothing more happens to it."
_NEXT: Mapping[str, str] = {
    "planned": "It is sent when its turn comes; `comms why` tells what stands against that now.",
    "unknown": "The provider's own record is asked; until it answers, the message is not sent again.",
    "cancelled": _NOTHING_MORE,
    "refused": f"{_NOTHING_MORE} `comms sends resend` takes up what may be tried again.",
    "accepted": "The provider tells of its delivery, mostly within minutes.",
    "sent": "The provider tells of its delivery, mostly within minutes.",
    "deferred": "The provider tries again by itself, mostly for up to three days, and tells how it ends.",
    "delivered": "Opens and clicks are noted as they come.",
    "failed": _NOTHING_MORE,
    "bounced": _NOTHING_MORE,
    "opened": "Further opens and clicks are noted as they come.",
    "clicked": "Further clicks are noted, and what the contact does afterwards is credited to it.",
    "unsubscribed": "Nothing more of this kind is sent to the contact.",
    "complained": "Nothing more is sent to the contact.",
}
"""What happens next to a message, by `core.message_status.status`."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step that the message has made, and when it made it first."""

    step: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class MessageStory:
    """One message: what it is, the steps it made, everything on record in order, why it is there, what comes next."""

    message_id: str
    organisation_id: str
    contact_id: str
    campaign_id: str
    send_id: str
    channel: str
    lane: str
    variant: str
    status: str
    steps: Sequence[Step]
    lines: Sequence[Line]
    answer: str
    next: str


@dataclass(frozen=True, kw_only=True)
class ContactStory:
    """One contact: its latest messages, the latest first, and the latest of its timeline, in order."""

    contact_id: str
    organisation_id: str
    messages: Sequence[Mapping[str, Any]]
    timeline: Sequence[Mapping[str, Any]]


def follow(
    stores: Stores, known_by: str, *, organisation_id: str | None = None, limit: int, actor: str
) -> MessageStory | ContactStory:
    """The story of the message with this id, else of the contact known by it (id, external id, e-mail, phone).

    At most `limit` lines of a message, messages of a contact, and lines of its timeline: the latest. External ids are
    looked for in `organisation_id`, else in the only organisation there is. A look at a contact by address is noted in
    the audit trail. Raises `NotFound`, and `Ambiguous` for what several contacts have.
    """
    with stores.ledger() as ledger, stores.lake.reader() as cursor:
        message = _rows(cursor, "message", message_id=known_by.strip())
        if message:
            return _message(cursor, ledger, message[0], limit=limit, now=stores.now())
        if organisation_id is None and (only := only_organisation(ledger)):
            organisation_id = only.organisation_id
        person = find_person(
            cursor, ledger, known_by, organisation_id, secret=stores.secret, actor=actor, purpose="status"
        )
        if person is None:
            raise _unknown(organisation_id)
        return ContactStory(
            contact_id=person.contact_id,
            organisation_id=person.organisation_id,
            messages=_rows(cursor, "messages_of_contact", contact_id=person.contact_id, limit=limit),
            timeline=_rows(cursor, "timeline_of_contact", contact_id=person.contact_id, limit=limit),
        )


def _message(
    cursor: duckdb.DuckDBPyConnection,
    ledger: psycopg.Connection[Any],
    row: Mapping[str, Any],
    *,
    limit: int,
    now: datetime,
) -> MessageStory:
    context = load_send(ledger, row["send_id"])
    owner = context.organisation.organisation_id
    planned = Planned(**{field.name: row[field.name] for field in fields(Planned)})
    journey = Journey(
        planned=planned,
        place=place_of(ledger, context.send, owner, planned, now),
        outcomes=outcomes_of(cursor, ledger, row["send_id"], planned),
        events=events_of(cursor, planned),
    )
    standing = next(iter(_rows(cursor, "standing", message_id=planned.message_id)), {})
    status = str(standing.get("status", "planned"))
    lines = sorted(
        [
            *_plan_lines(cursor, context, row["contact_id"], planned),
            *_queue_lines(journey),
            *map(_outcome_line, journey.outcomes),
            *map(_event_line, journey.events),
            *_conversion_lines(cursor, planned.message_id),
        ],
        key=lambda line: (line.at is None, line.at),
    )
    return MessageStory(
        message_id=planned.message_id,
        organisation_id=owner,
        contact_id=row["contact_id"],
        campaign_id=context.send.campaign_id,
        send_id=row["send_id"],
        channel=planned.channel,
        lane=planned.lane,
        variant=planned.variant,
        status=status,
        steps=[
            Step(step=step, at=standing[column]) for column, step in _STEPS.items() if standing.get(column)
        ],
        lines=lines[-limit:],
        answer=f"Contact {row['contact_id']} {fate(journey)[1]}.",
        next=_next(journey, status),
    )


def _next(journey: Journey, status: str) -> str:
    place = journey.place
    if place is None or not place.is_open:
        return _NEXT[status]
    due_at = max(filter(None, (place.at, journey.planned.due_at)))
    if place.status == "planned":
        return f"It is sent at {moment(due_at)} or soon after, once nothing holds it back."
    return (
        _NEXT["unknown"] if place.status == "unknown" else "A worker has it; its outcome is on record soon."
    )


def _plan_lines(
    cursor: duckdb.DuckDBPyConnection, context: SendContext, contact_id: str, planned: Planned
) -> Iterator[Line]:
    decisions = decisions_of(cursor, context.send.send_id, contact_id)
    yield from decision_lines([each for each in decisions if each.channel == planned.channel])
    details = (
        f"variant {planned.variant}" if planned.variant else "",
        f"language {planned.language}" if planned.language else "",
        f"{planned.segments} segments" if planned.segments else "",
        f"due {moment(planned.due_at)}",
        f"hours {planned.hours}" if planned.hours else "",
    )
    yield Line(
        chapter=Chapter.MESSAGE,
        at=planned.planned_at,
        text=f"planned by {planned.lane}: {', '.join(filter(None, details))}",
        source="campaign.messages",
    )


def _queue_lines(journey: Journey) -> Iterator[Line]:
    if journey.place is not None:
        # Last, whatever its time: it is where the message is now.
        yield Line(chapter=Chapter.QUEUE, text=journey.place.words, source="ledger batch")


def _outcome_line(told: Told) -> Line:
    known = f", which knows it as {told.provider_message_id}" if told.provider_message_id else ""
    return Line(
        chapter=Chapter.OUTCOME,
        at=told.at,
        text=f"{told}; told by {told.provider}{known}",
        source=told.source,
    )


def _event_line(told: Told) -> Line:
    verdict = f" by a {told.verdict}" if told.verdict else ""
    because = f" (rules {', '.join(told.verdict_reasons)})" if told.verdict_reasons else ""
    return Line(
        chapter=Chapter.EVENT,
        at=told.at,
        text=f"{told}{verdict}{because}; told by {told.provider}",
        source=told.source,
    )


def _conversion_lines(cursor: duckdb.DuckDBPyConnection, message_id: str) -> Iterator[Line]:
    for row in _rows(cursor, "conversions", message_id=message_id):
        value = f" of {row['value']:,.2f} {row['currency']}" if row["currency"] else ""
        yield Line(
            chapter=Chapter.CONVERSION,
            at=row["occurred_at"],
            text=f"{row['type']}{value}, credited to what was {row['touch_kind']} {moment(row['touched_at'])}",
            source="core.conversions",
        )


def _unknown(organisation_id: str | None) -> NotFound:
    error = unknown_person(organisation_id)
    return NotFound("message or contact", error.problem, f"Give a message id. {error.fix}")


def _rows(cursor: duckdb.DuckDBPyConnection, query: str, **parameters: object) -> list[dict[str, Any]]:
    return cursor.execute(named_queries(_QUERIES)[query], parameters).pl().rows(named=True)

"""The whole story of one person and one send: known, meant, decided, planned, queued, told. Changes nothing.

What is told is put together from the records of others (`people`, `conditions`, `standing`, `whereabouts`); what it
comes to is said in `answer`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import psycopg

from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.people import Person, find_person, unknown_person
from comms_pipeline.planning.answer import answer_of
from comms_pipeline.planning.conditions import Condition, conditions_of
from comms_pipeline.planning.context import SendContext, load_send
from comms_pipeline.planning.remedies import remedy
from comms_pipeline.planning.standing import changes_of, standing_of
from comms_pipeline.planning.story_facts import Decision, Facts, Journey, Selection
from comms_pipeline.planning.story_lines import Chapter, Line, moment
from comms_pipeline.planning.whereabouts import Planned, events_of, outcomes_of, place_of
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/story.sql"


@dataclass(frozen=True, kw_only=True)
class Story:
    """Every fact in order, and what they come to."""

    contact_id: str
    send_id: str
    lines: list[Line]
    answer: str


def tell(
    stores: Stores, known_by: str, send_id: str, *, organisation_id: str | None = None, actor: str
) -> Story:
    """The story of the contact `known_by` (id, external id, e-mail address, phone) and a send.

    Raises `NotFound` for an unknown send or contact, `Ambiguous` for an address of several contacts.
    """
    with stores.ledger() as ledger, stores.lake.reader() as cursor:
        context = load_send(ledger, send_id)
        owner = organisation_id or context.organisation.organisation_id
        person = find_person(
            cursor, ledger, known_by, owner, secret=stores.secret, actor=actor, purpose=f"why {send_id}"
        )
        if person is None:
            raise unknown_person(owner)
        facts = Facts(
            person=person,
            send=context.send,
            selection=_selection(cursor, stores, context, person),
            decisions=decisions_of(cursor, context.send.send_id, person.contact_id),
            journeys=_journeys(cursor, ledger, context, person, stores.now()),
        )
        return Story(
            contact_id=person.contact_id,
            send_id=send_id,
            lines=list(_lines(ledger, context, facts)),
            answer=answer_of(facts, context.organisation.organisation_id),
        )


def _selection(
    cursor: duckdb.DuckDBPyConnection, stores: Stores, context: SendContext, person: Person
) -> Selection:
    parameters = {"send_id": context.send.send_id, "contact_id": person.contact_id}
    (row,) = cursor.execute(named_queries(_QUERIES)["selection"], parameters).pl().rows(named=True)
    is_ours = person.organisation_id == context.organisation.organisation_id
    conditions: Sequence[Condition] = ()
    if row["member_since"] is None and is_ours and person.row is not None and not person.is_erased:
        conditions = conditions_of(cursor, stores, context, person.contact_id)
    return Selection(**row, conditions=conditions)


def decisions_of(cursor: duckdb.DuckDBPyConnection, send_id: str, contact_id: str) -> list[Decision]:
    """What was decided of a contact of one send, oldest first."""
    parameters = {"send_id": send_id, "contact_id": contact_id}
    rows = cursor.execute(named_queries(_QUERIES)["decisions"], parameters).pl()
    return [Decision(**row) for row in rows.iter_rows(named=True)]


def _journeys(
    cursor: duckdb.DuckDBPyConnection,
    ledger: psycopg.Connection,
    context: SendContext,
    person: Person,
    now: datetime,
) -> list[Journey]:
    parameters = {"send_id": context.send.send_id, "contact_id": person.contact_id}
    rows = cursor.execute(named_queries(_QUERIES)["messages"], parameters).pl()
    return [
        Journey(
            planned=message,
            place=place_of(ledger, context.send, person.organisation_id, message, now),
            outcomes=outcomes_of(cursor, ledger, context.send.send_id, message),
            events=events_of(cursor, message),
        )
        for message in (Planned(**row) for row in rows.iter_rows(named=True))
    ]


def _lines(ledger: psycopg.Connection, context: SendContext, facts: Facts) -> Iterator[Line]:
    yield _send_line(context)
    yield from _contact_lines(facts.person)
    yield from _audience_lines(facts)
    yield from decision_lines(facts.decisions)
    if facts.person.row is not None and not facts.person.is_erased:
        yield from standing_of(ledger, facts.person, context.spec)
    if facts.decisions:
        yield from changes_of(ledger, facts.person, max(each.decided_at for each in facts.decisions))
    for journey in facts.journeys:
        yield from _journey_lines(journey)


def _send_line(context: SendContext) -> Line:
    send, spec = context.send, context.spec
    why = f" ({send.status_reason})" if send.status_reason else ""
    return Line(
        chapter=Chapter.SEND,
        at=send.due_at,
        text=f"{send.campaign_id} version {send.version}, {spec.message_class}, topic '{spec.topic}', "
        f"by {', '.join(spec.channels)}; it is {send.status}{why}",
        source="send",
    )


def _contact_lines(person: Person) -> Iterator[Line]:
    if person.row is None:
        yield Line(
            chapter=Chapter.CONTACT,
            text="it was a contact once and is none any more",
            source="core.contacts",
        )
        return
    if person.is_erased:
        yield Line(
            chapter=Chapter.CONTACT, at=person.row["updated_at"], text="erased", source="core.contacts"
        )
        return
    reachable = ", ".join(person.keys) or "no channel"
    yield Line(
        chapter=Chapter.CONTACT,
        at=person.row["created_at"],
        text=f"known to {person.organisation_id}; has an address for {reachable}; "
        f"changed last {moment(person.row['updated_at'])}",
        source="core.contacts",
    )


def _audience_lines(facts: Facts) -> Iterator[Line]:
    selection = facts.selection
    if selection.member_since is not None:
        yield Line(
            chapter=Chapter.AUDIENCE,
            at=selection.member_since,
            text=f"in the audience, one of {selection.contacts:,}",
            source="campaign.audiences",
        )
        return
    if selection.selected_at is None:
        text = "the audience is not selected yet"
    else:
        text = f"not in the audience of {selection.contacts:,}"
    yield Line(chapter=Chapter.AUDIENCE, at=selection.selected_at, text=text, source="campaign.audiences")
    for condition in selection.conditions:
        verdict = "met now" if condition.is_met else "not met now"
        yield Line(chapter=Chapter.AUDIENCE, text=f"{verdict}: {condition}", source="campaign file")


def decision_lines(decisions: Sequence[Decision]) -> Iterator[Line]:
    """What was decided of the contact, by channel, and every rule that spoke."""
    rules = {rule.id: rule for rule in load_rules()}
    for each in decisions:
        until = f" until {moment(each.not_before)}" if each.not_before else ""
        hours = f"; may be reached at: {each.hours}" if each.hours else ""
        yield Line(
            chapter=Chapter.DECISION,
            at=each.decided_at,
            text=f"{each.channel}: {each.decision}{until}{hours}",
            source="campaign.decisions",
        )
        for spoke in each.rules:
            rule = rules.get(spoke["rule_id"])
            changed = f" (now {rule.version})" if rule and rule.version != spoke["version"] else ""
            yield Line(
                chapter=Chapter.DECISION,
                at=each.decided_at,
                text=f"{each.channel}: rule {spoke['rule_id']} version {spoke['version']}{changed}: "
                f"{spoke['evidence']}. {remedy(rule)}",
                source=rule.source if rule else "a rule that is no more",
            )


def _journey_lines(journey: Journey) -> Iterator[Line]:
    message = journey.planned
    details = [
        f"variant {message.variant}" if message.variant else "",
        f"language {message.language}" if message.language else "",
        f"{message.segments} segments" if message.segments else "",
        f"due {moment(message.due_at)}",
        f"hours {message.hours}" if message.hours else "",
    ]
    yield Line(
        chapter=Chapter.MESSAGE,
        at=message.planned_at,
        text=f"message {message.message_id} by {message.lane}: {', '.join(filter(None, details))}",
        source="campaign.messages",
    )
    if journey.place is not None:
        yield Line(
            chapter=Chapter.QUEUE, at=journey.place.at, text=journey.place.words, source="ledger batch"
        )
    for chapter, found in ((Chapter.OUTCOME, journey.outcomes), (Chapter.EVENT, journey.events)):
        for told in found:
            verdict = f" by a {told.verdict}" if told.verdict else ""
            yield Line(
                chapter=chapter,
                at=told.at,
                text=f"{told}{verdict}; told by {told.provider}",
                source=told.source,
            )

"""What stands between us and a person now, and what of it has changed: suppressions, consents, wishes, audit trail."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.event import SuppressionScope
from comms_pipeline.domain.message import EVERY_TOPIC, Channel
from comms_pipeline.ledger import audit, consents, preferences
from comms_pipeline.ledger.suppressions import EVERY_ORGANISATION
from comms_pipeline.people import Person
from comms_pipeline.planning.story_lines import Chapter, Line, moment
from comms_pipeline.sqlfiles import named_queries

_QUERIES = "ledger/queries/story.sql"


def standing_of(ledger: psycopg.Connection, person: Person, spec: CampaignSpec) -> list[Line]:
    """What holds now for the campaign's channels and topic."""
    lines = [
        *_suppressions(ledger, person, spec.channels),
        *_consents(ledger, person, spec),
        *_preferences(ledger, person, spec),
        *_limits(ledger, person),
        *_registries(ledger, person),
    ]
    return lines or [
        Line(chapter=Chapter.STANDING, text="no suppression, consent or wish on record", source="ledger")
    ]


def changes_of(ledger: psycopg.Connection, person: Person, since: datetime) -> list[Line]:
    """What was changed about the person after a time, by anybody."""
    entries = audit.of_subject(ledger, person.organisation_id, person.subjects)
    return [
        Line(
            chapter=Chapter.CHANGE,
            at=entry.at,
            text=f"{_channel(entry)}{_WORDS[entry.action](entry.details)}, by {entry.actor}",
            source="audit",
        )
        for entry in entries
        if entry.at > since and entry.action in _WORDS
    ]


def _suppressions(ledger: psycopg.Connection, person: Person, channels: Sequence[Channel]) -> Iterator[Line]:
    for row in _rows(ledger, "suppressions", person, channels=[channel.value for channel in channels]):
        channel, owner, reason, scope, source, created_at = row
        whose = "for every organisation" if owner == EVERY_ORGANISATION else f"for {owner}"
        of = "marketing" if scope == SuppressionScope.MARKETING else "every message"
        yield Line(
            chapter=Chapter.STANDING,
            at=created_at,
            text=f"{channel}: suppressed ({reason}) {whose}, {of}; learnt from {source}",
            source="suppression",
        )


def _consents(ledger: psycopg.Connection, person: Person, spec: CampaignSpec) -> Iterator[Line]:
    told = [
        each
        for each in consents.history(ledger, person.organisation_id, person.subjects)
        if each.channel in spec.channels and each.purpose in (spec.topic, EVERY_TOPIC)
    ]
    for consent in sorted(told, key=lambda each: each.at):
        wording = f", wording {consent.text_version}" if consent.text_version else ""
        yield Line(
            chapter=Chapter.STANDING,
            at=consent.at,
            text=f"{consent.channel}: consent {consent.state} ({consent.kind}) "
            f"for {_topic(consent.purpose)}; from {consent.source}{wording}",
            source="consent",
        )
    row = person.row or {}
    if row.get("consent_source"):
        kind = row["consent_kind"] or "implied"
        yield Line(
            chapter=Chapter.STANDING,
            at=row["consent_at"],
            text=f"consent given ({kind}), as the import said; from {row['consent_source']}",
            source="core.contacts",
        )


def _preferences(ledger: psycopg.Connection, person: Person, spec: CampaignSpec) -> Iterator[Line]:
    channels = [channel.value for channel in spec.channels]
    for channel, topic, is_wanted, source, changed_at in _rows(
        ledger, "preferences", person, channels=channels, topic=spec.topic
    ):
        wish = "wants" if is_wanted else "does not want"
        yield Line(
            chapter=Chapter.STANDING,
            at=changed_at,
            text=f"{channel}: {wish} {_topic(topic)}; from {source}",
            source="preference",
        )


def _limits(ledger: psycopg.Connection, person: Person) -> Iterator[Line]:
    for limits in preferences.limits_of(ledger, person.organisation_id, person.subjects).values():
        wishes = []
        if limits.paused_until is not None:
            wishes.append(f"nothing before {moment(limits.paused_until)}")
        if limits.quiet_from is not None and limits.quiet_until is not None:
            wishes.append(
                f"nothing from {_clock(limits.quiet_from)} to {_clock(limits.quiet_until)} local time"
            )
        if limits.weekly_cap is not None:
            wishes.append(f"at most {limits.weekly_cap} marketing messages a week and channel")
        if wishes:
            yield Line(
                chapter=Chapter.STANDING,
                at=limits.changed_at,
                text=f"asks for {'; '.join(wishes)}",
                source="personal_limit",
            )


def _registries(ledger: psycopg.Connection, person: Person) -> Iterator[Line]:
    for list_id, imported_at in _rows(ledger, "do_not_call_lists", person):
        yield Line(
            chapter=Chapter.STANDING,
            at=imported_at,
            text=f"the number is on the do-not-call list {list_id}",
            source="do_not_call",
        )


def _rows(
    ledger: psycopg.Connection, query: str, person: Person, **parameters: object
) -> list[tuple[Any, ...]]:
    given = {"organisation_id": person.organisation_id, "subjects": person.subjects} | parameters
    return ledger.execute(named_queries(_QUERIES)[query], given).fetchall()


def _topic(topic: str) -> str:
    return "every topic" if topic == EVERY_TOPIC else f"topic '{topic}'"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _channel(entry: audit.Entry) -> str:
    """`email: ` where the entry's subject is of one channel (`audit.subject_of`)."""
    parts = entry.subject.split("/")
    return f"{parts[1]}: " if len(parts) == 3 else ""


def _chosen(details: Mapping[str, Any]) -> str:
    wish = "wants" if details.get("after") else "does not want"
    return f"{wish} {_topic(str(details.get('topic')))}"


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "suppress": lambda details: f"suppressed ({details.get('reason')})",
    "lift": lambda details: f"suppression ({details.get('reason')}) lifted",
    "consent": lambda details: (
        f"consent {details.get('after')} ({details.get('kind')}) for {_topic(str(details.get('purpose')))}"
    ),
    "choose": _chosen,
    "limit": lambda _: "quiet hours, pause or weekly cap changed",
}
"""What the audit trail's actions mean for messages; whatever else was done has no bearing on them."""

"""What the pages say and do about the person behind a token: stop, resume, choose, limit, how things stand.

Shared by the pages behind the links of a message; knows no route, no form and no page. Everything works on the
caller's transaction: a change, its audit row and its event are committed together or not at all.

A choice belongs to the contact where the token names one, else to the address. An opt-out from a channel altogether
is a suppression besides: it belongs to the address, whoever else may use it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

import psycopg
from starlette.exceptions import HTTPException

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.domain.event import SuppressionReason, SuppressionScope
from comms_pipeline.domain.message import EVERY_TOPIC, Channel
from comms_pipeline.domain.tokens import Purpose, TokenClaims, TokenKeys
from comms_pipeline.ledger.landing import land
from comms_pipeline.ledger.organisations import channels_of
from comms_pipeline.ledger.preferences import (
    Choice,
    PersonalLimits,
    choices_of,
    limits_of,
    set_choices,
    set_limits,
)
from comms_pipeline.ledger.sends import Organisation, get_organisation
from comms_pipeline.ledger.suppressions import Suppression, lift, standing, suppress
from comms_pipeline.providers import own_events


class Source(StrEnum):
    """Which of our pages a change comes from; also the audit's actor."""

    UNSUBSCRIBE_LINK = "unsubscribe-link"
    PREFERENCES = "preferences-page"
    CONFIRMATION = "confirmation-page"


class Barrier(StrEnum):
    """Why no page can turn a channel on again. The first that applies is the one to tell."""

    STOPPED = "stopped"
    """Answered STOP: only START takes that back."""
    COMPLAINED = "complained"
    FAILED = "failed"
    """Messages did not arrive."""
    OTHER = "other"


_BARRIERS: Mapping[SuppressionReason, Barrier] = {
    SuppressionReason.STOPPED: Barrier.STOPPED,
    SuppressionReason.COMPLAINED: Barrier.COMPLAINED,
    SuppressionReason.BOUNCED: Barrier.FAILED,
    SuppressionReason.INVALID: Barrier.FAILED,
}


class Cell(NamedTuple):
    """One thing to choose: a type of message on a channel."""

    channel: Channel
    topic: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How things stand: what the dispatcher will find in the ledger too.

    `topics` are the types of messages to choose between, with their names; `EVERY_TOPIC`, without one, is always the
    last and stands for all others. `wanted` has every channel of the page with every topic. `barrier` is about the
    token's own channel, `has_opted_out` too.
    """

    topics: Mapping[str, str]
    choices: Mapping[Cell, bool] = field(repr=False)
    wanted: Mapping[Cell, bool]
    limits: PersonalLimits
    barrier: Barrier | None
    has_opted_out: bool

    @property
    def version(self) -> str:
        """Another text for another standing: how a form knows that it is out of date."""
        told = (
            sorted(self.choices.items()),
            sorted(self.wanted.items()),
            (self.limits.quiet_from, self.limits.quiet_until, self.limits.weekly_cap),
            self.limits.paused_until,
            self.barrier,
            self.has_opted_out,
        )
        return sha256(repr(told).encode()).hexdigest()[:16]


def address_claims(keys: TokenKeys, token: str, purpose: Purpose) -> TokenClaims:
    """What a token about an address says. Raises a 404 for anything else, which says nothing more."""
    claims = keys.verify(token, purpose)
    if claims is None or not claims.address_key:
        raise HTTPException(404)
    return claims


def page_link(keys: TokenKeys, claims: TokenClaims, purpose: Purpose) -> str:
    """The token of another page for the same person."""
    return keys.sign(
        purpose,
        organisation_id=claims.organisation_id,
        channel=claims.channel,
        message_id=claims.message_id,
        contact_id=claims.contact_id,
        address_key=claims.address_key,
    )


def subjects(claims: TokenClaims) -> list[bytes]:
    """All that the person goes by; the first is what new choices are kept under."""
    contact = [bytes.fromhex(claims.contact_id)] if claims.contact_id else []
    return [*contact, claims.address_key]


def one_at_a_time(connection: psycopg.Connection, claims: TokenClaims) -> None:
    """Wait until no other request changes this person's choices: a form sent twice at once counts once."""
    connection.execute(
        "select pg_advisory_xact_lock(hashtextextended(%s, 0))",
        (f"{claims.organisation_id}/{subjects(claims)[0].hex()}",),
    )


def sender_of(connection: psycopg.Connection, claims: TokenClaims) -> Organisation | None:
    """Who sent the message; None for an organisation that was removed since: its links still have to work."""
    try:
        return get_organisation(connection, claims.organisation_id)
    except NotFound:
        return None


def how_it_stands(
    connection: psycopg.Connection, claims: TokenClaims, organisation: Organisation | None
) -> Standing:
    """Read from the ledger.

    A token without a contact speaks for its own channel alone. For other channels the pages know no address, so
    what was said elsewhere against one of those is not seen here.
    """
    channels = {claims.channel}
    if claims.contact_id:
        channels |= channels_of(connection, claims.organisation_id)
    topics = organisation.topics if organisation else {}
    known = dict(sorted(topics.items(), key=lambda topic: topic[1].casefold()))
    found = choices_of(connection, claims.organisation_id, subjects(claims))
    choices = {Cell(choice.channel, choice.topic): choice.is_wanted for choice in found}
    rows = standing(connection, claims.organisation_id, claims.channel, claims.address_key)
    barriers = [_BARRIERS.get(row.reason, Barrier.OTHER) for row in rows if not _is_own_choice(row, claims)]
    return Standing(
        topics=known | {EVERY_TOPIC: ""},
        choices=choices,
        wanted={
            Cell(channel, topic): not (rows and channel is claims.channel)
            and _effective(choices, channel, topic)
            for channel in Channel
            if channel in channels
            for topic in (*known, EVERY_TOPIC)
        },
        limits=_limits(connection, claims),
        barrier=min(barriers, key=list(Barrier).index) if barriers else None,
        has_opted_out=bool(rows) and not barriers,
    )


def stop(connection: psycopg.Connection, claims: TokenClaims, source: Source) -> None:
    """Suppress marketing to the address. Only a change is an event: a link pressed ten times was one opt-out.

    The token does not say which class its message was of. An opt-out always means marketing: the invoice still goes.
    """
    row = Suppression(
        organisation_id=claims.organisation_id,
        channel=claims.channel,
        address_key=claims.address_key,
        reason=SuppressionReason.UNSUBSCRIBED,
        source=source,
        contact_id=claims.contact_id,
        scope=SuppressionScope.MARKETING,
    )
    if suppress(connection, [row]):
        body = own_events.unsubscribe_body(claims, datetime.now(UTC))
        land(connection, own_events.PROVIDER, own_events.UNSUBSCRIBE, "", body)


def resume(connection: psycopg.Connection, claims: TokenClaims, source: Source) -> bool:
    """Take back what the person chose on our own pages, and nothing else; whether there was anything.

    Complaints, bounces, STOP and what a provider or we ourselves recorded stay.
    """
    is_lifted = lift(
        connection,
        organisation_id=claims.organisation_id,
        channel=claims.channel,
        address_keys=[claims.address_key],
        reasons=[SuppressionReason.UNSUBSCRIBED],
        sources=list(Source),
        actor=source,
    )
    if is_lifted:
        body = own_events.resubscribe_body(claims, datetime.now(UTC))
        land(connection, own_events.PROVIDER, own_events.RESUBSCRIBE, "", body)
    return bool(is_lifted)


def choose(
    connection: psycopg.Connection, claims: TokenClaims, before: Standing, wanted: Mapping[Cell, bool]
) -> None:
    """Keep what differs from before. Nothing wanted on the token's channel any more is an opt-out, anything ends one.

    A channel left as it was stays so: a form merely sent is no wish for all that is in it.
    """
    changed = {cell.channel for cell, is_wanted in wanted.items() if is_wanted != before.wanted[cell]}
    chosen = {cell: is_wanted for cell, is_wanted in wanted.items() if cell.channel in changed}
    if claims.channel in changed:
        if any(is_wanted for cell, is_wanted in chosen.items() if cell.channel is claims.channel):
            resume(connection, claims, Source.PREFERENCES)
        else:
            stop(connection, claims, Source.PREFERENCES)
    _keep(connection, claims, _different(before.choices, chosen), Source.PREFERENCES)


def stop_everything(connection: psycopg.Connection, claims: TokenClaims, before: Standing) -> None:
    """No marketing any more: none of what is chosen now, none of what may be added, on no channel.

    A token without a contact speaks for its own channel alone.
    """
    stop(connection, claims, Source.PREFERENCES)
    channels = Channel if claims.contact_id else (claims.channel,)
    everything = {Cell(channel, EVERY_TOPIC) for channel in channels}
    chosen = {cell for cell, is_wanted in before.choices.items() if is_wanted and cell.channel in channels}
    refused = {cell for cell in everything if before.choices.get(cell, True)}
    _keep(connection, claims, dict.fromkeys(sorted(refused | chosen), False), Source.PREFERENCES)


def want_again(connection: psycopg.Connection, claims: TokenClaims, before: Standing, source: Source) -> bool:
    """End an opt-out from the token's channel altogether; whether there was one. Single types stay as chosen."""
    every = Cell(claims.channel, EVERY_TOPIC)
    is_refused = not before.choices.get(every, True)
    _keep(connection, claims, {every: True} if is_refused else {}, source)
    return resume(connection, claims, source) or is_refused


def limit(connection: psycopg.Connection, claims: TokenClaims, limits: PersonalLimits) -> None:
    """Keep limits in place of those there were."""
    if limits != _limits(connection, claims):
        set_limits(
            connection,
            organisation_id=claims.organisation_id,
            subject=subjects(claims)[0],
            limits=limits,
            source=Source.PREFERENCES,
        )


def _keep(
    connection: psycopg.Connection, claims: TokenClaims, chosen: Mapping[Cell, bool], source: Source
) -> None:
    choices = [
        Choice(channel=cell.channel, topic=cell.topic, is_wanted=wish) for cell, wish in chosen.items()
    ]
    if not choices:
        return
    first, *others = subjects(claims)
    kept = {first: choices}
    for subject in others:
        # A text message's link knows the address alone: what was said there must not go on saying the contrary.
        said = {
            (each.channel, each.topic) for each in choices_of(connection, claims.organisation_id, [subject])
        }
        kept[subject] = [choice for choice in choices if (choice.channel, choice.topic) in said]
    for subject, its in kept.items():
        set_choices(
            connection,
            organisation_id=claims.organisation_id,
            subject=subject,
            choices=its,
            source=source,
        )


def _different(choices: Mapping[Cell, bool], wanted: Mapping[Cell, bool]) -> dict[Cell, bool]:
    """The choices to add to those there are, for what is wanted to hold."""
    added = {
        cell: is_wanted
        for cell, is_wanted in wanted.items()
        if cell.topic == EVERY_TOPIC and is_wanted != choices.get(cell, True)
    }
    then = {**choices, **added}
    for cell, is_wanted in wanted.items():
        if is_wanted != _effective(then, cell.channel, cell.topic):
            added[cell] = is_wanted
    return added


def _effective(choices: Mapping[Cell, bool], channel: Channel, topic: str) -> bool:
    """Who never chose gets what law allows."""
    return choices.get(Cell(channel, topic), choices.get(Cell(channel, EVERY_TOPIC), True))


def _limits(connection: psycopg.Connection, claims: TokenClaims) -> PersonalLimits:
    """The newest of all that the person goes by."""
    found = limits_of(connection, claims.organisation_id, subjects(claims)).values()
    oldest = datetime.min.replace(tzinfo=UTC)
    return max(found, key=lambda each: each.changed_at or oldest, default=PersonalLimits())


def _is_own_choice(row: Suppression, claims: TokenClaims) -> bool:
    return (
        row.organisation_id == claims.organisation_id
        and row.reason is SuppressionReason.UNSUBSCRIBED
        and row.source in set(Source)
    )

"""What the pages say and do about one token's address on its channel: stop, resume, how things stand.

Shared by the pages behind the links of a message; knows no route and no page. Everything works on the caller's
transaction: a change, its audit row and its event are committed together or not at all.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import psycopg
from starlette.exceptions import HTTPException

from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose, TokenClaims, TokenKeys
from comms_pipeline.ledger.landing import land
from comms_pipeline.ledger.suppressions import Suppression, lift, standing, suppress
from comms_pipeline.providers import own_events

NOUNS = {
    Channel.EMAIL: "e-mails",
    Channel.SMS: "text messages",
    Channel.WHATSAPP: "WhatsApp messages",
}
"""What people call the messages of a channel."""


class Source(StrEnum):
    """Which of our pages a suppression comes from; also the audit's actor."""

    UNSUBSCRIBE_LINK = "unsubscribe-link"
    PREFERENCES = "preferences-page"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Whether the address gets messages, and if not, whether the person alone can change that."""

    receives: bool
    is_own_choice: bool
    has_stopped: bool
    """Answered STOP: only START takes that back."""


def address_claims(keys: TokenKeys, token: str, purpose: Purpose) -> TokenClaims:
    """What a token about an address says. Raises a 404 for anything else, which says nothing more."""
    claims = keys.verify(token, purpose)
    if claims is None or not claims.address_key:
        raise HTTPException(404)
    return claims


def stop(connection: psycopg.Connection, claims: TokenClaims, source: Source) -> None:
    """Suppress the address. Only a change is an event: a link pressed ten times was still one opt-out."""
    row = Suppression(
        organisation_id=claims.organisation_id,
        channel=claims.channel,
        address_key=claims.address_key,
        reason=SuppressionReason.UNSUBSCRIBED,
        source=source,
        contact_id=claims.contact_id,
    )
    if suppress(connection, [row]):
        body = own_events.unsubscribe_body(claims, datetime.now(UTC))
        land(connection, own_events.PROVIDER, own_events.UNSUBSCRIBE, "", body)


def resume(connection: psycopg.Connection, claims: TokenClaims) -> None:
    """Take back what the person chose on our own pages, and nothing else.

    Complaints, bounces, STOP and what a provider or we ourselves recorded stay.
    """
    is_lifted = lift(
        connection,
        organisation_id=claims.organisation_id,
        channel=claims.channel,
        address_keys=[claims.address_key],
        reasons=[SuppressionReason.UNSUBSCRIBED],
        sources=list(Source),
        actor=Source.PREFERENCES,
    )
    if is_lifted:
        body = own_events.resubscribe_body(claims, datetime.now(UTC))
        land(connection, own_events.PROVIDER, own_events.RESUBSCRIBE, "", body)


def how_it_stands(connection: psycopg.Connection, claims: TokenClaims) -> Standing:
    """Read from the ledger, where the dispatcher reads it too."""
    rows = standing(connection, claims.organisation_id, claims.channel, claims.address_key)
    return Standing(
        receives=not rows,
        is_own_choice=all(_is_own_choice(row, claims) for row in rows),
        has_stopped=any(row.reason is SuppressionReason.STOPPED for row in rows),
    )


def _is_own_choice(row: Suppression, claims: TokenClaims) -> bool:
    return (
        row.organisation_id == claims.organisation_id
        and row.reason is SuppressionReason.UNSUBSCRIBED
        and row.source in set(Source)
    )

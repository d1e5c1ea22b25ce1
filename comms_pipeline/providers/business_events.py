"""Business events on their way to the lake: how they are landed, and read back. Lands nothing itself.

What is landed holds no address, only keyed hashes: ids that the contact may have, and the keys of its addresses for a
contact that goes by another id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import polars as pl

from comms_pipeline.contacts.identity import with_identity
from comms_pipeline.domain.addresses import address_key
from comms_pipeline.domain.business_event import BusinessEvent
from comms_pipeline.domain.event import InvalidEvents
from comms_pipeline.domain.message import Channel

PROVIDER = "business"
KIND = "events"

_IDENTITIES = ("external_id", "email", "phone")


@dataclass(frozen=True, kw_only=True)
class LandedEvent:
    """One event as it was landed. `contact_ids` are its contact's possible ids, the most telling first."""

    event_id: str
    organisation_id: str
    type: str
    idempotency_key: str
    source: str
    properties: str
    """A JSON object."""
    contact_ids: tuple[str, ...] = ()
    email_key: bytes | None = None
    phone_key: bytes | None = None
    occurred_at: datetime | None = None
    value_micros: int | None = None
    currency: str | None = None


def body_of(events: Sequence[BusinessEvent], *, source: str, secret: bytes) -> bytes:
    """What is landed for these events. `source` says which way they came."""
    return orjson.dumps(
        [
            _entry(event, ids, source, secret)
            for event, ids in zip(events, _possible_ids(events, secret), strict=True)
        ]
    )


def parse(body: bytes) -> list[LandedEvent]:
    """The events of a body made by `body_of`. Raises `InvalidEvents` for any other."""
    try:
        return [_landed(entry) for entry in orjson.loads(body)]
    except (orjson.JSONDecodeError, TypeError, KeyError, ValueError, AttributeError):
        raise InvalidEvents("business landing", "is not one of ours", "Leave the landing to comms") from None


def _possible_ids(events: Sequence[BusinessEvent], secret: bytes) -> list[list[str]]:
    """For each event, the id given, then those that its external id, e-mail address and number would give."""
    given = [
        (row, event.organisation_id, which, getattr(event, which))
        for row, event in enumerate(events)
        for which in _IDENTITIES
        if getattr(event, which) is not None
    ]
    ids: list[list[str]] = [[event.contact_id] if event.contact_id else [] for event in events]
    schema = {"row": pl.Int64, "organisation": pl.String, "which": pl.String, "value": pl.String}
    rows = pl.DataFrame(given, schema=schema, orient="row").with_columns(
        pl.when(which=name).then("value").alias(name) for name in _IDENTITIES
    )
    for part in rows.partition_by("organisation", maintain_order=True):
        known = with_identity(part, part["organisation"][0], secret)
        for row, contact_id in known.select("row", "contact_id").iter_rows():
            if contact_id not in ids[row]:
                ids[row].append(contact_id)
    return ids


def _entry(event: BusinessEvent, contact_ids: list[str], source: str, secret: bytes) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "organisation_id": event.organisation_id,
        "type": event.type,
        "idempotency_key": event.idempotency_key,
        "source": source,
        "contact_ids": contact_ids,
        "email_key": address_key(event.email, Channel.EMAIL, secret).hex() if event.email else None,
        "phone_key": address_key(event.phone, Channel.SMS, secret).hex() if event.phone else None,
        "occurred_at": event.occurred_at,
        "value_micros": event.value_micros,
        "currency": event.currency,
        "properties": event.properties,
    }


def _landed(entry: dict[str, Any]) -> LandedEvent:
    email_key, phone_key, at = entry["email_key"], entry["phone_key"], entry["occurred_at"]
    return LandedEvent(
        event_id=entry["event_id"],
        organisation_id=entry["organisation_id"],
        type=entry["type"],
        idempotency_key=entry["idempotency_key"],
        source=entry["source"],
        contact_ids=tuple(entry["contact_ids"]),
        email_key=bytes.fromhex(email_key) if email_key else None,
        phone_key=bytes.fromhex(phone_key) if phone_key else None,
        occurred_at=datetime.fromisoformat(at) if at else None,
        value_micros=entry["value_micros"],
        currency=entry["currency"],
        properties=orjson.dumps(entry["properties"], option=orjson.OPT_SORT_KEYS).decode(),
    )

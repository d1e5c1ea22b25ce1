"""Rows of `raw.provider_events` and `raw.event_rejects` from landed webhooks, by the parsers of the providers.

This is what a row is; `sendgrid_rows` makes the same ones of plain bodies, faster. Writes nothing.
"""

from collections.abc import Iterable, Sequence

import orjson
import polars as pl

from comms_pipeline.domain.event import InvalidEvents, ProviderEvent, without_addresses
from comms_pipeline.ledger.feeds import LandingRow
from comms_pipeline.providers import own_events
from comms_pipeline.providers.event_parsers import Parsers, parse_landed

Record = dict[str, object]
"""A row by its columns."""

EVENTS = pl.Schema(
    {
        "landing_id": pl.Int64(),
        "position": pl.Int32(),
        "provider": pl.String(),
        "received_at": pl.Datetime("us", "UTC"),
        "kind": pl.String(),
        "raw_kind": pl.String(),
        "occurred_at": pl.Datetime("us", "UTC"),
        "organisation_id": pl.String(),
        "message_id": pl.String(),
        "provider_message_id": pl.String(),
        "provider_event_id": pl.String(),
        "reason": pl.String(),
        "code": pl.String(),
        "url": pl.String(),
        "user_agent": pl.String(),
        "is_machine": pl.Boolean(),
        "payload": pl.String(),
        "load_id": pl.Int64(),
        "ip_key": pl.String(),
        "is_head": pl.Boolean(),
        "is_prefetch": pl.Boolean(),
    }
)
REJECTS = pl.Schema(
    {
        "landing_id": pl.Int64(),
        "provider": pl.String(),
        "received_at": pl.Datetime("us", "UTC"),
        "reason": pl.String(),
    }
)


def parsed(rows: Iterable[LandingRow], parsers: Parsers, load_id: int) -> tuple[list[Record], list[Record]]:
    """Records of `EVENTS` and of `REJECTS`, in the order of the webhooks and of the events in them."""
    events: list[Record] = []
    rejects: list[Record] = []
    for row in rows:
        try:
            found = parse_landed(row.provider, row.kind, row.query, row.body, parsers)
            events += [record(row, position, event, load_id) for position, event in enumerate(found)]
        except InvalidEvents as error:
            rejects.append(_reject(row, error.problem))
        except Exception as error:
            # A fault of a parser must not hold up all that lands behind: replay it once the parser is mended.
            rejects.append(_reject(row, f"its parser failed ({type(error).__name__})"))
    return events, rejects


def record(row: LandingRow, position: int, event: ProviderEvent, load_id: int) -> Record:
    """One row of `EVENTS`."""
    # Only our own web app's words about a request are ours; elsewhere such names are a customer's argument.
    request = event.raw if event.provider == own_events.PROVIDER else {}
    return {
        "landing_id": row.id,
        "position": position,
        "provider": event.provider,
        "received_at": row.received_at,
        "kind": str(event.kind),
        # A kind we know is a word of the provider's; one we do not may be anything.
        "raw_kind": without_addresses(event.raw_kind),
        "occurred_at": event.occurred_at or row.received_at,
        "organisation_id": event.organisation_id,
        "message_id": event.message_id,
        "provider_message_id": event.provider_message_id,
        "provider_event_id": event.provider_event_id,
        "reason": event.reason,
        "code": event.code,
        "url": event.url,
        "user_agent": event.user_agent,
        "is_machine": event.is_machine,
        "payload": orjson.dumps(event.raw).decode(),
        "load_id": load_id,
        "ip_key": request.get("ip_key"),
        "is_head": request.get("is_head"),
        "is_prefetch": request.get("is_prefetch"),
    }


def _reject(row: LandingRow, reason: str) -> Record:
    return {
        "landing_id": row.id,
        "provider": row.provider,
        "received_at": row.received_at,
        "reason": reason,
    }


def events_frame(records: Sequence[Record]) -> pl.DataFrame:
    """Records of `parsed` as columns."""
    return pl.DataFrame(records, schema=EVENTS)


def rejects_frame(records: Sequence[Record]) -> pl.DataFrame:
    """The same for rejects."""
    return pl.DataFrame(records, schema=REJECTS)

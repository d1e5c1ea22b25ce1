"""Loads landed webhooks: raw events exactly once, then the deduplicated ones. Parsing lives with providers."""

from dataclasses import dataclass

import orjson
import polars as pl

from comms_pipeline.domain.event import InvalidEvents, ProviderEvent, without_addresses
from comms_pipeline.ledger import feeds
from comms_pipeline.ledger.feeds import Feed, LandingRow, Watermark
from comms_pipeline.loader.watermarks import move_watermark, read_watermark
from comms_pipeline.providers.event_parsers import parse_landed
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

# A webhook may hold a thousand events.
_WEBHOOKS_PER_COMMIT = 500
_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "landing_id": pl.Int64,
    "position": pl.Int32,
    "provider": pl.String,
    "received_at": pl.Datetime("us", "UTC"),
    "kind": pl.String,
    "raw_kind": pl.String,
    "occurred_at": pl.Datetime("us", "UTC"),
    "organisation_id": pl.String,
    "message_id": pl.String,
    "provider_message_id": pl.String,
    "provider_event_id": pl.String,
    "reason": pl.String,
    "code": pl.String,
    "url": pl.String,
    "user_agent": pl.String,
    "is_machine": pl.Boolean,
    "payload": pl.String,
}
_REJECTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "landing_id": pl.Int64,
    "provider": pl.String,
    "received_at": pl.Datetime("us", "UTC"),
    "reason": pl.String,
}


@dataclass(frozen=True, kw_only=True)
class EventsLoaded:
    """What a drain brought: webhooks read, events in them, webhooks nobody could read."""

    webhooks: int = 0
    events: int = 0
    rejects: int = 0


def load_provider_events(stores: Stores) -> EventsLoaded:
    """Drain the landing into `raw.provider_events`; rows, rejects and watermark commit together."""
    total = EventsLoaded()
    with stores.ledger() as ledger:
        while True:
            with stores.lake.writer() as writer:
                watermark = read_watermark(writer.cursor, Feed.LANDINGS)
                rows = feeds.landings_after(ledger, watermark, _WEBHOOKS_PER_COMMIT)
                if not rows:
                    return total
                events, rejects = _parsed(rows)
                writer.append("raw.provider_events", events)
                writer.append("raw.event_rejects", rejects)
                last = Watermark(xact=rows[-1].xact, last_id=rows[-1].id)
                move_watermark(writer, Feed.LANDINGS, last, stores.now())
                total = EventsLoaded(
                    webhooks=total.webhooks + len(rows),
                    events=total.events + events.height,
                    rejects=total.rejects + rejects.height,
                )


def _parsed(rows: list[LandingRow]) -> tuple[pl.DataFrame, pl.DataFrame]:
    events: list[dict[str, object]] = []
    rejects: list[dict[str, object]] = []
    for row in rows:
        try:
            parsed = parse_landed(row.provider, row.kind, row.query, row.body)
        except InvalidEvents as error:
            rejects.append(
                {
                    "landing_id": row.id,
                    "provider": row.provider,
                    "received_at": row.received_at,
                    "reason": error.problem,
                }
            )
        else:
            events += [_record(row, position, event) for position, event in enumerate(parsed)]
    return pl.DataFrame(events, schema=_SCHEMA), pl.DataFrame(rejects, schema=_REJECTS)


def _record(row: LandingRow, position: int, event: ProviderEvent) -> dict[str, object]:
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
    }


def refresh_events(stores: Stores) -> int:
    """Add to `core.events` what `raw.provider_events` tells and it lacks; returns how many events were new.

    What happened is the key, not how often or under which id it was told. Can run again.
    """
    with stores.lake.writer() as writer:
        row = writer.cursor.execute(named_queries("lake/queries/loader.sql")["refresh_events"]).fetchone()
    return int(row[0]) if row else 0

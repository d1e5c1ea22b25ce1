"""Loads landed business events into `core.business_events`, and credits messages with them in `core.conversions`.

Credit is given where something became known, in the same lake transaction: of the contacts of new business events, and
of those whose messages were touched. So it is never behind, and a full rebuild finds nothing to change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.business_event import CONVERSIONS, CUSTOM_PREFIX, Attribution
from comms_pipeline.domain.event import InvalidEvents
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger.feeds import LandingRow
from comms_pipeline.providers.business_events import LandedEvent, parse
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/conversions.sql"
_DEFAULT = Attribution()
_TOLD: dict[str, pl.DataType | type[pl.DataType]] = {
    "event_id": pl.String,
    "organisation_id": pl.String,
    "type": pl.String,
    "contact_ids": pl.List(pl.String),
    "email_key": pl.Binary,
    "phone_key": pl.Binary,
    "occurred_at": pl.Datetime("us", "UTC"),
    "received_at": pl.Datetime("us", "UTC"),
    "value_micros": pl.Int64,
    "currency": pl.String,
    "properties": pl.String,
    "idempotency_key": pl.String,
    "source": pl.String,
}
_REJECTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "landing_id": pl.Int64,
    "provider": pl.String,
    "received_at": pl.Datetime("us", "UTC"),
    "reason": pl.String,
}


@dataclass(frozen=True, kw_only=True)
class BusinessEventsLoaded:
    """What was loaded: events new to the lake, those told before, and `raw.event_rejects` rows of broken landings."""

    added: int
    repeated: int
    rejects: pl.DataFrame


def add_business_events(
    cursor: duckdb.DuckDBPyConnection,
    landings: Sequence[LandingRow],
    *,
    secret: bytes,
    attribution: Attribution = _DEFAULT,
) -> BusinessEventsLoaded:
    """Add the events of landed bodies inside the open lake transaction, each once, and credit messages with them.

    `secret` keys the addresses that contacts are found by. The caller moves the watermark and keeps the rejects.
    """
    records: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    for row in landings:
        try:
            records += [_record(event, row) for event in parse(row.body)]
        except InvalidEvents as error:
            rejects.append(
                {
                    "landing_id": row.id,
                    "provider": row.provider,
                    "received_at": row.received_at,
                    "reason": error.problem,
                }
            )
    told = pl.DataFrame(records, schema=_TOLD).with_row_index("position")
    added = 0
    if told.height:
        cursor.register("told", _with_contacts(cursor, told, secret).to_arrow())
        added = _changed(_run(cursor, "add_business_events"))
        _run(cursor, "contacts_told")
        cursor.unregister("told")
        _credit(cursor, attribution)
    return BusinessEventsLoaded(
        added=added, repeated=told.height - added, rejects=pl.DataFrame(rejects, schema=_REJECTS)
    )


def attribute(cursor: duckdb.DuckDBPyConnection, touched: str, *, attribution: Attribution = _DEFAULT) -> int:
    """Credit anew what the contacts of messages in `touched` did, inside the open lake transaction.

    `touched` is a relation with a column `message_id`: messages with new events or other verdicts. Returns how many
    conversions were removed and added.
    """
    cursor.execute(f"create or replace temp view messages_touched as from {touched} select message_id")
    _run(cursor, "contacts_of_messages")
    return _credit(cursor, attribution)


def rebuild_conversions(stores: Stores, attribution: Attribution = _DEFAULT) -> int:
    """Credit everything anew, as after a change of windows; returns how many conversions changed. Can run again."""
    with stores.lake.writer() as writer:
        _run(writer.cursor, "all_contacts")
        return _credit(writer.cursor, attribution)


def _credit(cursor: duckdb.DuckDBPyConnection, attribution: Attribution) -> int:
    # Most events lead to no conversion, and those of everybody would be read to find that out.
    if not cursor.execute("from contacts_to_attribute limit 1").fetchall():
        cursor.execute("drop table contacts_to_attribute")
        return 0
    parameters = {
        "types": list(CONVERSIONS),
        "custom_prefix": CUSTOM_PREFIX,
        "click_hours": attribution.click_hours,
        "open_hours": attribution.open_hours,
        "delivered_hours": attribution.delivered_hours,
    }
    _run(cursor, "credit", parameters)
    changed = _changed(_run(cursor, "remove_what_differs")) + _changed(_run(cursor, "add_what_lacks"))
    cursor.execute("drop table credited; drop table contacts_to_attribute")
    return changed


def _record(event: LandedEvent, row: LandingRow) -> dict[str, Any]:
    return {name: getattr(event, name) for name in _TOLD if name != "received_at"} | {
        "contact_ids": list(event.contact_ids),
        "occurred_at": event.occurred_at or row.received_at,
        "received_at": row.received_at,
    }


def _with_contacts(cursor: duckdb.DuckDBPyConnection, told: pl.DataFrame, secret: bytes) -> pl.DataFrame:
    """`told` with `contact_id`: the first of its possible ids that is a contact's, else the contact with its address.

    Else the first possible id: should the contact be imported later, it is the one it gets.
    """
    possible = told.select("position", contact_id="contact_ids").explode("contact_id").drop_nulls()
    cursor.register("told_ids", possible.select("contact_id").unique().to_arrow())
    known = _run(cursor, "known_contacts").pl()
    cursor.unregister("told_ids")
    by_id = possible.join(known, on="contact_id", how="semi", maintain_order="left").unique(
        "position", keep="first", maintain_order=True
    )
    found = told.join(by_id, on="position", how="left", maintain_order="left")
    strangers = found.filter(
        pl.col("contact_id").is_null()
        & (pl.col("email_key").is_not_null() | pl.col("phone_key").is_not_null())
    )
    by_address = _by_address(cursor, strangers, secret)
    return (
        found.join(by_address, on="position", how="left", maintain_order="left")
        .with_columns(
            contact_id=pl.coalesce("contact_id", "contact_by_address", pl.col("contact_ids").list.first())
        )
        .drop("contact_ids", "email_key", "phone_key", "contact_by_address")
    )


def _by_address(cursor: duckdb.DuckDBPyConnection, events: pl.DataFrame, secret: bytes) -> pl.DataFrame:
    """`position` and `contact_by_address` of the events whose address is a contact's, by e-mail before number.

    Addresses have no keys in the lake: those of the organisations in question are keyed anew, a million in a second.
    """
    empty = pl.DataFrame(schema={"position": pl.UInt32, "contact_by_address": pl.String})
    if not events.height:
        return empty
    organisations = events["organisation_id"].unique().to_list()
    contacts = _run(cursor, "addresses_of_organisations", {"organisations": organisations}).pl()
    found = [empty]
    for column, key, channel in (("email", "email_key", Channel.EMAIL), ("phone", "phone_key", Channel.SMS)):
        keyed = contacts.select(
            "organisation_id", "contact_id", key=address_keys(contacts[column], channel, secret)
        )
        # Of contacts that share an address the same one is taken every time.
        keyed = (
            keyed.drop_nulls()
            .sort("contact_id")
            .unique(["organisation_id", "key"], keep="first", maintain_order=True)
        )
        found.append(
            events.select("position", "organisation_id", key=key)
            .join(keyed, on=["organisation_id", "key"])
            .select("position", contact_by_address="contact_id")
        )
    return pl.concat(found).unique("position", keep="first", maintain_order=True)


def _changed(cursor: duckdb.DuckDBPyConnection) -> int:
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def _run(
    cursor: duckdb.DuckDBPyConnection, name: str, parameters: Mapping[str, Any] | None = None
) -> duckdb.DuckDBPyConnection:
    return cursor.execute(named_queries(_QUERIES)[name], dict(parameters or {}))

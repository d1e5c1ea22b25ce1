"""Reads SendGrid's event webhooks as columns: many bodies at once, without an object per event. Writes nothing.

Defined to make the very rows that `event_rows` makes of `providers.sendgrid_events`. Whatever is not plain enough to be
sure of that is read there: fields of an unusual type, and what may quote an address.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import polars as pl

from comms_pipeline.domain.event import EventKind
from comms_pipeline.ledger.feeds import LandingRow
from comms_pipeline.loader.event_rows import EVENTS, events_frame, record
from comms_pipeline.providers import sendgrid_events

KEY = (sendgrid_events.PROVIDER, "events")
"""The webhooks this reads."""

_MESSAGE, _ORGANISATION = sendgrid_events.MESSAGE_ARGUMENT, sendgrid_events.ORGANISATION_ARGUMENT
_AGENT = "useragent"
_TEXTS = (
    *("event", "reason", "response", "status", "type", "url", "sg_message_id", "sg_event_id"),
    *(_AGENT, _MESSAGE, _ORGANISATION),
)
_PLAIN_TYPES = {str, type(None)}
_LATEST = 253_402_300_799
"""The last second of the year 9999."""
# Without one of these there is neither an e-mail address nor a phone number (`domain.event.without_addresses`).
_SIGNS_OF_ADDRESSES = ["@", "%40", "+"]


def read_plain(rows: Sequence[LandingRow], load_id: int) -> tuple[pl.DataFrame, list[LandingRow]]:
    """The events of these webhooks, shaped as `EVENTS`, and the webhooks that are left for others to read.

    Left are other providers', and those that are not a list of objects or hold characters no text may have.
    """
    left, read = [], []
    entries: list[dict[str, Any]] = []
    with _nothing_collected():
        for row in rows:
            found = _entries(row)
            if found is None:
                left.append(row)
            elif found:
                read.append((row, len(found)))
                entries += found
        return _events(read, entries, load_id) if entries else EVENTS.to_frame(), left


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Keep Python from looking for cycles: there are none in JSON, and a million new objects to look through."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _entries(row: LandingRow) -> list[dict[str, Any]] | None:
    # NUL, the only character that the parser takes out of texts, comes as an escape or not at all.
    if (row.provider, row.kind) != KEY or b"\\u0000" in row.body:
        return None
    try:
        entries = orjson.loads(row.body)
    except orjson.JSONDecodeError:
        return None
    is_plain = isinstance(entries, list) and set(map(type, entries)) <= {dict}
    return entries if is_plain else None


def _events(
    read: Sequence[tuple[LandingRow, int]], entries: list[dict[str, Any]], load_id: int
) -> pl.DataFrame:
    """The rows of all entries, which come one after the other from the webhooks in `read`, so many each."""
    told = {name: [entry.get(name) for entry in entries] for name in _TEXTS}
    agents = told[_AGENT]
    columns = {name: _texts(values) for name, values in told.items()}
    columns["timestamp"] = _times([entry.get("timestamp") for entry in entries])
    columns["is_machine"] = pl.Series([entry.get("sg_machine_open") is True for entry in entries])
    columns["payload"] = _payloads(entries)
    frame = pl.DataFrame(columns).with_row_index("entry").hstack(_places(read))
    is_odd = pl.any_horizontal(
        pl.col("timestamp").is_null(),
        pl.col("payload").str.contains_any(_SIGNS_OF_ADDRESSES),
        *(
            pl.lit(pl.Series([type(value) not in _PLAIN_TYPES for value in values]))
            for values in told.values()
            if not set(map(type, values)) <= _PLAIN_TYPES
        ),
    )
    frame = frame.with_columns(is_odd=is_odd)
    odd = frame.filter("is_odd").select("entry", "webhook", "position").rows()
    whole = [entries[entry] | {_AGENT: agents[entry]} for entry, _, _ in odd]
    records = [
        record(read[webhook][0], position, event, load_id)
        for (_, webhook, position), event in zip(odd, sendgrid_events.parse(orjson.dumps(whole)), strict=True)
    ]
    plain = frame.filter(~pl.col("is_odd")).select(**_COLUMNS).with_columns(load_id=pl.lit(load_id, pl.Int64))
    missing = {name: pl.lit(None, EVENTS[name]) for name in EVENTS if name not in plain.columns}
    return pl.concat([plain.with_columns(**missing).select(EVENTS.names()), events_frame(records)])


def _texts(values: list[Any]) -> pl.Series:
    """A field as text; what is none, is null, as is the empty text."""
    if not set(map(type, values)) <= _PLAIN_TYPES:
        values = [value if type(value) in _PLAIN_TYPES else None for value in values]
    texts = pl.Series(values, dtype=pl.String)
    return texts.set(texts == "", None)


def _times(values: list[Any]) -> pl.Series:
    """Unix seconds; what is no whole number of them, is null."""
    return pl.Series(
        [value if type(value) is int and 0 <= value <= _LATEST else None for value in values], dtype=pl.Int64
    )


def _payloads(entries: list[dict[str, Any]]) -> pl.Series:
    """The entries as JSON, after their personal fields were taken out of them."""
    names = {name for name in set().union(*entries) if name.lower() in sendgrid_events.PERSONAL_FIELDS}
    for name in names:
        for entry in entries:
            entry.pop(name, None)
    return pl.Series([orjson.dumps(entry) for entry in entries], dtype=pl.Binary).cast(pl.String)


def _places(read: Sequence[tuple[LandingRow, int]]) -> pl.DataFrame:
    """One row per entry: its webhook (index into `read`), `landing_id`, `received_at` and `position` in it."""
    webhooks = pl.DataFrame(
        {
            "landing_id": [row.id for row, _ in read],
            "received_at": [row.received_at for row, _ in read],
            "position": [range(count) for _, count in read],
        },
        schema={
            "landing_id": pl.Int64,
            "received_at": EVENTS["received_at"],
            "position": pl.List(pl.Int32),
        },
    )
    return webhooks.with_row_index("webhook").explode("position")


_RAW_KIND = pl.col("event").fill_null("")
_BOUNCE_KIND = (
    pl.col("type")
    .fill_null("bounce")
    .replace_strict(
        {raw: str(kind) for raw, kind in sendgrid_events.BOUNCE_KINDS.items()}, default=str(EventKind.UNKNOWN)
    )
)
_KIND = _RAW_KIND.replace_strict(
    {raw: str(kind) for raw, kind in sendgrid_events.KINDS.items()}, default=str(EventKind.UNKNOWN)
)


def _own(name: str, pattern: str) -> pl.Expr:
    """An argument of ours, handed back; null where it has another shape (`domain.event.own_message_id`)."""
    return pl.when(pl.col(name).str.contains(pattern)).then(pl.col(name))


_COLUMNS = {
    "landing_id": pl.col("landing_id"),
    "position": pl.col("position"),
    "provider": pl.lit(sendgrid_events.PROVIDER),
    "received_at": pl.col("received_at"),
    "kind": pl.when(_RAW_KIND == "bounce").then(_BOUNCE_KIND).otherwise(_KIND),
    "raw_kind": _RAW_KIND,
    "occurred_at": pl.from_epoch("timestamp", time_unit="s").cast(EVENTS["occurred_at"]),
    "organisation_id": _own(_ORGANISATION, r"\A[a-z0-9][a-z0-9-]{0,62}\z"),
    "message_id": _own(_MESSAGE, r"\A[0-9a-f]{32}\z"),
    "provider_message_id": pl.col("sg_message_id").str.splitn(".", 2).struct.field("field_0"),
    "provider_event_id": pl.col("sg_event_id"),
    "reason": pl.coalesce("reason", "response"),
    "code": pl.col("status"),
    "url": pl.col("url"),
    "user_agent": pl.col(_AGENT),
    "is_machine": pl.col("is_machine"),
    "payload": pl.col("payload"),
}
"""`EVENTS` by the fields of a plain entry, as `sendgrid_events.parse` has them."""

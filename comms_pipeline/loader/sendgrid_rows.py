"""Reads SendGrid's event webhooks as columns: many bodies at once, without an object per event. Writes nothing.

Defined to make the very rows that `event_rows` makes of `providers.sendgrid_events`. Whatever is not plain enough to be
sure of that is read there: bodies with events of no plain shape, and events that tell no time or may quote an address.
"""

from collections.abc import Sequence

import polars as pl

from comms_pipeline.domain.event import EventKind
from comms_pipeline.ledger.feeds import LandingRow
from comms_pipeline.loader.event_rows import EVENTS, events_frame, record
from comms_pipeline.loader.json_shapes import JsonShape, shape_of
from comms_pipeline.providers import sendgrid_events

KEY = (sendgrid_events.PROVIDER, "events")
"""The webhooks this reads."""

_MESSAGE, _ORGANISATION = sendgrid_events.MESSAGE_ARGUMENT, sendgrid_events.ORGANISATION_ARGUMENT
_TIME, _IS_MACHINE = "timestamp", "sg_machine_open"
_TEXTS = (
    *("event", "reason", "response", "status", "type", "url", "sg_message_id", "sg_event_id", "useragent"),
    *(_MESSAGE, _ORGANISATION),
)
_TEXT_TYPES = {str, type(None)}
_MOST_SHAPES = 50
# Without one of these there is neither an e-mail address nor a phone number (`domain.event.without_addresses`).
_SIGN_OF_ADDRESS = r"@|%40|\+\d"


def read_plain(rows: Sequence[LandingRow], load_id: int) -> tuple[pl.DataFrame, list[LandingRow]]:
    """The events of these webhooks, shaped as `EVENTS`, and the webhooks that are left for others to read.

    Left are other providers', and those that are not a list of plain objects.
    """
    entries = _entries(rows)
    # An event's kind says the most about its shape.
    kinds = entries.partition_by("kind", include_key=False)
    found = [read for kind in kinds for read in _read_kind(kind)]
    if not found:
        return EVENTS.to_frame(), list(rows)
    events = pl.concat(found)
    whole = (
        entries.group_by("webhook")
        .len()
        .join(events.group_by("webhook").len(), on=["webhook", "len"], how="semi")["webhook"]
    )
    events = events.filter(pl.col("webhook").is_in(whole.implode()))
    read = set(whole)
    return _rows(events, rows, load_id), [row for webhook, row in enumerate(rows) if webhook not in read]


def _entries(rows: Sequence[LandingRow]) -> pl.DataFrame:
    """One row per event: `webhook` (index into `rows`), `position` in it, `kind`, `text` without its braces.

    Of webhooks that look like a list of objects. Where a text holds what looks like the end of one, its parts match
    no shape.
    """
    ours = [
        (webhook, row.body)
        for webhook, row in enumerate(rows)
        if (row.provider, row.kind) == KEY and _is_text(row.body)
    ]
    bodies = pl.DataFrame(
        {"webhook": [webhook for webhook, _ in ours], "text": [body for _, body in ours]},
        schema={"webhook": pl.UInt32, "text": pl.Binary},
    )
    body = pl.col("text").cast(pl.String).str.strip_chars_end(" \r\n")
    inside = pl.col("text").str.strip_prefix("[{").str.strip_suffix("}]")
    # SendGrid begins a line with each.
    split = inside.str.replace_all("},\r\n{", "},{", literal=True).str.split("},{")
    return (
        bodies.with_columns(text=body)
        .filter(pl.col("text").str.starts_with("[{"), pl.col("text").str.ends_with("}]"))
        .with_columns(text=split)
        .with_columns(position=pl.int_ranges(0, pl.col("text").list.len(), dtype=pl.Int32))
        .explode("text", "position")
        .with_columns(kind=pl.col("text").str.extract('"event":"([a-z_]*)"'))
    )


def _is_text(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_kind(entries: pl.DataFrame) -> list[pl.DataFrame]:
    """Events with the fields of `_COLUMNS`, of entries mostly alike; those that are not plain are missing."""
    found = []
    for _ in range(_MOST_SHAPES):
        if entries.is_empty():
            break
        shape = shape_of(
            entries["text"][0],
            fields=(*_TEXTS, _TIME, _IS_MACHINE),
            hidden=sendgrid_events.PERSONAL_FIELDS,
        )
        if shape is None:
            # The rest of its webhook cannot be read here either.
            entries = entries.filter(pl.col("webhook") != entries["webhook"][0])
            continue
        told = entries.with_columns(told=pl.col("text").str.extract_groups(shape.pattern))
        is_told = pl.col("told").struct.field(shape.parts[0]).is_not_null()
        found.append(told.filter(is_told).select("webhook", "position", "text", **_fields(shape)))
        entries = told.filter(~is_told).drop("told")
    return found


def _fields(shape: JsonShape) -> dict[str, pl.Expr]:
    """What a match of the shape tells; `is_odd` where it is to be read as an object."""
    told = pl.col("told").struct
    texts = {
        name: told.field(name) if shape.types.get(name) is str else pl.lit(None, pl.String) for name in _TEXTS
    }
    is_timed = shape.types.get(_TIME) is int
    parts = [told.field(part) for part in shape.parts]
    payload = pl.concat_str(pl.lit("{"), pl.concat_str(parts, separator=","), pl.lit("}"))
    is_shape_odd = not is_timed or any(shape.types.get(name, str) not in _TEXT_TYPES for name in _TEXTS)
    return {
        **{name: pl.when(text != "").then(text) for name, text in texts.items()},
        _TIME: told.field(_TIME).cast(pl.Int64) if is_timed else pl.lit(None, pl.Int64),
        "is_machine": told.field(_IS_MACHINE) == "true"
        if shape.types.get(_IS_MACHINE) is bool
        else pl.lit(False),
        "payload": payload,
        "is_odd": pl.lit(is_shape_odd)
        | pl.col("text").str.contains("\\", literal=True)
        | payload.str.contains(_SIGN_OF_ADDRESS),
    }


def _rows(events: pl.DataFrame, rows: Sequence[LandingRow], load_id: int) -> pl.DataFrame:
    """`EVENTS` of what was read."""
    odd = events.filter("is_odd").select("webhook", "position", "text")
    body = f"[{','.join(f'{{{text}}}' for text in odd['text'])}]".encode()
    records = [
        record(rows[webhook], position, event, load_id)
        for (webhook, position, _), event in zip(odd.iter_rows(), sendgrid_events.parse(body), strict=True)
    ]
    landings = pl.DataFrame(
        {"landing_id": [row.id for row in rows], "received_at": [row.received_at for row in rows]},
        schema={name: EVENTS[name] for name in ("landing_id", "received_at")},
    )
    told = events.filter(~pl.col("is_odd"))
    plain = (
        told.hstack(landings[told["webhook"]])
        .select(**_COLUMNS)
        .with_columns(load_id=pl.lit(load_id, pl.Int64))
    )
    missing = {name: pl.lit(None, EVENTS[name]) for name in EVENTS if name not in plain.columns}
    return pl.concat([plain.with_columns(**missing).select(EVENTS.names()), events_frame(records)])


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
    "user_agent": pl.col("useragent"),
    "is_machine": pl.col("is_machine"),
    "payload": pl.col("payload"),
}
"""`EVENTS` by the fields of a plain entry, as `sendgrid_events.parse` has them."""

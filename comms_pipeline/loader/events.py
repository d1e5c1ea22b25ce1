"""Loads landed webhooks into the lake: every event as it was told, exactly once, and what nobody could read.

Parsing lives with providers; what the events amount to is made of them in `core_events`.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import polars as pl
import psycopg

from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.ledger import feeds
from comms_pipeline.ledger.feeds import Feed, LandingRow, Watermark
from comms_pipeline.loader import sendgrid_rows
from comms_pipeline.loader.conversions import add_business_events
from comms_pipeline.loader.core_events import refresh_events
from comms_pipeline.loader.event_rows import EVENTS, events_frame, parsed, rejects_frame
from comms_pipeline.loader.watermarks import move_watermark, next_load_id, read_watermark
from comms_pipeline.providers import business_events
from comms_pipeline.providers.event_parsers import PARSERS, Parsers
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

__all__ = ["EventsLoaded", "insert_landed", "load_provider_events", "refresh_events"]

# A webhook may hold one event or a thousand: how many are read at once follows from how big the last ones were.
_FEWEST_WEBHOOKS, _MOST_WEBHOOKS = 100, 10_000
_BYTES_PER_READ = 8 * 1024 * 1024
_BYTES_PER_COMMIT = 512 * 1024 * 1024
_WEBHOOKS_PER_COMMIT = 50_000
# Every insert costs the lake a file, and some time. What is read ahead meanwhile is about the next one's.
_EVENTS_PER_INSERT = 50_000
_READS_AHEAD = 4
# Fewer are read sooner one by one.
_BYTES_READ_AS_COLUMNS = 256 * 1024
_UNKNOWN_KINDS_SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class EventsLoaded:
    """What a drain brought: webhooks read, events in them, webhooks nobody could read.

    `unknown_kinds`: (provider, raw_kind, number) of the events whose kind no table knows, the most frequent first.
    `reject_reasons`: number by (provider, reason).
    """

    webhooks: int = 0
    events: int = 0
    rejects: int = 0
    unknown_kinds: Sequence[tuple[str, str, int]] = ()
    reject_reasons: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Inserted:
    """What came of some webhooks, all of it inserted."""

    events: int
    rejects: Counter[tuple[str, str]]


def load_provider_events(stores: Stores, parsers: Parsers = PARSERS) -> EventsLoaded:
    """Drain the landing into `raw.provider_events`; rows, rejects and watermark commit together."""
    webhooks = events = 0
    rejects: Counter[tuple[str, str]] = Counter()
    first_load: int | None = None
    with stores.ledger() as ledger:
        while True:
            with stores.lake.writer() as writer:
                load_id = next_load_id(writer)
                first_load = first_load or load_id
                watermark, rows = _drain(ledger, writer, parsers, load_id, stores.secret)
                if rows is None:
                    return EventsLoaded(
                        webhooks=webhooks,
                        events=events,
                        rejects=rejects.total(),
                        unknown_kinds=_unknown_kinds(writer, first_load),
                        reject_reasons=rejects,
                    )
                move_watermark(writer, Feed.LANDINGS, watermark, stores.now(), load_id=load_id)
            webhooks += rows.webhooks
            events += rows.events
            rejects += rows.rejects


@dataclass(frozen=True, kw_only=True)
class _Drained(Inserted):
    webhooks: int


def _drain(
    ledger: psycopg.Connection, writer: LakeWriter, parsers: Parsers, load_id: int, secret: bytes
) -> tuple[Watermark, _Drained | None]:
    """Insert as many webhooks as make a commit; returns how far that is, and None when there are none."""
    watermark = read_watermark(writer.cursor, Feed.LANDINGS)
    webhooks = events = 0
    rejects: Counter[tuple[str, str]] = Counter()
    parse = partial(_parse, parsers=parsers, load_id=load_id)
    with _parsed_ahead(_read(ledger, watermark), parse) as parts:
        for part in _joined(parts):
            for inserted in (
                _insert(writer, part),
                _insert_business_events(writer, part.business, secret),
            ):
                events += inserted.events
                rejects += inserted.rejects
            watermark = part.watermark
            webhooks += part.webhooks
    drained = _Drained(webhooks=webhooks, events=events, rejects=rejects)
    return watermark, drained if webhooks else None


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What some webhooks tell: `EVENTS` and `REJECTS`. The business's own events are not read yet.

    `watermark` is of the last webhook.
    """

    webhooks: int
    watermark: Watermark
    business: Sequence[LandingRow]
    events: pl.DataFrame
    rejects: pl.DataFrame


def _read(ledger: psycopg.Connection, watermark: Watermark) -> Iterator[Sequence[LandingRow]]:
    """As many webhooks as make a commit, some at a time."""
    webhooks = size = 0
    limit = _FEWEST_WEBHOOKS
    while size < _BYTES_PER_COMMIT and webhooks < _WEBHOOKS_PER_COMMIT:
        rows = feeds.landings_after(ledger, watermark, min(limit, _WEBHOOKS_PER_COMMIT - webhooks))
        if not rows:
            return
        yield rows
        watermark = _after(rows)
        webhooks += len(rows)
        read = sum(len(row.body) for row in rows)
        size += read
        limit = max(_FEWEST_WEBHOOKS, min(_MOST_WEBHOOKS, _BYTES_PER_READ * len(rows) // max(read, 1)))


def _parse(rows: Sequence[LandingRow], parsers: Parsers, load_id: int) -> _Part:
    business = [row for row in rows if row.provider == business_events.PROVIDER]
    told = [row for row in rows if row.provider != business_events.PROVIDER]
    plain = EVENTS.to_frame()
    if _can_be_columns(told, parsers):
        plain, told = sendgrid_rows.read_plain(told, load_id)
    events, rejects = parsed(told, parsers, load_id)
    return _Part(
        webhooks=len(rows),
        watermark=_after(rows),
        business=business,
        events=pl.concat([plain, events_frame(events)]),
        rejects=rejects_frame(rejects),
    )


def _after(rows: Sequence[LandingRow]) -> Watermark:
    return Watermark(xact=rows[-1].xact, last_id=rows[-1].id)


@contextmanager
def _parsed_ahead(
    reads: Iterator[Sequence[LandingRow]], parse: Callable[[Sequence[LandingRow]], _Part]
) -> Iterator[Iterator[_Part]]:
    """What was read, parsed, in its order: more is read and parsed while the caller works on a part.

    As many parts are parsed at once as there are processors. Nothing runs any more once the block is left.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(os.cpu_count() or 1) as parsers:

        def ahead() -> Iterator[_Part]:
            parts: deque[Future[_Part]] = deque()
            read = reader.submit(next, reads, None)
            while True:
                while len(parts) < _READS_AHEAD and (rows := read.result()) is not None:
                    parts.append(parsers.submit(parse, rows))
                    read = reader.submit(next, reads, None)
                if not parts:
                    return
                yield parts.popleft().result()

        yield ahead()


def _joined(parts: Iterator[_Part]) -> Iterator[_Part]:
    """The same, in fewer parts: as many together as are worth an insert."""
    some: list[_Part] = []
    for part in parts:
        some.append(part)
        if sum(part.events.height for part in some) >= _EVENTS_PER_INSERT:
            yield _one_of(some)
            some = []
    if some:
        yield _one_of(some)


def _one_of(parts: Sequence[_Part]) -> _Part:
    return _Part(
        webhooks=sum(part.webhooks for part in parts),
        watermark=parts[-1].watermark,
        business=[row for part in parts for row in part.business],
        events=pl.concat([part.events for part in parts]),
        rejects=pl.concat([part.rejects for part in parts]),
    )


def insert_landed(writer: LakeWriter, rows: Sequence[LandingRow], parsers: Parsers, load_id: int) -> Inserted:
    """Insert the events and rejects of these webhooks, in the open transaction. Not of the business's own events."""
    return _insert(writer, _parse(rows, parsers, load_id))


def _insert(writer: LakeWriter, part: _Part) -> Inserted:
    writer.append("raw.provider_events", part.events)
    writer.append("raw.event_rejects", part.rejects)
    reasons = part.rejects.select("provider", "reason").iter_rows()
    return Inserted(events=part.events.height, rejects=Counter(reasons))


def _insert_business_events(writer: LakeWriter, rows: Sequence[LandingRow], secret: bytes) -> Inserted:
    if not rows:
        return Inserted(events=0, rejects=Counter())
    loaded = add_business_events(writer.cursor, rows, secret=secret)
    writer.append("raw.event_rejects", loaded.rejects)
    reasons = loaded.rejects.select("provider", "reason").iter_rows()
    return Inserted(events=loaded.added, rejects=Counter(reasons))


def _can_be_columns(rows: Sequence[LandingRow], parsers: Parsers) -> bool:
    """Whether there is enough to read as columns, and the parser that reading stands for is the one in use."""
    if parsers.get(sendgrid_rows.KEY) is not PARSERS[sendgrid_rows.KEY]:
        return False
    size = sum(len(row.body) for row in rows if (row.provider, row.kind) == sendgrid_rows.KEY)
    return size >= _BYTES_READ_AS_COLUMNS


def _unknown_kinds(writer: LakeWriter, first_load: int) -> Sequence[tuple[str, str, int]]:
    """Of the loads from `first_load` on."""
    query = named_queries("lake/queries/loader.sql")["unknown_kinds"]
    return writer.cursor.execute(query, {"first_load": first_load, "most": _UNKNOWN_KINDS_SHOWN}).fetchall()

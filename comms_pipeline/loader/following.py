"""Keeps the lake at the heels of the ledger: what lands shows as a message's status within seconds.

It does what the assets up to `core/message_status` do, without a run of its own; scores and marts are left to runs.
"""

import logging
from collections.abc import Callable
from threading import Event

import duckdb
import psycopg

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.ledger import feeds
from comms_pipeline.ledger.feeds import Feed, Watermark
from comms_pipeline.loader.core_events import refresh_events
from comms_pipeline.loader.events import load_provider_events
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.loader.watermarks import read_watermark
from comms_pipeline.stores import Stores

_PAUSE_SECONDS = 1.0
_PAUSE_AFTER_TROUBLE_SECONDS = 10.0
_log = logging.getLogger(__name__)

Marks = dict[Feed, Watermark]
"""How far each feed is loaded."""


def read_marks(stores: Stores) -> Marks:
    """As the lake has them."""
    with stores.lake.reader() as cursor:
        return {feed: read_watermark(cursor, feed) for feed in Feed}


def is_waiting(stores: Stores, marks: Marks) -> bool:
    """Whether a feed has rows behind its mark."""
    with stores.ledger() as ledger:
        return any(feeds.waiting(ledger, feed, mark) for feed, mark in marks.items())


def catch_up(stores: Stores) -> None:
    """Load what has landed, as far as `core.message_status`. Can run beside itself: the lake has one writer."""
    load_outcomes(stores)
    load_provider_events(stores)
    refresh_events(stores)
    refresh_message_status(stores)


def follow(
    stores: Stores,
    stopped: Event,
    *,
    work: Callable[[Stores], None] = catch_up,
    pause: float = _PAUSE_SECONDS,
) -> None:
    """Catch up whenever something has landed, until `stopped`. A database that is away is waited for.

    Asking costs the ledger a look at two indexes; the lake is left alone while nothing lands.
    """
    marks: Marks | None = None
    while not stopped.is_set():
        try:
            # Once at the start: whoever was killed may have left events that no status knows of yet.
            if marks is None or is_waiting(stores, marks):
                work(stores)
                marks = read_marks(stores)
        except (CommsError, psycopg.Error, duckdb.Error) as error:
            # Its text may quote a value.
            _log.warning("the loader could not go on: %s", type(error).__name__)
            stores.lake.close()
            marks = None
            stopped.wait(_PAUSE_AFTER_TROUBLE_SECONDS)
        stopped.wait(pause)

"""Balances a send's books: what the plan, the ledger, the outcomes and the providers' events say of its messages.

Only a send whose books agree is closed. Asks no provider; that is `dispatch.reconcile`.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import duckdb
import polars as pl
import psycopg

from comms_pipeline.ledger import batches, sends
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_COUNTS = 4
_PAUSE_SECONDS = 0.5
_QUERIES = "lake/queries/reconciliation.sql"


@dataclass(frozen=True, kw_only=True)
class Balance:
    """One send in messages, by who counts them.

    Lake: `planned`, and by state `accepted` … `waiting`. Ledger: `enqueued`, and `held` (waiting, in flight or in
    doubt). Providers: `confirmed`, accepted messages of which any event was heard; `contradicted`, refused or
    cancelled ones that were delivered all the same.
    """

    planned: int
    accepted: int
    refused: int
    deferred: int
    cancelled: int
    unknown: int
    waiting: int
    confirmed: int
    contradicted: int
    enqueued: int
    held: int

    @property
    def differences(self) -> dict[str, int]:
        """What does not agree, by the name of the rule; empty when the books are balanced."""
        found = {
            "planned, not enqueued": self.planned - self.enqueued,
            "open in the lake, not held in the ledger": self.waiting
            + self.deferred
            + self.unknown
            - self.held,
            "states beyond the plan": max(-self.waiting, 0),
            "delivered, though recorded as not sent": self.contradicted,
        }
        return {rule: count for rule, count in found.items() if count}

    @property
    def is_balanced(self) -> bool:
        """Whether nothing is missing and nothing is counted twice."""
        return not self.differences


def reconcile_books(stores: Stores, send_id: str) -> tuple[Balance, bool]:
    """Balance a send, write the row, and close the send if its books agree and nothing is open; (balance, closed).

    A worker may record outcomes while we count: what does not agree is counted again a moment later.
    """
    for is_last in (False,) * (_COUNTS - 1) + (True,):
        load_outcomes(stores)
        with stores.ledger() as ledger, stores.lake.reader() as cursor:
            balance = _balance(ledger, cursor, send_id)
        if balance.is_balanced or is_last:
            break
        time.sleep(_PAUSE_SECONDS)
    row = {
        "send_id": send_id,
        **asdict(balance),
        "is_balanced": balance.is_balanced,
        "reconciled_at": stores.now(),
    }
    with stores.lake.writer() as writer:
        writer.replace_partition("campaign.reconciliations", "send_id", send_id, pl.DataFrame([row]))
    with stores.ledger() as ledger, ledger.transaction():
        return balance, balance.is_balanced and sends.complete_send(ledger, send_id)


def heard_of(stores: Stores, message_ids: Sequence[str]) -> dict[str, str]:
    """`dispatch.reconcile.Heard`, as the lake has it."""
    with stores.lake.reader() as cursor:
        found = cursor.execute(named_queries(_QUERIES)["heard"], {"message_ids": list(message_ids)})
        return dict(found.fetchall())


def _balance(ledger: psycopg.Connection, cursor: duckdb.DuckDBPyConnection, send_id: str) -> Balance:
    counted = cursor.execute(named_queries(_QUERIES)["balance"], {"send_id": send_id})
    names = [column[0] for column in counted.description or ()]
    row = counted.fetchone()
    assert row is not None, "an aggregate without groups has one row"
    progress = batches.progress(ledger, send_id)
    return Balance(
        **dict(zip(names, row, strict=True)),
        enqueued=sum(batches.enqueued(ledger, send_id).values()),
        held=progress.waiting + progress.in_flight + progress.in_doubt,
    )

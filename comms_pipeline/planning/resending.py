"""Sending again, on purpose, to some of a complete send: a new send of the same campaign version, to them alone.

It is a send like any other: its messages have ids of their own, rules and suppressions are asked anew, its books are
its own. Only its audience is given.
"""

from collections.abc import Sequence
from enum import StrEnum

import duckdb
import polars as pl
import psycopg

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.ledger import operations, sends
from comms_pipeline.planning.audience import audience_of
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.occurrences import send_id_of
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/resending.sql"


class Whom(StrEnum):
    """Who is sent to again."""

    CONTACTS = "contacts"
    """Those named, whatever became of their message."""
    REFUSED = "refused"
    """Whose message was refused for a reason."""
    DEAD = "dead"
    """Whose message met passing faults until it was given up."""


class NotResendable(CommsError):
    """The send is not complete, or its dead letters can still be retried."""


def choose(stores: Stores, send_id: str, whom: Whom, contact_ids: Sequence[str] = ()) -> list[str]:
    """The contacts of a send to send to again, sorted. Raises `NotFound`, and `NotResendable` while it is open."""
    with stores.ledger() as ledger:
        _require_complete(ledger, send_id, whom)
    parameters = {"send_id": send_id, "whom": str(whom), "contact_ids": list(contact_ids)}
    with stores.lake.reader() as cursor:
        return [row[0] for row in cursor.execute(named_queries(_QUERIES)["fared"], parameters).fetchall()]


def order(stores: Stores, send_id: str, contact_ids: Sequence[str], *, actor: str) -> str:
    """Create the send to these contacts, due now; returns its id. Raises as `choose` does."""
    with stores.ledger() as ledger, ledger.transaction():
        _require_complete(ledger, send_id, Whom.CONTACTS)
        first = sends.get_send(ledger, send_id)
        created = _again(first, operations.lock_resends(ledger, send_id) + 1)
        sends.create_send(
            ledger,
            send_id=created,
            campaign_id=first.campaign_id,
            version=first.version,
            due_at=stores.now(),
        )
        operations.put_resend(ledger, created, of_send=send_id, contact_ids=contact_ids, actor=actor)
    return created


def audience_for(
    cursor: duckdb.DuckDBPyConnection, ledger: psycopg.Connection, context: SendContext, stores: Stores
) -> pl.DataFrame:
    """Rows of `campaign.audiences` for a send: the contacts it was ordered for, else its campaign's audience."""
    chosen = operations.resent_to(ledger, context.send.send_id)
    if chosen is None:
        return audience_of(cursor, stores, context)
    return pl.DataFrame({"contact_id": chosen}, schema={"contact_id": pl.String}).select(
        send_id=pl.lit(context.send.send_id), contact_id="contact_id", selected_at=pl.lit(stores.now())
    )


def _again(first: sends.Send, number: int) -> str:
    """`spring--2026` is sent again as `spring--2026-again-1`, `spring` as `spring--again-1`."""
    occurrence = first.send_id.removeprefix(first.campaign_id).removeprefix("--")
    return send_id_of(first.campaign_id, f"{occurrence}-again-{number}".removeprefix("-"))


def _require_complete(ledger: psycopg.Connection, send_id: str, whom: Whom) -> None:
    send = sends.get_send(ledger, send_id)
    if send.status != "sent":
        raise NotResendable(
            f"send {send_id}", f"it is {send.status}", "Wait until it is sent: what is left goes by itself"
        )
    if whom is Whom.DEAD and operations.dead_letters(ledger, send_id):
        raise NotResendable(
            f"send {send_id}",
            "its dead letters can be retried",
            f"Run `comms dead-letters retry --send {send_id}`",
        )

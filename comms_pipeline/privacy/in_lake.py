"""One person in the lake: what there is, and erasing it from tables, files, snapshots and statistics."""

from collections.abc import Sequence
from datetime import datetime

import duckdb
import polars as pl

from comms_pipeline.lake.erase import forget_deleted
from comms_pipeline.lake.lake import Lake
from comms_pipeline.privacy.lines import Line
from comms_pipeline.privacy.spellings import REDACTED, Spellings
from comms_pipeline.sqlfiles import named_queries

_QUERIES = "lake/queries/privacy.sql"
_SCORES = ("contact_scores", "send_hours")
_WORDS = (
    "contact_imports",
    "contact_rejects",
    "provider_events",
    "event_rejects",
    "events",
    "business_events",
    "outcomes",
    "message_status",
)
"""Tables with words of others. Addresses are taken out before they get there; what slipped through goes now."""
_TOUCHED = (
    "core.contacts",
    *(f"core.{table}" for table in _SCORES),
    *(f"raw.{table}" for table in _WORDS[:4]),
    *(f"core.{table}" for table in _WORDS[4:]),
)


def messages_of(lake: Lake, contact_id: str) -> tuple[pl.DataFrame, list[tuple[str, int]]]:
    """`message_id`, `send_id` and `lane` of every message planned for a contact, and the plans they are in."""
    queries, parameters = named_queries(_QUERIES), {"contact_id": contact_id}
    with lake.reader() as cursor:
        messages = cursor.execute(queries["messages_of_contact"], parameters).pl()
        return messages, cursor.execute(queries["plans_of_contact"], parameters).fetchall()


def provider_ids_of(lake: Lake, contact_id: str) -> list[tuple[str, str | None]]:
    """Provider and its own message id of everything that was accepted for a contact."""
    query = named_queries(_QUERIES)["provider_ids_of_contact"]
    with lake.reader() as cursor:
        return cursor.execute(query, {"contact_id": contact_id}).fetchall()


def erase_contact(lake: Lake, contact_id: str, *, now: datetime) -> list[Line]:
    """Empty the contact's row and delete what was computed about it, in one transaction.

    What was sent to it stays under its id, a keyed hash that leads to nobody any more: counts must still sum.
    `forget` makes it final.
    """
    with lake.writer() as writer:
        lines = [
            Line(
                store="lake: core.contacts",
                rows=_changed(writer.cursor, "blank_contact", contact_id=contact_id, now=now),
                fate="emptied; the id stays, so that no import brings the person back",
            )
        ]
        for table in _SCORES:
            deleted = _changed(writer.cursor, f"delete_{table}", contact_id=contact_id)
            lines.append(Line(store=f"lake: core.{table}", rows=deleted, fate="deleted"))
    messages, _ = messages_of(lake, contact_id)
    fate = "kept under the id, which leads to nobody: counts still sum"
    return [
        *lines,
        Line(store="lake: campaign.*, core.outcomes, core.events", rows=messages.height, fate=fate),
    ]


def redact_texts(lake: Lake, spellings: Sequence[Spellings]) -> Line:
    """Replace the address in whatever providers and files wrote."""
    with lake.writer() as writer:
        for macro in ("make_may_hold", "make_redacted"):
            writer.cursor.execute(named_queries(_QUERIES)[macro])
        changed = sum(
            _changed(writer.cursor, f"redact_{table}", pattern=each.pattern, anchor=each.anchor)
            for each in spellings
            for table in _WORDS
        )
    return Line(store="lake: words of others", rows=changed, fate=f"address replaced by {REDACTED}")


def forget(lake: Lake) -> None:
    """Make final what was erased from any table here: see `lake.erase`."""
    forget_deleted(lake, _TOUCHED)


def _changed(cursor: duckdb.DuckDBPyConnection, name: str, **parameters: object) -> int:
    row = cursor.execute(named_queries(_QUERIES)[name], parameters).fetchone()
    return int(row[0]) if row else 0

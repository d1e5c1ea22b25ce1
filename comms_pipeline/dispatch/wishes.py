"""What the recipients of claims have said about marketing: choices, pauses, caps of their own. Drops nobody.

Somebody goes by an address key and, where the payload knows it, a contact id; the newest word of either holds.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl
import psycopg

from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import preferences
from comms_pipeline.ledger.batches import Claim
from comms_pipeline.ledger.preferences import PersonalLimits, Wish

SAID = pl.Schema({"message_id": pl.String, "is_unwanted": pl.Boolean, "weekly_cap": pl.Int16})
"""Columns of what was said: a row per message whose recipient has said anything."""

_INSTANT = pl.Datetime("us", "UTC")
_WISHES = pl.Schema(
    {"subject": pl.Binary(), "is_of_topic": pl.Boolean(), "changed_at": _INSTANT, "is_wanted": pl.Boolean()}
)
_LIMITS = pl.Schema(
    {"subject": pl.Binary(), "changed_at": _INSTANT, "paused_until": _INSTANT, "weekly_cap": pl.Int16()}
)


def said_by_recipients(
    connection: psycopg.Connection,
    claims: Sequence[Claim],
    payloads: Mapping[int, pl.DataFrame],
    now: datetime,
) -> dict[int, pl.DataFrame]:
    """`SAID` by batch id, of claims of one organisation, channel and topic. Empty when nobody has said anything."""
    first = claims[0]
    goes_by = {claim.batch_id: _goes_by(payloads[claim.batch_id]) for claim in claims}
    subjects = [subject for frame in goes_by.values() for subject in frame["subject"].to_list()]
    wishes = preferences.stated(
        connection,
        organisation_id=first.organisation_id,
        channel=Channel(first.channel),
        topic=first.topic,
        subjects=subjects,
    )
    limits = preferences.limits_of(connection, first.organisation_id, subjects)
    if not wishes and not limits:
        return {}
    wished, limited = _wish_rows(wishes), _limit_rows(limits)
    return {batch_id: _said(frame, wished, limited, now) for batch_id, frame in goes_by.items()}


def _goes_by(payload: pl.DataFrame) -> pl.DataFrame:
    """`message_id` and `subject` of all that its recipient goes by. Older payloads know no contact."""
    by_address = payload.select("message_id", subject="address_key")
    if "contact_id" not in payload.columns:
        return by_address
    by_contact = payload.select("message_id", subject=pl.col("contact_id").str.decode("hex"))
    return pl.concat([by_address, by_contact]).drop_nulls()


def _wish_rows(wishes: Mapping[bytes, Wish]) -> pl.DataFrame:
    return pl.DataFrame([(subject, *wish) for subject, wish in wishes.items()], _WISHES, orient="row")


def _limit_rows(limits: Mapping[bytes, PersonalLimits]) -> pl.DataFrame:
    rows = [
        (subject, each.changed_at, each.paused_until, each.weekly_cap) for subject, each in limits.items()
    ]
    return pl.DataFrame(rows, _LIMITS, orient="row")


def _said(goes_by: pl.DataFrame, wishes: pl.DataFrame, limits: pl.DataFrame, now: datetime) -> pl.DataFrame:
    wished = _newest(goes_by, wishes, "is_of_topic", "changed_at")
    limited = _newest(goes_by, limits, "changed_at")
    is_refused = ~pl.col("is_wanted").fill_null(True)
    is_paused = (pl.col("paused_until") > now).fill_null(False)
    return wished.join(limited, on="message_id", how="full", coalesce=True).select(
        "message_id", is_unwanted=is_refused | is_paused, weekly_cap="weekly_cap"
    )


def _newest(goes_by: pl.DataFrame, rows: pl.DataFrame, *order: str) -> pl.DataFrame:
    """The last row in `order` for each message whose recipient has one."""
    found = goes_by.join(rows, on="subject").sort(order)
    return found.unique("message_id", keep="last", maintain_order=True)

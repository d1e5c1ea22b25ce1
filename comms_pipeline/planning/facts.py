"""The facts that rules look at, from lake and ledger, for slices of an audience. Decides nothing.

What a frame of facts holds is said by `compliance.decide`. Addresses never leave the process that reads them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import polars as pl
import psycopg

from comms_pipeline.compliance.places import places
from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.ledger import do_not_call, suppressions
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.planning.choices import is_assigned_holdout, is_held_out
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.holders import ADDRESS_COLUMN, holders
from comms_pipeline.planning.said import Said
from comms_pipeline.sqlfiles import named_queries

SLICE = 100_000
"""Contacts whose facts are in memory at a time, whatever the size of the audience."""
LONGEST_CAP = timedelta(hours=744)
"""How far back messages can count against a frequency cap: 31 days."""

_MOMENT = pl.Datetime("us", "UTC")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Facts:
    """The facts about everybody of a send's audience who is not planned yet, as of `at`, the time it is due.

    `at` is the moment for which recent messages are counted. The cursor is busy while slices are read.
    """

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        ledger: psycopg.Connection,
        context: SendContext,
        *,
        secret: bytes,
        at: datetime,
    ) -> None:
        self._cursor = cursor
        self._ledger = ledger
        self._context = context
        self._secret = secret
        self._at = at
        self._said = Said(ledger, context.organisation.organisation_id, context.spec.topic)
        send_id = context.send.send_id
        self._holders = {channel: holders(cursor, send_id, channel) for channel in context.spec.channels}

    def slices(self) -> Iterator[pl.DataFrame]:
        """What holds for every channel, at most `SLICE` contacts at a time, in no order."""
        spec = self._context.spec
        date_off = spec.hours.date_off if spec.hours else None
        parameters = {
            "send_id": self._context.send.send_id,
            "organisation": self._context.organisation.organisation_id,
            "since": self._at - LONGEST_CAP,
            "is_capped": spec.message_class is MessageClass.MARKETING,
            "date_off": _json_path(date_off) if date_off else "$",
            "assigned_by": assigned_by(spec),
        }
        reader = self._cursor.execute(
            named_queries(QUERIES)["eligibility_facts"], parameters
        ).to_arrow_reader(SLICE)
        for batch in reader:
            part = pl.DataFrame(pl.from_arrow(batch))
            held_out = _held_out(part, spec)
            yield part.with_columns(
                places(part.select("time_zone", "country", "region", "postcode", "phone")),
                holdout=pl.when(pl.lit(held_out)).then(pl.lit(f"{spec.holdout * 100:g} %")),
                contact_key=pl.col("contact_id").str.decode("hex"),
            )

    def of_channel(self, contacts: pl.DataFrame, channel: Channel) -> pl.DataFrame:
        """A slice with what holds for one channel: a row per contact, in the same order."""
        addresses = contacts[ADDRESS_COLUMN[channel]]
        facts = contacts.with_columns(
            address=addresses,
            address_key=address_keys(addresses, channel, self._secret),
            recent_at=pl.col(f"recent_{channel}").fill_null([]).cast(pl.List(_MOMENT)),
            recent_topics=pl.col(f"topics_{channel}").fill_null([]).cast(pl.List(pl.String)),
        ).join(self._holders[channel], on="contact_id", how="left", maintain_order="left")
        keys = facts["address_key"].drop_nulls().unique().to_list()
        subjects = [*facts["contact_key"].to_list(), *keys]
        facts = self._with_suppressions(facts, channel, keys)
        facts = self._with_consents(facts, channel, subjects)
        return self._with_wishes(facts, channel, subjects)

    def _with_suppressions(self, facts: pl.DataFrame, channel: Channel, keys: list[bytes]) -> pl.DataFrame:
        organisation_id = self._context.organisation.organisation_id
        message_class = self._context.spec.message_class
        reasons = suppressions.reasons(self._ledger, organisation_id, channel, keys, message_class)
        listed = do_not_call.listed(self._ledger, keys) if channel is Channel.SMS else set()
        return facts.with_columns(
            suppression_reason=_looked_up("address_key", reasons, pl.String),
            is_do_not_call=_looked_up("address_key", dict.fromkeys(listed, True), pl.Boolean).fill_null(
                False
            ),
        )

    def _with_consents(self, facts: pl.DataFrame, channel: Channel, subjects: list[bytes]) -> pl.DataFrame:
        """The newest consent there is: by contact, by address, else as the import said."""
        found = self._said.consents(channel, subjects)
        imported = pl.when(pl.col("imported_source").is_not_null())
        facts = facts.with_columns(
            consent_kind=imported.then("imported_kind"),
            consent_state=imported.then(pl.lit("given")),
            consent_at=imported.then("imported_at").cast(_MOMENT),
        )
        if not found:
            return facts
        known = pl.DataFrame(
            [(key, each.kind, str(each.state), each.at) for key, each in found.items()],
            schema={"subject": pl.Binary, "kind": pl.String, "state": pl.String, "at": _MOMENT},
            orient="row",
        )
        for key in ("contact_key", "address_key"):
            facts = facts.join(known, left_on=key, right_on="subject", how="left", maintain_order="left")
            # What people said themselves comes before what an import said, whenever that was.
            is_imported = pl.col("consent_at").is_null() | pl.col("imported_source").is_not_null()
            is_newer = pl.col("at").is_not_null() & (is_imported | (pl.col("at") > pl.col("consent_at")))
            facts = facts.with_columns(
                consent_kind=pl.when(is_newer).then("kind").otherwise("consent_kind"),
                consent_state=pl.when(is_newer).then("state").otherwise("consent_state"),
                consent_at=pl.when(is_newer).then("at").otherwise("consent_at"),
                imported_source=pl.when(is_newer).then(None).otherwise("imported_source"),
            ).drop("kind", "state", "at")
        return facts

    def _with_wishes(self, facts: pl.DataFrame, channel: Channel, subjects: list[bytes]) -> pl.DataFrame:
        """What people ask for, by contact or by address: the greatest wish holds, and the newest limits."""
        wishes, limits = self._said.wishes(channel, subjects), self._said.limits(subjects)
        facts = _with_greatest(
            facts, sorted(wishes.items(), key=lambda item: item[1]), {"is_wanted": pl.Boolean}
        )
        # What is stored has a time.
        by_time = sorted(limits.items(), key=lambda item: item[1].changed_at or _LONG_AGO)
        return _with_greatest(facts, by_time, _LIMITS)


_LIMITS: Mapping[str, Any] = {
    "paused_until": _MOMENT,
    "quiet_from": pl.Int16,
    "quiet_until": pl.Int16,
    "weekly_cap": pl.Int16,
}


def assigned_by(spec: CampaignSpec) -> str | None:
    """The JSON pointer of the attribute that holds contacts' arms; None where arms are drawn."""
    # Field names hold neither '/' nor '~', so nothing needs escaping.
    name = spec.experiment.assign_by
    return None if name is None else "/" + name.replace(".", "/")


def _held_out(contacts: pl.DataFrame, spec: CampaignSpec) -> pl.Series:
    if spec.experiment.assign_by is not None:
        return is_assigned_holdout(contacts["assigned"], spec.experiment.arms)
    return is_held_out(contacts["contact_id"], spec.id, spec.holdout)


def _with_greatest(
    facts: pl.DataFrame, rising: Sequence[tuple[bytes, Any]], fields: Mapping[str, Any]
) -> pl.DataFrame:
    """`facts` with `fields` of the last of `rising` (by subject) that concerns the contact or its address."""
    ranks = {subject: rank for rank, (subject, _) in enumerate(rising)}
    rank = pl.max_horizontal(_looked_up(key, ranks, pl.UInt32) for key in ("contact_key", "address_key"))
    if not ranks:
        return facts.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in fields.items())
    values = pl.DataFrame(
        {name: [getattr(value, name) for _, value in rising] for name in fields}, schema=dict(fields)
    ).with_row_index("rank")
    return (
        facts.with_columns(rank=rank).join(values, on="rank", how="left", maintain_order="left").drop("rank")
    )


def _looked_up(column: str, values: Mapping[bytes, object], dtype: Any) -> pl.Expr:
    """`column` translated by `values`; null for what is not in it."""
    if not values:
        return pl.lit(None, dtype)
    keys = pl.Series(list(values), dtype=pl.Binary)
    return pl.col(column).replace_strict(
        keys, pl.Series(list(values.values()), dtype=dtype), default=None, return_dtype=dtype
    )


def _json_path(field: str) -> str:
    """The JSON path of `attributes.NAME` within the attributes."""
    name = field.removeprefix("attributes.")
    return f'$."{name}"'

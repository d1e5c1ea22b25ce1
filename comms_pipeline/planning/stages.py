"""The stages of a send as its assets run them: read, decide, write, each in one lake or ledger transaction."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import duckdb
import polars as pl
import psycopg

from comms_pipeline.audience.references import segments_used
from comms_pipeline.compliance.campaign_rules import CampaignCheck
from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.compliance.windows import Window
from comms_pipeline.domain.errors import CommsError, DatabaseUnavailable
from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.ledger import batches, operations
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.planning.campaign_check import check_campaign, require_sendable
from comms_pipeline.planning.context import SendContext, load_send
from comms_pipeline.planning.eligibility import decisions_of
from comms_pipeline.planning.emergency import note_emergency
from comms_pipeline.planning.findings import Findings
from comms_pipeline.planning.messages import plan_messages
from comms_pipeline.planning.queueing import batches_of
from comms_pipeline.planning.rendering import Keys, Rendering
from comms_pipeline.planning.resending import audience_for
from comms_pipeline.planning.templates import CompiledCampaign, compile_campaign
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """A send in numbers. Contacts: audience = messages + excluded. Messages: the sum of their states."""

    audience: int
    excluded: int
    messages: int
    distinct_messages: int
    accepted: int
    refused: int
    deferred: int
    cancelled: int
    unknown: int

    @property
    def waiting(self) -> int:
        """Planned, and no outcome yet."""
        return self.messages - self.accepted - self.refused - self.deferred - self.cancelled - self.unknown

    @property
    def is_planned_whole(self) -> bool:
        """Everybody of the audience has a message or a recorded reason for none, and no message is there twice."""
        return self.audience == self.messages + self.excluded and self.messages == self.distinct_messages

    @property
    def is_settled(self) -> bool:
        """Every message is accepted, refused or cancelled: nothing waits and nothing is in doubt."""
        return self.waiting == 0 and self.deferred == 0 and self.unknown == 0


_DECIDED = {"channel": pl.String, "decision": pl.String, "contacts": pl.UInt32}
_ADDED = {"channel": pl.String, "messages": pl.Int64, "segments": pl.Int64}
_SEGMENTS = pl.List(pl.Struct({"name": pl.String, "version": pl.Int32}))
_MISSING = {"variable": pl.String, "contacts_without": pl.Int64, "filled_by_fallback": pl.Int64}


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What one planning added. `by_channel`: channel, messages, SMS segments. `missing`: by variable that templates
    read, the contacts without it and for how many a fallback stands in. `warnings`: a line each."""

    by_channel: pl.DataFrame
    missing: pl.DataFrame
    warnings: list[str]

    @property
    def messages(self) -> int:
        """How many messages were added."""
        return int(self.by_channel["messages"].sum())


class PlanLost(CommsError):
    """The lake does not hold the plan that the ledger queued."""


@contextmanager
def failing(stores: Stores, send_id: str) -> Iterator[None]:
    """What is wrong with the campaign, its contacts or a provider's settings fails the send: people must look first.

    Asked for again and again, it would only fail again.
    """
    try:
        yield
    except DatabaseUnavailable:
        raise
    except CommsError as error:
        with stores.ledger() as ledger, ledger.transaction():
            operations.fail_send(ledger, send_id, actor="planning", reason=str(error))
        raise


def context_of(stores: Stores, send_id: str) -> SendContext:
    """The send with its campaign. Raises `NotFound`."""
    with stores.ledger() as ledger:
        return load_send(ledger, send_id)


def compiled(context: SendContext) -> CompiledCampaign:
    """The campaign's templates, compiled. Raises `TemplateError`."""
    return compile_campaign(context.spec, context.templates)


def write_audience(stores: Stores, context: SendContext) -> int:
    """Select the audience anew and write it; returns its size."""
    with stores.lake.writer() as writer:
        return audience_into(writer, stores, context)


def audience_into(writer: LakeWriter, stores: Stores, context: SendContext) -> int:
    """`write_audience` within an open transaction."""
    send_id = context.send.send_id
    with stores.ledger() as ledger:
        audience = audience_for(writer.cursor, ledger, context, stores)
        is_selected = operations.resent_to(ledger, send_id) is None
    used = segments_used(context.spec.audience, context.segments) if is_selected else []
    row = _send_row(context, [{"name": each.name, "version": each.version} for each in used])
    writer.replace_partition("campaign.sends", "send_id", send_id, row)
    return writer.replace_partition("campaign.audiences", "send_id", send_id, audience)


def _send_row(context: SendContext, segments: list[dict[str, str | int]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "send_id": [context.send.send_id],
            "campaign_id": [context.spec.id],
            "version": [context.send.version],
            "organisation_id": [context.organisation.organisation_id],
            "message_class": [str(context.spec.message_class)],
            "due_at": [context.send.due_at],
            "segments": pl.Series([segments], dtype=_SEGMENTS),
        }
    )


def require_clean(stores: Stores, context: SendContext) -> CampaignCheck:
    """Check the campaign for the audience of its send. Raises `NotSendable` when an item blocks it."""
    check = check_campaign(stores, context)
    require_sendable(check, context.spec.id)
    return check


def write_decisions(stores: Stores, context: SendContext) -> pl.DataFrame:
    """Decide for every contact and channel and write it; returns counts by `channel` and `decision`."""
    with stores.ledger() as ledger:
        # Before anybody is reached at an hour that rules would forbid.
        note_emergency(ledger, context)
        with stores.lake.writer() as writer:
            return decisions_into(writer, ledger, stores, context)


def decisions_into(
    writer: LakeWriter, ledger: psycopg.Connection, stores: Stores, context: SendContext
) -> pl.DataFrame:
    """`write_decisions` within an open transaction."""
    counts = []
    with writer.spool("campaign.decisions") as spool:
        for part in decisions_of(writer.cursor, ledger, context, secret=stores.secret, now=stores.now()):
            spool.add(part)
            counts.append(part.group_by("channel", "decision").len("contacts"))
        writer.cursor.execute(named_queries(QUERIES)["forget_decisions"], {"send_id": context.send.send_id})
    found = pl.concat(counts) if counts else pl.DataFrame(schema=_DECIDED)
    return found.group_by("channel", "decision").agg(pl.col("contacts").sum()).sort("channel", "decision")


def write_messages(stores: Stores, context: SendContext) -> Planned:
    """Plan whom the plan lacks and append them as a new generation.

    Raises `PlanLost` when the lake lacks messages that were queued: they would be planned, and sent, again.
    """
    with stores.ledger() as ledger:
        queued = batches.enqueued(ledger, context.send.send_id)
    with stores.lake.writer() as writer:
        _require_whole(writer.cursor, context.send.send_id, queued)
        return messages_into(writer, stores, context)


def messages_into(writer: LakeWriter, stores: Stores, context: SendContext) -> Planned:
    """`write_messages` within an open transaction, for a send of which nothing is queued or all is planned."""
    findings = Findings(context)
    counts = []
    with _rendering(writer.cursor, stores, context) as rendering:
        slices = plan_messages(
            writer.cursor,
            rendering,
            stores.providers,
            findings,
            prices=stores.settings.prices,
            now=stores.now(),
        )
        for part in slices:
            writer.append("campaign.messages", part)
            counts.append(part.group_by("channel").agg(messages=pl.len(), segments=pl.col("segments").sum()))
    note_planned(writer.cursor, context.send.send_id, stores.now())
    added = pl.concat(counts) if counts else pl.DataFrame(schema=_ADDED)
    return Planned(
        by_channel=added.group_by("channel").sum().sort("channel"),
        missing=pl.DataFrame(
            [(name, each.contacts, each.filled) for name, each in findings.missing.items()],
            schema=_MISSING,
            orient="row",
        ),
        warnings=findings.warnings,
    )


def note_planned(cursor: duckdb.DuckDBPyConnection, send_id: str, now: datetime) -> None:
    """Give the messages of the plan that nobody has heard of yet their rows of `core.message_status`: they wait."""
    sql = named_queries("lake/queries/message_status.sql")
    cursor.execute(sql["add_planned"].format(planned=sql["planned"]), {"send_id": send_id, "now": now})


def _rendering(cursor: duckdb.DuckDBPyConnection, stores: Stores, context: SendContext) -> Rendering:
    keys = Keys(secret=stores.secret, tokens=stores.token_keys, public_url=stores.settings.public_url)
    return Rendering(cursor, context, compiled(context), keys)


def _require_whole(cursor: duckdb.DuckDBPyConnection, send_id: str, queued: Mapping[int, int]) -> None:
    planned = dict(cursor.execute(named_queries(QUERIES)["generations"], {"send_id": send_id}).fetchall())
    kept = sum(planned.get(generation, 0) for generation in queued)
    if any(planned.get(generation, 0) != count for generation, count in queued.items()):
        raise PlanLost(
            f"plan of send {send_id}",
            f"the lake holds {kept:,} of the {sum(queued.values()):,} messages that were queued",
            "Restore campaign.messages, then run the send again",
        )


def enqueue_plan(stores: Stores, context: SendContext) -> int:
    """Put every generation of the plan that is not there yet into the ledger's queue; returns messages added.

    A generation goes in whole, in one transaction, and only once.
    """
    send_id = context.send.send_id
    added = 0
    with (
        stores.ledger() as ledger,
        stores.lake.reader() as cursor,
        _rendering(cursor, stores, context) as rendering,
    ):
        generations = cursor.execute(named_queries(QUERIES)["generations"], {"send_id": send_id}).fetchall()
        for generation, count in generations:
            with ledger.transaction():
                if not batches.claim_generation(
                    ledger, send_id=send_id, generation=generation, message_count=count
                ):
                    continue
                for queued in batches_of(cursor, rendering, stores.providers, generation):
                    batches.enqueue(
                        ledger,
                        send_id=send_id,
                        organisation_id=context.organisation.organisation_id,
                        generation=generation,
                        contents=queued.contents,
                        batches=queued.batches,
                    )
            added += count
    return added


def funnel(cursor: duckdb.DuckDBPyConnection, send_id: str) -> Funnel:
    """Where everybody of a send stands, counted in the lake."""
    row = cursor.execute(named_queries(QUERIES)["funnel"], {"send_id": send_id}).fetchone()
    assert row is not None
    return Funnel(**dict(zip(Funnel.__dataclass_fields__, row, strict=True)))


def exclusions(cursor: duckdb.DuckDBPyConnection, send_id: str) -> pl.DataFrame:
    """Contacts excluded, by `rule_id` and `evidence_kind`; a contact counts once per rule that excluded it."""
    windows = [rule.id for rule in load_rules() if isinstance(rule.check, Window)]
    parameters = {"send_id": send_id, "windows": windows}
    return cursor.execute(named_queries(QUERIES)["exclusions"], parameters).pl()

"""Who of the claims of one round must not get a message after all: suppression, wishes, reply windows, caps.

Each check answers for all claims at once: by batch id, a Boolean column over what is left of its payload, True for
whom to drop. A batch that is left out loses nobody. Whether a claim may go at all says `quota`.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import polars as pl
import psycopg

from comms_pipeline.dispatch.wishes import SAID, said_by_recipients
from comms_pipeline.domain.message import REPLY_WINDOWS, Channel, MessageClass
from comms_pipeline.domain.outcome import RejectReason
from comms_pipeline.ledger import caps, suppressions, windows
from comms_pipeline.ledger.batches import Claim


@dataclass(frozen=True, kw_only=True)
class Round:
    """The claims of one round; `left` has, by batch id, the rows that no check has dropped so far."""

    connection: psycopg.Connection
    claims: Sequence[Claim]
    left: Mapping[int, pl.DataFrame]
    now: datetime

    @property
    def marketing(self) -> list[Claim]:
        """The claims that wishes and caps speak of; what is not known to be anything else."""
        others = (MessageClass.TRANSACTIONAL, MessageClass.EMERGENCY)
        return [claim for claim in self.claims if claim.message_class not in others]

    @cached_property
    def said(self) -> dict[int, pl.DataFrame]:
        """What recipients of marketing have said (`wishes.SAID`), by batch id; batches of silent ones are left out."""
        found: dict[int, pl.DataFrame] = {}
        for group in _alike(self.marketing):
            found |= said_by_recipients(self.connection, group, self.left, self.now)
        return found


def _alike(claims: Sequence[Claim]) -> list[list[Claim]]:
    """Claims in groups that are one question to the ledger. Mostly there is one group."""
    groups: dict[tuple[str, ...], list[Claim]] = defaultdict(list)
    for claim in claims:
        groups[claim.organisation_id, claim.channel, claim.message_class, claim.topic].append(claim)
    return list(groups.values())


def _keys(asked: Round, claims: Sequence[Claim]) -> list[bytes]:
    return [key for claim in claims for key in asked.left[claim.batch_id]["address_key"].to_list()]


def _is_among(payload: pl.DataFrame, keys: Collection[bytes]) -> pl.Series:
    return payload["address_key"].is_in(pl.Series(list(keys), dtype=pl.Binary).implode())


def suppressed(asked: Round) -> dict[int, pl.Series]:
    """Whom the organisation must not reach with this class of message."""
    found: dict[int, pl.Series] = {}
    for group in _alike(asked.claims):
        first = group[0]
        keys = suppressions.suppressed(
            asked.connection,
            first.organisation_id,
            Channel(first.channel),
            _keys(asked, group),
            MessageClass(first.message_class),
        )
        if keys:
            found |= {claim.batch_id: _is_among(asked.left[claim.batch_id], keys) for claim in group}
    return found


def unwanted(asked: Round) -> dict[int, pl.Series]:
    """Who has turned off this type of marketing, or has paused all of it."""
    found: dict[int, pl.Series] = {}
    for batch_id, said in asked.said.items():
        refusing = said.filter("is_unwanted")["message_id"]
        if refusing.len():
            found[batch_id] = asked.left[batch_id]["message_id"].is_in(refusing.implode())
    return found


def unanswerable(asked: Round) -> dict[int, pl.Series]:
    """Who did not write lately enough, of batches of free text on a channel where that may only answer."""
    found: dict[int, pl.Series] = {}
    for channel in REPLY_WINDOWS:
        windowed = [claim for claim in asked.claims if claim.channel == channel]
        if not windowed:
            continue
        texts = windows.free_texts(asked.connection, {claim.content_id for claim in windowed})
        answers = [claim for claim in windowed if claim.content_id in texts]
        if answers:
            may_answer = windows.open_windows(asked.connection, channel, _keys(asked, answers))
            found |= {claim.batch_id: ~_is_among(asked.left[claim.batch_id], may_answer) for claim in answers}
    return found


def capped(asked: Round) -> dict[int, pl.Series]:
    """Who has had as many messages of marketing as the organisation's caps, or their own, allow.

    What goes to the others is counted: of two messages to one person in a round, the second finds the first.
    """
    limited = caps.caps_by_organisation(
        asked.connection, {claim.organisation_id for claim in asked.marketing}
    )
    counted = [
        claim for claim in asked.marketing if claim.organisation_id in limited or _has_caps(asked, claim)
    ]
    if not counted:
        return {}
    caps.lock(asked.connection, {claim.organisation_id for claim in counted})
    found: dict[int, pl.Series] = {}
    for claim in counted:
        payload = asked.left[claim.batch_id]
        ids = payload["message_id"].str.decode("hex")
        over = caps.note_sent(
            asked.connection,
            organisation_id=claim.organisation_id,
            channel=Channel(claim.channel),
            topic=claim.topic,
            address_keys=payload["address_key"].to_list(),
            message_ids=ids.to_list(),
            weekly_caps=_weekly_caps(asked, claim),
        )
        if over:
            found[claim.batch_id] = ids.is_in(pl.Series(list(over), dtype=pl.Binary).implode())
    return found


CHECKS: Mapping[RejectReason, Callable[[Round], dict[int, pl.Series]]] = {
    RejectReason.SUPPRESSED: suppressed,
    RejectReason.UNWANTED: unwanted,
    RejectReason.WINDOW: unanswerable,
    # Last, for it counts whom it lets through.
    RejectReason.CAPPED: capped,
}


def _has_caps(asked: Round, claim: Claim) -> bool:
    said = asked.said.get(claim.batch_id)
    return said is not None and said["weekly_cap"].count() > 0


def _weekly_caps(asked: Round, claim: Claim) -> list[int | None]:
    said = asked.said.get(claim.batch_id, SAID.to_frame())
    return (
        asked.left[claim.batch_id]
        .join(said, on="message_id", how="left", maintain_order="left")["weekly_cap"]
        .to_list()
    )

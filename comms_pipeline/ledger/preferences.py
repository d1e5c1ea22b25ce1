"""What people want and how they limit us: choices per channel and type of message, quiet hours, pauses, caps.

Kept by subject, 16 bytes: a contact id or an address key, whichever the page or the import knew. Who asks, asks for
all that somebody goes by, and the newest word holds. Every function is one round trip inside the caller's
transaction; every change is audited by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from comms_pipeline.domain.message import Channel
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/preferences.sql"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Whether somebody wants one type of message (`EVERY_TOPIC`: each without a choice of its own) on a channel."""

    channel: Channel
    topic: str
    is_wanted: bool


class Wish(NamedTuple):
    """What one subject says of a topic. Of all that somebody goes by, the greatest wish is the one that holds.

    A word on the topic itself goes before one on every topic, then the newest.
    """

    is_of_topic: bool
    changed_at: datetime
    is_wanted: bool


@dataclass(frozen=True, kw_only=True)
class PersonalLimits:
    """What somebody asks of us beyond yes and no; None is no wish.

    `quiet_from` and `quiet_until` are minutes of the day by their own clock (both or none, may cross midnight).
    `weekly_cap` counts marketing messages of one channel in any seven days. `changed_at` comes with what was stored:
    of two subjects of one person, the newest row holds.
    """

    quiet_from: int | None = None
    quiet_until: int | None = None
    paused_until: datetime | None = None
    weekly_cap: int | None = None
    changed_at: datetime | None = field(default=None, compare=False)


def set_choices(
    connection: psycopg.Connection[Any],
    *,
    organisation_id: str,
    subject: bytes,
    choices: Sequence[Choice],
    source: str,
) -> int:
    """Keep choices; returns how many are new or different. What is repeated becomes the newest word all the same.

    `source` says who brought it, e.g. `preference-centre`; it becomes the audit's actor.
    """
    if not choices:
        return 0
    return connection.execute(
        named_queries(_SQL)["set_choices"],
        {
            "organisation_id": organisation_id,
            "subject": subject,
            "channels": [choice.channel.value for choice in choices],
            "topics": [choice.topic for choice in choices],
            "wanted": [choice.is_wanted for choice in choices],
            "source": source,
        },
    ).rowcount


def choices_of(
    connection: psycopg.Connection[Any], organisation_id: str, subjects: Sequence[bytes]
) -> list[Choice]:
    """Every choice of somebody who goes by `subjects`, by channel and topic; the newest of each."""
    rows = connection.execute(
        named_queries(_SQL)["choices_of"],
        {"organisation_id": organisation_id, "subjects": b"".join(subjects)},
    )
    return [
        Choice(channel=Channel(channel), topic=topic, is_wanted=wanted) for channel, topic, wanted in rows
    ]


def are_few(connection: psycopg.Connection[Any], organisation_id: str, at_most: int) -> bool:
    """Whether an organisation's choices and limits are few enough to ask for all of them at once."""
    row = connection.execute(
        named_queries(_SQL)["are_few"], {"organisation_id": organisation_id, "at_most": at_most}
    ).fetchone()
    return bool(row and row[0])


def stated(
    connection: psycopg.Connection[Any],
    *,
    organisation_id: str,
    channel: Channel,
    topic: str,
    subjects: Sequence[bytes] | None,
) -> dict[bytes, Wish]:
    """What each subject says of a topic on a channel; who never chose is left out. Without subjects, everybody's."""
    rows = connection.execute(
        named_queries(_SQL)["stated"],
        {
            "organisation_id": organisation_id,
            "channel": channel.value,
            "topic": topic,
            "subjects": None if subjects is None else b"".join(subjects),
        },
    )
    return {bytes(subject): Wish(*wish) for subject, *wish in rows}


def wishes(
    connection: psycopg.Connection[Any],
    *,
    organisation_id: str,
    channel: Channel,
    topic: str,
    subjects: Sequence[bytes],
) -> dict[bytes, bool]:
    """Whether each subject wants a topic on a channel; who never chose is left out."""
    found = stated(
        connection, organisation_id=organisation_id, channel=channel, topic=topic, subjects=subjects
    )
    return {subject: wish.is_wanted for subject, wish in found.items()}


def set_limits(
    connection: psycopg.Connection[Any],
    *,
    organisation_id: str,
    subject: bytes,
    limits: PersonalLimits,
    source: str,
) -> bool:
    """Keep limits in place of those there were; `False` when they are the same. `source` is the audit's actor."""
    changed = connection.execute(
        named_queries(_SQL)["set_limits"],
        {
            "organisation_id": organisation_id,
            "subject": subject,
            "quiet_from": limits.quiet_from,
            "quiet_until": limits.quiet_until,
            "paused_until": limits.paused_until,
            "weekly_cap": limits.weekly_cap,
            "source": source,
        },
    )
    return changed.rowcount > 0


def limits_of(
    connection: psycopg.Connection[Any], organisation_id: str, subjects: Sequence[bytes] | None
) -> dict[bytes, PersonalLimits]:
    """The limits of each subject that has set any. Without subjects, everybody's."""
    rows = connection.execute(
        named_queries(_SQL)["limits_of"],
        {"organisation_id": organisation_id, "subjects": None if subjects is None else b"".join(subjects)},
    )
    return {
        bytes(subject): PersonalLimits(
            quiet_from=quiet_from,
            quiet_until=quiet_until,
            paused_until=paused_until,
            weekly_cap=weekly_cap,
            changed_at=changed_at,
        )
        for subject, quiet_from, quiet_until, paused_until, weekly_cap, changed_at in rows
    }

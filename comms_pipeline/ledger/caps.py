"""How many marketing messages somebody may get lately, and what they got. Counts; judges no campaign.

Caps belong to an organisation and hold across its campaigns, per channel and address. Every function is one round
trip inside the caller's transaction.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import psycopg

from comms_pipeline.domain.cap import Cap
from comms_pipeline.domain.message import Channel
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/caps.sql"


def put_caps(
    connection: psycopg.Connection[Any], organisation_id: str, caps: Sequence[Cap], actor: str = "comms"
) -> bool:
    """Replace an organisation's caps; `False` when they are the same. Changes are audited."""
    changed = connection.execute(
        named_queries(_SQL)["put_caps"],
        {
            "organisation_id": organisation_id,
            "channels": [cap.channel.value for cap in caps],
            "topics": [cap.topic for cap in caps],
            "messages": [cap.messages for cap in caps],
            "hours": [cap.hours for cap in caps],
            "actor": actor,
        },
    )
    return changed.rowcount > 0


def caps_of(connection: psycopg.Connection[Any], organisation_id: str) -> list[Cap]:
    """An organisation's caps, by channel, topic and hours."""
    return caps_by_organisation(connection, [organisation_id]).get(organisation_id, [])


def caps_by_organisation(
    connection: psycopg.Connection[Any], organisation_ids: Collection[str]
) -> dict[str, list[Cap]]:
    """The caps of each of these organisations that has any."""
    rows = connection.execute(
        named_queries(_SQL)["caps"], {"organisation_ids": sorted(set(organisation_ids))}
    )
    found: dict[str, list[Cap]] = defaultdict(list)
    for organisation_id, channel, topic, messages, hours in rows:
        cap = Cap(channel=Channel(channel), topic=topic, messages=messages, hours=hours)
        found[organisation_id].append(cap)
    return dict(found)


def lock(connection: psycopg.Connection[Any], organisation_ids: Collection[str]) -> None:
    """Until the transaction ends, nobody else counts for these organisations: two at once would both find room."""
    connection.execute(named_queries(_SQL)["lock"], {"organisation_ids": sorted(set(organisation_ids))})


def note_sent(
    connection: psycopg.Connection[Any],
    *,
    organisation_id: str,
    channel: Channel,
    topic: str,
    address_keys: Sequence[bytes],
    message_ids: Sequence[bytes],
    weekly_caps: Sequence[int | None],
) -> set[bytes]:
    """Count messages that are about to go; returns the ids of those that must not, for a cap is reached.

    One entry per message in each list; `weekly_caps` are the recipients' own. A message never counts against itself,
    so that a retry counts once. What no cap speaks of is not kept. `lock` first.
    """
    rows = connection.execute(
        named_queries(_SQL)["note_sent"],
        {
            "organisation_id": organisation_id,
            "channel": channel.value,
            "topic": topic,
            "address_keys": b"".join(address_keys),
            "message_ids": b"".join(message_ids),
            "weekly_caps": list(weekly_caps),
        },
    )
    return {bytes(row[0]) for row in rows}


def purge(connection: psycopg.Connection[Any]) -> int:
    """Forget messages too old for any cap; returns how many."""
    return connection.execute(named_queries(_SQL)["purge"]).rowcount

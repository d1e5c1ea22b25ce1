"""What is known of organisations beyond their own rows, which are the business of `sends`. Changes nothing."""

from typing import Any

import psycopg

from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger.sends import Organisation, get_organisation
from comms_pipeline.sqlfiles import named_queries

_SQL = "ledger/queries/organisations.sql"


def channels_of(connection: psycopg.Connection[Any], organisation_id: str) -> frozenset[Channel]:
    """The channels that the organisation's campaigns use now; none for an unknown one."""
    rows = connection.execute(named_queries(_SQL)["channels"], {"organisation_id": organisation_id})
    return frozenset(Channel(row[0]) for row in rows)


def only_organisation(connection: psycopg.Connection[Any]) -> Organisation | None:
    """The organisation of an installation that has just one: whatever comes in is meant for it."""
    row = connection.execute(named_queries(_SQL)["only"]).fetchone()
    return get_organisation(connection, row[0]) if row else None

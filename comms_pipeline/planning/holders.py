"""Who keeps an address that several contacts of an audience share: one message per address and send."""

from collections.abc import Mapping

import duckdb
import polars as pl

from comms_pipeline.domain.addresses import email_keys
from comms_pipeline.domain.message import Channel
from comms_pipeline.planning.audience import QUERIES
from comms_pipeline.sqlfiles import named_queries

ADDRESS_COLUMN: Mapping[Channel, str] = {
    Channel.EMAIL: "email",
    Channel.SMS: "phone",
    Channel.WHATSAPP: "phone",
}
"""Where a contact's record has the address of each channel."""


def holders(cursor: duckdb.DuckDBPyConnection, send_id: str, channel: Channel) -> pl.DataFrame:
    """`contact_id` and `holder`, for the contacts of an audience whose address another contact keeps.

    The holder is the same in every plan: whoever is planned already, else one whose consent is on record, else the
    smallest contact id.
    """
    parameters = {"send_id": send_id, "channel": str(channel)}
    queries = named_queries(QUERIES)
    # What two spellings of one mailbox have in common, SQL can tell for ASCII only.
    foreign = cursor.execute(queries["foreign_addresses"], parameters).pl()["address"]
    forms = pl.DataFrame({"address": foreign, "form": email_keys(foreign)})
    cursor.register("address_forms", forms.to_arrow())
    found = cursor.execute(queries["shared_addresses"], parameters).pl()
    cursor.unregister("address_forms")
    return found

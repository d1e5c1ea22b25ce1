"""Checks that are steps of their own: the quality of what crosses the borders."""

import dagster as dg

from comms_pipeline import vocabulary
from comms_pipeline.resources.stores import StoresResource


@dg.asset_check(
    asset=vocabulary.CONTACTS,
    name="contacts_well_formed",
    blocking=True,
    description="Great Expectations suite over all contacts: ids unique and present, addresses well formed.",
)
def contacts_well_formed(stores: StoresResource) -> dg.AssetCheckResult:
    """Validate contacts after an import."""
    from comms_pipeline.assets.expectations import CONTACT_SUITE, validate

    with stores.lake.reader() as cursor:
        frame = cursor.execute(
            "select contact_id, organisation_id, email, phone, country, attributes "
            "from core.contacts where not is_erased"
        ).df()
    return validate("contacts", frame, CONTACT_SUITE)


@dg.asset_check(
    asset=vocabulary.EVENTS,
    name="events_well_formed",
    description="Great Expectations suite over the events of the last week: ids unique, kinds known, times sane.",
)
def events_well_formed(stores: StoresResource) -> dg.AssetCheckResult:
    """Validate recent events."""
    from comms_pipeline.assets.expectations import EVENT_SUITE, validate

    with stores.lake.reader() as cursor:
        frame = cursor.execute(
            "select event_id, message_id, kind, verdict, epoch(received_at - occurred_at) as delay_seconds "
            "from core.events where received_at > $now::timestamptz - interval 7 days",
            {"now": stores.now()},
        ).df()
    return validate("events", frame, EVENT_SUITE)

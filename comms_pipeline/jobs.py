"""Jobs: imperative names, a selection of assets each. All run in process; the engine brings the parallelism."""

import dagster as dg

from comms_pipeline import vocabulary

_AFTER_SENDING = [
    vocabulary.RECONCILIATION,
    vocabulary.OUTCOMES,
    vocabulary.CAMPAIGN_PERFORMANCE,
    vocabulary.SEND_FUNNEL,
    vocabulary.REPORT,
]
MAX_RUNTIME_SECONDS = {"dagster/max_runtime": "14400"}

import_contacts = dg.define_asset_job(
    "import_contacts",
    selection=dg.AssetSelection.assets(vocabulary.CONTACTS),
    description="Import one file of contacts.",
    tags=MAX_RUNTIME_SECONDS,
)

send_campaign = dg.define_asset_job(
    "send_campaign",
    selection=dg.AssetSelection.assets(
        vocabulary.AUDIENCE, vocabulary.ELIGIBILITY, vocabulary.MESSAGES, vocabulary.DISPATCH, *_AFTER_SENDING
    ),
    description="Plan, send and account for one send (the partition). Running it again sends only what is missing.",
    tags=MAX_RUNTIME_SECONDS,
)

load_events = dg.define_asset_job(
    "load_events",
    selection=dg.AssetSelection.assets(
        vocabulary.PROVIDER_EVENTS,
        vocabulary.EVENTS,
        vocabulary.MESSAGE_STATUS,
        vocabulary.ENGAGEMENT,
        vocabulary.CHANNEL_AFFINITY,
        vocabulary.SEND_HOURS,
        vocabulary.OUTCOMES,
        vocabulary.CAMPAIGN_PERFORMANCE,
        vocabulary.SEND_FUNNEL,
    ),
    description="Bring landed webhooks and outcomes into the lake and refresh what follows from them.",
    tags=MAX_RUNTIME_SECONDS,
)

refresh_report = dg.define_asset_job(
    "refresh_report",
    selection=dg.AssetSelection.assets(vocabulary.REPORT),
    description="Write one send's report anew.",
    tags=MAX_RUNTIME_SECONDS,
)

ASSET_JOBS = [import_contacts, send_campaign, load_events, refresh_report]

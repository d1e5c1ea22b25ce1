"""Jobs: imperative names, a selection of assets each. All run in process; the engine brings the parallelism."""

import dagster as dg

from comms_pipeline import vocabulary

_AFTER_SENDING = [
    vocabulary.RECONCILIATION,
    vocabulary.OUTCOMES,
    vocabulary.MESSAGE_STATUS,
    vocabulary.REPORT,
]
_MODELS_OF_REPORTS = dg.AssetSelection.tag(vocabulary.REFRESHED_TAG, "after_send")
_OTHER_MODELS = dg.AssetSelection.tag(vocabulary.REFRESHED_TAG, "after_events")
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
    )
    | _MODELS_OF_REPORTS,
    description="Plan, send and account for one send (the partition). Running it again sends only what is missing.",
    tags=MAX_RUNTIME_SECONDS,
)

load_events = dg.define_asset_job(
    "load_events",
    selection=dg.AssetSelection.assets(
        vocabulary.PROVIDER_EVENTS,
        vocabulary.EVENTS,
        vocabulary.MESSAGE_STATUS,
        vocabulary.OUTCOMES,
    )
    | _MODELS_OF_REPORTS
    | _OTHER_MODELS,
    description="Bring landed webhooks and outcomes into the lake and refresh what follows from them.",
    tags=MAX_RUNTIME_SECONDS,
)

refresh_report = dg.define_asset_job(
    "refresh_report",
    selection=dg.AssetSelection.assets(vocabulary.REPORT),
    description="Write one send's report anew.",
    tags=MAX_RUNTIME_SECONDS,
)

write_digests = dg.define_asset_job(
    "write_digests",
    selection=dg.AssetSelection.assets(vocabulary.WEEKLY_DIGEST),
    description="Write every organisation's digest of a week.",
    tags=MAX_RUNTIME_SECONDS,
)

ASSET_JOBS = [import_contacts, send_campaign, load_events, refresh_report, write_digests]

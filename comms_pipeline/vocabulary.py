"""The words the Dagster shell shares: asset keys, groups, pools, owners, kinds. Assets and ops meet only here."""

import dagster as dg

CONTACTS = dg.AssetKey(["core", "contacts"])
AUDIENCE = dg.AssetKey(["campaign", "audience"])
ELIGIBILITY = dg.AssetKey(["campaign", "eligibility"])
MESSAGES = dg.AssetKey(["campaign", "messages"])
DISPATCH = dg.AssetKey(["campaign", "dispatch"])
RECONCILIATION = dg.AssetKey(["campaign", "reconciliation"])
PROVIDER_EVENTS = dg.AssetKey(["raw", "provider_events"])
OUTCOMES = dg.AssetKey(["core", "outcomes"])
EVENTS = dg.AssetKey(["core", "events"])
MESSAGE_STATUS = dg.AssetKey(["core", "message_status"])
ENGAGEMENT = dg.AssetKey(["core", "engagement"])
CHANNEL_AFFINITY = dg.AssetKey(["core", "channel_affinity"])
SEND_HOURS = dg.AssetKey(["core", "send_hours"])
CAMPAIGN_PERFORMANCE = dg.AssetKey(["mart", "campaign_performance"])
SEND_FUNNEL = dg.AssetKey(["mart", "send_funnel"])
REPORT = dg.AssetKey(["report", "campaign"])

LEDGER_SENDS = dg.AssetKey(["ledger", "sends"])
LEDGER_SUPPRESSIONS = dg.AssetKey(["ledger", "suppressions"])
LEDGER_LANDING = dg.AssetKey(["ledger", "landing"])

CONTACTS_GROUP = "contacts"
SENDING_GROUP = "sending"
EVENTS_GROUP = "events"
ANALYTICS_GROUP = "analytics"
LEDGER_GROUP = "ledger"

LANE_POOL = "lanes"
"""Bounds how many lanes send at once, over all runs."""

OPERATIONS = ["team:operations"]
ANALYSTS = ["team:analysts"]
MARKETING = ["team:marketing"]

LAKE_KINDS = {"duckdb", "parquet"}
LEDGER_KINDS = {"postgres"}

"""The words the Dagster shell shares: asset keys, groups, pools, owners, kinds. Assets and ops meet only here."""

from datetime import timedelta

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
SEND_FUNNEL = dg.AssetKey(["mart", "send_funnel"])
REPORT = dg.AssetKey(["report", "campaign"])
WEEKLY_DIGEST = dg.AssetKey(["report", "weekly_digest"])

LEDGER_SENDS = dg.AssetKey(["ledger", "sends"])
LEDGER_SUPPRESSIONS = dg.AssetKey(["ledger", "suppressions"])
LEDGER_LANDING = dg.AssetKey(["ledger", "landing"])

CONTACTS_GROUP = "contacts"
SENDING_GROUP = "sending"
EVENTS_GROUP = "events"
REPORTS_GROUP = "reports"
LEDGER_GROUP = "ledger"
"""Models are in `events`, or in the groups `models.header` names."""

EVERY_NIGHT = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26))
"""The nightly run and two hours to spare. What was never computed yet is not late."""

LANE_POOL = "lanes"
"""Bounds how many lanes send at once, over all runs."""

OPERATIONS = ["team:operations"]
ANALYSTS = ["team:analysts"]
MARKETING = ["team:marketing"]

REFRESHED_TAG = "comms/refreshed"
"""On every model's asset: `after_send` where a send's report shows it, else `after_events`."""

LAKE_KINDS = {"duckdb", "parquet"}
LEDGER_KINDS = {"postgres"}

"""Dagster sensors: named after what they watch. They ask the ledger; they decide nothing."""

from comms_pipeline.sensors.alerts import alerts
from comms_pipeline.sensors.due_sends import due_sends
from comms_pipeline.sensors.landed_events import landed_events
from comms_pipeline.sensors.orphaned_runs import orphaned_runs
from comms_pipeline.sensors.provider_erasures import provider_erasures
from comms_pipeline.sensors.queue_health import queue_health

SENSORS = [alerts, due_sends, landed_events, orphaned_runs, provider_erasures, queue_health]

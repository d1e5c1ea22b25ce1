"""What starts runs by itself: sensors over a real ledger, schedules by the clock. Nothing is sent here."""

from datetime import UTC, datetime

import dagster as dg
from running import Dagster

from comms_pipeline.ledger import alerts
from comms_pipeline.ledger.alerts import Trouble
from comms_pipeline.ledger.landing import land
from comms_pipeline.loader.following import catch_up
from comms_pipeline.schedules import nightly_marts, nightly_reports
from comms_pipeline.sensors import due_sends, landed_events, queue_health

SEND = "open-day"


def tick(dagster: Dagster, sensor: dg.SensorDefinition) -> list[dg.RunRequest]:
    """Evaluate once and apply what the sensor wants of the instance, as the daemon does."""
    result = sensor(dg.build_sensor_context(dagster.instance, resources={"stores": dagster.stores}))
    if isinstance(result, dg.SensorResult):
        for request in result.dynamic_partitions_requests or []:
            dagster.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        return list(result.run_requests or [])
    return [result] if isinstance(result, dg.RunRequest) else []


def partitions(dagster: Dagster) -> list[str]:
    return list(dagster.instance.get_dynamic_partitions("sends"))


def test_due_send_gets_its_partition_and_its_run_once(gallery: Dagster) -> None:
    gallery.create_send(SEND)
    (request,) = tick(gallery, due_sends)
    assert (request.partition_key, request.tags["send"]) == (SEND, SEND)
    assert partitions(gallery) == [SEND]
    assert tick(gallery, due_sends) == []


def test_run_that_never_began_is_asked_for_again_after_five_minutes(gallery: Dagster) -> None:
    gallery.create_send(SEND)
    (first,) = tick(gallery, due_sends)
    gallery.ledger("update send set requested_run_at = requested_run_at - interval '4 minutes 50 seconds'")
    assert tick(gallery, due_sends) == []
    gallery.ledger("update send set requested_run_at = requested_run_at - interval '11 seconds'")
    (again,) = tick(gallery, due_sends)
    assert again.partition_key == SEND
    # Dagster runs a key once: what is asked again has another.
    assert again.run_key != first.run_key


def test_send_whose_time_has_not_come_is_left_alone(gallery: Dagster) -> None:
    gallery.create_send(SEND)
    gallery.ledger("update send set due_at = now() + interval '1 hour'")
    assert tick(gallery, due_sends) == []
    assert partitions(gallery) == []


def test_finished_and_stopped_sends_are_left_alone(gallery: Dagster) -> None:
    gallery.create_send(SEND)
    for status in ("sent", "paused", "cancelled", "failed"):
        gallery.ledger("update send set status = %s", status)
        assert tick(gallery, due_sends) == [], status


def test_recurring_campaign_gets_its_latest_occurrence_only(gallery: Dagster) -> None:
    gallery.ledger("update campaign_version set applied_at = now() - interval '3 days 1 hour'")
    (request,) = tick(gallery, due_sends)
    assert request.partition_key is not None
    assert request.partition_key.startswith("weekly--20")
    assert request.partition_key[-6:] in {"T0700Z", "T0800Z"}, "nine o'clock in Vienna"
    assert partitions(gallery) == [request.partition_key]
    assert gallery.ledger("select campaign_id, due_at <= now() from send") == [("weekly", True)]
    assert tick(gallery, due_sends) == []


def test_landed_webhook_asks_for_one_load(gallery: Dagster) -> None:
    assert tick(gallery, landed_events) == []
    with gallery.stores.ledger() as ledger:
        land(ledger, provider="sendgrid", kind="events", query="", body=b"[]")
    (first,) = tick(gallery, landed_events)
    (same,) = tick(gallery, landed_events)
    assert first.run_key == same.run_key
    gallery.run("load_events")
    assert tick(gallery, landed_events) == []


def test_what_the_loader_brought_asks_for_models_that_know_it(gallery: Dagster) -> None:
    with gallery.stores.ledger() as ledger:
        land(ledger, provider="sendgrid", kind="events", query="", body=b"[]")
    catch_up(gallery.stores)
    assert len(tick(gallery, landed_events)) == 1
    gallery.run("load_events")
    assert tick(gallery, landed_events) == []


def test_nightly_marts_run_every_night() -> None:
    at = datetime(2026, 12, 1, 1, 30, tzinfo=UTC)
    (request,) = (
        nightly_marts.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=at)).run_requests or []
    )
    assert nightly_marts.cron_schedule == "30 1 * * *"
    assert request.partition_key is None


def test_nightly_reports_cover_the_sends_that_were_begun(
    gallery: Dagster, durable_instance: dg.DagsterInstance
) -> None:
    gallery.create_send(SEND)
    durable_instance.add_dynamic_partitions("sends", [SEND])
    context = dg.build_schedule_context(
        durable_instance,
        scheduled_execution_time=datetime(2026, 12, 1, 2, tzinfo=UTC),
        repository_def=gallery.definitions.get_repository_def(),
        resources={"stores": gallery.stores},
    )
    assert (nightly_reports.evaluate_tick(context).run_requests or []) == []
    gallery.ledger("update send set status = 'sent'")
    (request,) = nightly_reports.evaluate_tick(context).run_requests or []
    assert (request.run_key, request.partition_key) == ("open-day:2026-12-01", SEND)


def health(dagster: Dagster, cursor: str | None = None) -> dg.SensorResult:
    context = dg.build_sensor_context(dagster.instance, cursor=cursor, resources={"stores": dagster.stores})
    result = queue_health(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_health_of_the_queue_is_told_when_something_comes_or_goes(gallery: Dagster) -> None:
    first = health(gallery)
    [well] = first.asset_events
    assert isinstance(well, dg.AssetCheckEvaluation)
    assert (well.asset_key.path, well.check_name, well.passed) == (
        ["ledger", "sends"],
        "queue_is_healthy",
        True,
    )
    assert list(health(gallery, first.cursor).asset_events) == []

    with gallery.stores.ledger() as ledger:
        alerts.note_trouble(ledger, "email:sendgrid", Trouble.MISCONFIGURED, "it refused the key")
    ill = health(gallery, first.cursor)
    [check] = ill.asset_events
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    table = check.metadata["findings"]
    assert isinstance(table, dg.TableMetadataValue)
    [record] = table.records
    assert record.data["subject"] == "email:sendgrid"
    assert list(health(gallery, ill.cursor).asset_events) == []

    with gallery.stores.ledger() as ledger:
        alerts.clear_trouble(ledger, "email:sendgrid")
    [again] = health(gallery, ill.cursor).asset_events
    assert isinstance(again, dg.AssetCheckEvaluation)
    assert again.passed


def test_send_that_is_due_in_a_moment_gets_its_run_before_its_time(gallery: Dagster) -> None:
    gallery.create_send(SEND)
    gallery.ledger("update send set due_at = now() + interval '40 seconds'")
    assert tick(gallery, due_sends) == []
    gallery.ledger("update send set due_at = now() + interval '10 seconds'")
    (request,) = tick(gallery, due_sends)
    assert request.partition_key == SEND
    assert tick(gallery, due_sends) == []
    assert gallery.ledger("select status, due_at > now() from send") == [("scheduled", True)]

"""What Dagster is shown: complete, described, owned, and safe to leave alone."""

import json
import sys
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from comms_pipeline.definitions import build_definitions
from comms_pipeline.models.registry import models
from comms_pipeline.settings import load_settings

ROOT = Path(__file__).parents[2]
ASSETS = {
    "core/contacts",
    "campaign/audience",
    "campaign/eligibility",
    "campaign/messages",
    "campaign/dispatch",
    "campaign/reconciliation",
    "raw/provider_events",
    "core/outcomes",
    "core/events",
    "core/message_status",
    "report/campaign",
    "report/weekly_digest",
} | {table.replace(".", "/") for table in models()}
GROUPS = {
    "ledger",
    "contacts",
    "sending",
    "events",
    "engagement",
    "deliverability",
    "analytics",
    "reports",
}
PARTITIONED = {
    "campaign/audience",
    "campaign/eligibility",
    "campaign/messages",
    "campaign/dispatch",
    "campaign/reconciliation",
    "report/campaign",
}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """What `dg` loads, without an installation."""
    return build_definitions(load_settings(tmp_path_factory.mktemp("home") / "absent"))


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_definitions_are_loadable_without_an_installation(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)
    names = {key for key in specs(definitions) if not key.startswith("ledger/")}
    assert names == ASSETS


def test_every_asset_tells_what_it_is_and_whose(definitions: dg.Definitions) -> None:
    for name, spec in specs(definitions).items():
        assert spec.description, name
        assert len(spec.description) > 40, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.group_name in GROUPS, name


def test_one_partition_is_one_send(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    found = {
        key.to_user_string(): graph.get(key).partitions_def
        for key in graph.get_all_asset_keys()
        if graph.get(key).partitions_def is not None
    }
    assert set(found) == PARTITIONED
    assert {getattr(each, "name", None) for each in found.values()} == {"sends"}


def test_nothing_runs_by_an_automation_condition(definitions: dg.Definitions) -> None:
    assert [name for name, spec in specs(definitions).items() if spec.automation_condition] == []


def test_nothing_that_sends_is_retried_by_dagster(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("send_campaign")
    policies = {node.name: node.definition for node in job.graph.nodes}
    assert "campaign__dispatch" in policies
    assert [n.name for n in job.nodes_in_topological_order if n.retry_policy] == []
    graph = policies["campaign__dispatch"]
    assert isinstance(graph, dg.GraphDefinition)
    ops = {node.name: node.definition for node in graph.nodes}
    assert set(ops) == {"enqueue", "send_lane", "settle"}
    assert [n for n, op in ops.items() if isinstance(op, dg.OpDefinition) and op.retry_policy] == []
    lane = ops["send_lane"]
    assert isinstance(lane, dg.OpDefinition)
    assert lane.pool == "lanes"


def test_every_job_ends_some_time_and_runs_in_process(definitions: dg.Definitions) -> None:
    jobs = [
        job for job in definitions.get_repository_def().get_all_jobs() if not job.name.startswith("__ASSET")
    ]
    assert {job.name: job.tags["dagster/max_runtime"] for job in jobs} == {
        "import_contacts": "14400",
        "send_campaign": "14400",
        "load_events": "14400",
        "refresh_report": "14400",
        "write_digests": "14400",
        "maintain_stores": "7200",
        "apply_retention": "7200",
        "erase_at_providers": "3600",
        "replay_events": "7200",
        "rebuild_models": "14400",
    }
    assert {job.executor_def.name for job in jobs} == {"in_process"}
    assert [job.name for job in jobs if not job.description] == []


def test_checks_on_the_way_of_a_send_block(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    checks = {
        f"{key.asset_key.to_user_string()}: {key.name}": graph.get_check_spec(key).blocking
        for key in graph.asset_check_keys
    }
    of_models = {name for name in checks if name.partition(":")[0].replace("/", ".") in models()}
    assert {checks.pop(name) for name in of_models} == {False}
    assert checks == {
        "campaign/messages: counts_sum": True,
        "campaign/messages: message_ids_unique": True,
        "campaign/reconciliation: is_balanced": True,
        "core/contacts: contacts_well_formed": True,
        "core/events: events_well_formed": False,
        "ledger/sends: queue_is_healthy": False,
    }


def test_sensors_and_schedules_run_from_the_start(definitions: dg.Definitions) -> None:
    sensors = {sensor.name: sensor.default_status.value for sensor in definitions.sensors or []}
    schedules = {
        schedule.name: schedule.default_status.value
        for schedule in definitions.schedules or []
        if isinstance(schedule, dg.ScheduleDefinition)
    }
    assert sensors == {
        "alerts": "RUNNING",
        "due_sends": "RUNNING",
        "landed_events": "RUNNING",
        "orphaned_runs": "RUNNING",
        "provider_erasures": "RUNNING",
        "queue_health": "RUNNING",
    }
    assert schedules == {
        "nightly_marts": "RUNNING",
        "nightly_reports": "RUNNING",
        "weekly_digests": "RUNNING",
        "weekly_maintenance": "RUNNING",
        "daily_retention": "RUNNING",
    }


def test_dg_checks_and_lists_the_definitions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dagster_dg_cli.cli import create_dg_cli

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COMMS_HOME", str(tmp_path / "absent"))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "1")
    dg_command = create_dg_cli()
    checked = CliRunner().invoke(dg_command, ["check", "defs"], catch_exceptions=False)
    assert "All definitions loaded successfully." in checked.stdout
    listed = CliRunner().invoke(dg_command, ["list", "defs", "--json"], catch_exceptions=False)
    found = json.loads(listed.stdout)
    assert {asset["asset_key"] for asset in found["assets"]} >= ASSETS
    assert {job["name"] for job in found["jobs"]} >= {"import_contacts", "send_campaign", "load_events"}

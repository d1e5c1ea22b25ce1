"""Every model as Dagster shows it: what its header and its SQL say, how its refresh went, and what its checks found."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from running import Dagster, first_error

from comms_pipeline.definitions import build_definitions
from comms_pipeline.models.registry import models
from comms_pipeline.settings import load_settings

AFFINITY = dg.AssetKey(["core", "channel_affinity"])
COUNTS = dg.AssetKey(["core", "message_counts"])
AUDIENCE = dg.AssetKey(["core", "send_audience"])


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Any:
    definitions = build_definitions(load_settings(tmp_path_factory.mktemp("home") / "absent"))
    return definitions.resolve_asset_graph()


def test_every_model_is_an_asset_of_its_header(graph: Any) -> None:
    for table, model in models().items():
        node = graph.get(dg.AssetKey(table.split(".")))
        assert model.header.description in (node.description or ""), table
        assert node.group_name == model.header.group
        assert node.owners == [model.header.owner]
        assert {"duckdb", "parquet"} < node.kinds
        hours = model.header.freshness_hours
        policy = node.freshness_policy
        assert (policy.fail_window.to_timedelta() if policy else None) == (hours and timedelta(hours=hours))


def test_dependencies_come_of_the_sql(graph: Any) -> None:
    def parents(*key: str) -> set[str]:
        return {parent.to_user_string() for parent in graph.get(dg.AssetKey(key)).parent_keys}

    assert parents("core", "channel_affinity") == {"core/contact_scores"}
    assert parents("core", "send_audience") == {"campaign/audience", "campaign/eligibility"}


def test_columns_are_shown_with_meaning_type_and_constraints(graph: Any) -> None:
    schema = graph.get(AFFINITY).metadata["dagster/column_schema"]
    affinity = next(column for column in schema.columns if column.name == "affinity")
    assert affinity.type == "double"
    assert affinity.description.startswith("The share of the messages that a person opened or clicked")
    assert affinity.constraints == dg.TableColumnConstraints(nullable=False, unique=False, other=["0 to 1"])
    assert affinity.tags == {"unit": "share"}
    contact = next(column for column in schema.columns if column.name == "contact_id")
    assert contact.constraints.other == ["in core.contacts.contact_id"]


def test_a_send_refreshes_what_its_report_shows_and_events_all(graph: Any) -> None:
    after = {table: graph.get(dg.AssetKey(table.split("."))).tags["comms/refreshed"] for table in models()}
    assert after["mart.campaign_performance"] == after["mart.send_funnel"] == "after_send"
    assert after["core.channel_affinity"] == "after_events"


def of(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == key]
    return {
        name: value if isinstance(value, dg.TableMetadataValue) else value.value
        for name, value in event.materialization.metadata.items()
    }


def test_a_refresh_tells_how_it_went_and_what_was_checked(gallery: Dagster) -> None:
    gallery.create_send("open-day")
    assert gallery.run("send_campaign", "open-day").success
    result = gallery.run("load_events")
    assert result.success, first_error(result)
    done = {event.asset_key for event in result.get_asset_materialization_events()}
    assert {dg.AssetKey(table.split(".")) for table in models()} <= done

    told = of(result, COUNTS)
    assert told["dagster/row_count"] == 2
    assert told["refreshed"] == "whole"
    assert told["keys_changed"] == "all"
    assert told["rows_written"] == 2
    assert told["seconds"] > 0
    assert [row.data["channel"] for row in told["first_rows"].records].count("sms") == 1
    lineage = told["dagster/column_lineage"].deps_by_column
    assert lineage["channel"] == [
        dg.TableColumnDep(asset_key=dg.AssetKey(["core", "message_facts"]), column_name="channel")
    ]
    assert of(result, AUDIENCE)["refreshed"] == "incremental"

    found = {(e.asset_key, e.check_name): e.passed for e in result.get_asset_check_evaluations()}
    assert [check for check, passed in found.items() if not passed] == []
    assert (COUNTS, "keys_unique") in found


def test_a_spoiled_model_fails_its_check_and_not_the_run(gallery: Dagster) -> None:
    gallery.create_send("open-day")
    assert gallery.run("send_campaign", "open-day").success
    gallery.spoil("delete from campaign.sends")
    result = gallery.run("load_events")
    assert result.success, first_error(result)
    found = {(e.asset_key, e.check_name): e for e in result.get_asset_check_evaluations()}
    relations = found[AUDIENCE, "relations_hold"]
    assert not relations.passed
    assert relations.severity is dg.AssetCheckSeverity.WARN
    findings = relations.metadata["findings"]
    assert isinstance(findings, dg.TableMetadataValue)
    [row] = findings.records
    assert row.data == {"what": "send_id: not in campaign.sends.send_id", "rows": 1}


def test_models_are_rebuilt_by_name(gallery: Dagster) -> None:
    gallery.create_send("open-day")
    assert gallery.run("send_campaign", "open-day").success
    gallery.spoil("delete from mart.send_funnel")
    config = {"compute_whole": {"config": {"models": ["mart.send_funnel", "core.message_counts"]}}}
    result = gallery.run("rebuild_models", ops=config)
    assert result.success, first_error(result)
    rebuilt = [
        event.event_specific_data.materialization.asset_key.to_user_string()  # type: ignore[union-attr]
        for event in result.all_events
        if event.is_step_materialization
    ]
    assert rebuilt == ["core/message_counts", "mart/send_funnel"]
    assert gallery.lake("select messages from mart.send_funnel")["messages"].to_list() == [4]
    wrong = gallery.run("rebuild_models", ops={"compute_whole": {"config": {"models": ["mart.nothing"]}}})
    assert not wrong.success

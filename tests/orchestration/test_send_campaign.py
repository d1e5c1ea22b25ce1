"""The job `send_campaign`: real ledger, real lake, and the sandbox at the other end."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from running import Dagster, first_error
from sending import SandboxProcess

from comms_pipeline import vocabulary
from comms_pipeline.planning import stages

SEND = "open-day"


def metadata(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    """What an asset's one materialization says, as plain values; tables as lists of rows."""
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == key]
    values = event.materialization.metadata
    return {
        name: [dict(row.data) for row in value.records]
        if isinstance(value, dg.TableMetadataValue)
        else value.value
        for name, value in values.items()
    }


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """What the checks on the way of the send found; those of models are tested with them."""
    return {
        f"{check.asset_key.to_user_string()}: {check.check_name}": check.passed
        for check in result.get_asset_check_evaluations()
        if check.asset_key.path[0] == "campaign"
    }


def times_accepted(gallery: Dagster, sandbox: SandboxProcess) -> list[int]:
    """How often the sandbox took each message of the plan that it took at all."""
    return [accepted.times for accepted in sandbox.accepted(gallery.message_ids()).values()]


def test_send_is_accounted_for_from_audience_to_report(gallery: Dagster, sandbox: SandboxProcess) -> None:
    gallery.create_send(SEND)
    result = gallery.run("send_campaign", SEND)
    assert result.success
    assert checks(result) == {
        "campaign/messages: counts_sum": True,
        "campaign/messages: message_ids_unique": True,
        "campaign/reconciliation: is_balanced": True,
    }
    funnel = {"audience": 4, "excluded": 0, "messages": 4}
    assert metadata(result, vocabulary.AUDIENCE)["dagster/partition_row_count"] == 4
    assert metadata(result, vocabulary.MESSAGES)["messages_added"] == 4
    assert metadata(result, vocabulary.MESSAGES).items() >= funnel.items()
    assert metadata(result, vocabulary.DISPATCH).items() >= (funnel | {"accepted": 4}).items()
    assert "svg" in metadata(result, vocabulary.DISPATCH)["funnel_chart"]
    assert Path(metadata(result, vocabulary.REPORT)["report"]).read_text(encoding="utf-8").startswith("<!")
    assert gallery.ledger("select status from send") == [("sent",)]
    accepted = gallery.lake("select message_id from core.outcomes where status = 'accepted'")["message_id"]
    assert set(accepted) == set(sandbox.accepted(gallery.message_ids()))
    counted = gallery.lake(
        "select channel, messages, accepted from mart.campaign_performance order by channel"
    )
    assert counted.rows() == [("email", 3, 3), ("sms", 1, 1)]


def test_second_run_sends_nothing_and_a_third_only_tops_up(
    gallery: Dagster, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    gallery.create_send(SEND)
    assert gallery.run("send_campaign", SEND).success
    second = gallery.run("send_campaign", SEND)
    assert second.success
    assert metadata(second, vocabulary.MESSAGES)["messages_added"] == 0
    assert times_accepted(gallery, sandbox) == [1, 1, 1, 1]
    gallery.import_visitors(tmp_path, "email,name\nquiet.eve@x.example,Eve\n")
    third = gallery.run("send_campaign", SEND)
    assert third.success
    assert metadata(third, vocabulary.MESSAGES)["messages_added"] == 1
    assert times_accepted(gallery, sandbox) == [1, 1, 1, 1, 1]
    assert gallery.ledger("select status from send") == [("sent",)]


def test_plan_with_a_message_twice_is_not_sent(gallery: Dagster, sandbox: SandboxProcess) -> None:
    gallery.create_send(SEND)
    send = stages.context_of(gallery.stores, SEND)
    stages.write_audience(gallery.stores, send)
    stages.write_decisions(gallery.stores, send)
    stages.write_messages(gallery.stores, send)
    gallery.spoil("insert into campaign.messages select * from campaign.messages limit 1")
    result = gallery.run("send_campaign", SEND)
    assert not result.success
    assert checks(result) == {
        "campaign/messages: counts_sum": False,
        "campaign/messages: message_ids_unique": False,
    }
    assert gallery.ledger("select count(*) from batch") == [(0,)]
    assert times_accepted(gallery, sandbox) == []


def test_queued_plan_that_lost_a_message_is_not_planned_anew(
    gallery: Dagster, sandbox: SandboxProcess
) -> None:
    gallery.create_send(SEND)
    assert gallery.run("send_campaign", SEND).success
    everybody = gallery.message_ids()
    gallery.spoil(
        "delete from campaign.messages where message_id = (select min(message_id) from campaign.messages)"
    )
    result = gallery.run("send_campaign", SEND)
    assert not result.success
    assert "plan of send open-day: the lake holds 3 of the 4 messages that were queued" in first_error(result)
    assert len(gallery.message_ids()) == 3
    assert [accepted.times for accepted in sandbox.accepted(everybody).values()] == [1, 1, 1, 1]


def test_contact_without_any_decision_is_not_taken_for_excluded(gallery: Dagster) -> None:
    gallery.create_send(SEND)
    send = stages.context_of(gallery.stores, SEND)
    stages.write_audience(gallery.stores, send)
    stages.write_decisions(gallery.stores, send)
    gallery.spoil(
        "delete from campaign.decisions where contact_id = (select min(contact_id) from campaign.decisions)"
    )
    stages.write_messages(gallery.stores, send)
    with gallery.stores.lake.reader() as cursor:
        funnel = stages.funnel(cursor, SEND)
    assert (funnel.audience, funnel.excluded, funnel.messages) == (4, 0, 3)
    assert not funnel.is_planned_whole


@pytest.mark.parametrize("status", ["paused", "cancelled", "failed"])
def test_run_of_a_stopped_send_says_so_and_sends_nothing(gallery: Dagster, status: str) -> None:
    gallery.create_send(SEND)
    gallery.ledger("update send set status = %s", status)
    result = gallery.run("send_campaign", SEND)
    assert not result.success
    assert f"send open-day is {status}: nothing was sent" in first_error(result)
    assert gallery.ledger("select count(*) from batch") == [(0,)]
    assert gallery.ledger("select status from send") == [(status,)]


def test_outcome_lost_from_the_lake_is_noticed(gallery: Dagster) -> None:
    gallery.create_send(SEND)
    assert gallery.run("send_campaign", SEND).success
    gallery.spoil("delete from core.outcomes where message_id = (select min(message_id) from core.outcomes)")
    result = gallery.run("send_campaign", SEND)
    assert not result.success
    assert checks(result)["campaign/reconciliation: is_balanced"] is False

"""The report assets: files written, linked and drawn where ops look."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from audiences import Club, people

from comms_pipeline.assets.reports import WeeklyDigestConfig, campaign_report, weekly_digest
from comms_pipeline.partitions import SENDS
from comms_pipeline.schedules import weekly_digests


@pytest.fixture
def club(shared_stores, tmp_path) -> Club:
    club = Club.founded(shared_stores, tmp_path)
    club.enrol(people(3))
    club.announce()
    club.plan()
    return club


def test_a_sends_report_is_linked_and_its_funnel_drawn_in_place(club):
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(SENDS.name or "", [club.id])
        result = dg.materialize_to_memory(
            [campaign_report], partition_key=club.id, instance=instance, resources={"stores": club.stores}
        )
    [event] = result.asset_materializations_for_node("report__campaign")
    found = {name: value.value for name, value in event.metadata.items()}

    assert Path(found["report"]).name == f"{club.id}.html"
    assert Path(found["pdf"]).name == f"{club.id}.pdf"
    assert found["size_bytes"] == Path(found["report"]).stat().st_size
    assert found["pdf_size_bytes"] == Path(found["pdf"]).stat().st_size
    assert found["funnel"].startswith("![The send's funnel](data:image/svg+xml;base64,")
    assert len(found["funnel"]) < 1000


def test_digests_are_written_for_every_organisation_with_contacts(club):
    result = dg.materialize_to_memory(
        [weekly_digest],
        resources={"stores": club.stores},
        run_config=dg.RunConfig({"report__weekly_digest": WeeklyDigestConfig(week="2026-W49")}),
    )
    [event] = result.asset_materializations_for_node("report__weekly_digest")
    digests = event.metadata["digests"]
    assert isinstance(digests, dg.TableMetadataValue)
    rows = {row.data["organisation"]: row.data for row in digests.records}

    assert event.metadata["week"].value == "2026-W49"
    assert Path(str(rows[club.id]["report"])).name == f"{club.id}-2026-W49.html"
    assert Path(str(rows[club.id]["pdf"])).read_bytes().startswith(b"%PDF-")
    assert len(str(event.metadata["accepted"].value)) < 1000


def test_digests_are_written_on_mondays():
    at = datetime(2026, 11, 23, 5, tzinfo=UTC)
    [request] = (
        weekly_digests.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=at)).run_requests
        or []
    )

    assert weekly_digests.cron_schedule == "0 5 * * 1"
    assert request.partition_key is None

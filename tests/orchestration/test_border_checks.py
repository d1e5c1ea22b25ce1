"""Great Expectations at the borders: what is imported, and what providers tell."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import orjson
import pytest
from running import Dagster

from comms_pipeline.ledger.landing import land

# The suites take seconds to import: one process pays for all of them.
pytestmark = pytest.mark.xdist_group("great_expectations")

CONTACTS = "contacts_well_formed"
EVENTS = "events_well_formed"


def import_file(gallery: Dagster, folder: Path, rows: str) -> dg.ExecuteInProcessResult:
    path = folder / "rows.csv"
    path.write_text(rows, encoding="utf-8")
    config = {"path": str(path), "organisation": "gallery", "consent": "guest book"}
    return gallery.run("import_contacts", ops={"core__contacts": {"config": config}})


def failed_expectations(result: dg.ExecuteInProcessResult, check: str) -> dict[tuple[str, str], int]:
    """(expectation, column) → how many values it did not expect."""
    (evaluation,) = [each for each in result.get_asset_check_evaluations() if each.check_name == check]
    table = evaluation.metadata["expectations"]
    assert isinstance(table, dg.TableMetadataValue)
    assert evaluation.passed == all(row.data["passed"] for row in table.records)
    return {
        (str(row.data["expectation"]), str(row.data["column"])): int(str(row.data["unexpected"]))
        for row in table.records
        if not row.data["passed"]
    }


def test_imported_contacts_are_as_expected(gallery: Dagster, tmp_path: Path) -> None:
    result = import_file(
        gallery, tmp_path, "email,phone,name\nquiet.eve@x.example,+12025550102,Eve\nnobody,,\n"
    )
    assert result.success
    assert failed_expectations(result, CONTACTS) == {}
    (event,) = result.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (metadata["rows_read"], metadata["contacts_new_or_changed"], metadata["rows_rejected"]) == (
        2,
        1,
        1,
    )
    assert metadata["dagster/row_count"] == 5


def test_contacts_that_came_by_another_way_stop_what_follows(gallery: Dagster, tmp_path: Path) -> None:
    gallery.spoil("insert into core.contacts select * from core.contacts where name = 'Ada'")
    gallery.spoil("update core.contacts set email = 'not an address' where name = 'Ben'")
    result = import_file(gallery, tmp_path, "email,name\nquiet.eve@x.example,Eve\n")
    assert not result.success
    assert failed_expectations(result, CONTACTS) == {
        ("expect_column_values_to_be_unique", "contact_id"): 2,
        ("expect_column_values_to_match_regex", "email"): 1,
    }
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.blocking
    assert "not an address" not in str(evaluation)


def test_loaded_events_are_as_expected_unless_nobody_can_match_them(gallery: Dagster) -> None:
    gallery.create_send("open-day")
    assert gallery.run("send_campaign", "open-day").success
    message_id = gallery.lake("select message_id from campaign.messages where channel = 'email'").item(0, 0)
    tell(gallery, message_id, "delivered")
    first = gallery.run("load_events")
    assert first.success
    assert failed_expectations(first, EVENTS) == {}
    assert gallery.lake("select kind, send_id from core.events").rows() == [("delivered", "open-day")]
    assert gallery.lake("select sum(delivered) from mart.campaign_performance").item() == 1
    gallery.spoil("update core.events set message_id = null")
    again = gallery.run("load_events")
    assert again.success, "it warns and stops nothing"
    assert failed_expectations(again, EVENTS) == {("expect_column_values_to_not_be_null", "message_id"): 1}


def tell(gallery: Dagster, message_id: str, event: str) -> None:
    """Land what SendGrid would post of a message."""
    body = {
        "email": "quiet.ada@x.example",
        "event": event,
        "timestamp": int(datetime.now(UTC).timestamp()),
        "sg_event_id": f"{event}-1",
        "sg_message_id": "abc.filter",
        "comms_message": message_id,
        "comms_org": "gallery",
    }
    with gallery.stores.ledger() as ledger:
        land(ledger, provider="sendgrid", kind="events", query="", body=orjson.dumps([body]))

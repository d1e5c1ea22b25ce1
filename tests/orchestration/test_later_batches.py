"""A send whose messages are due at times of their own: resumed as each time comes, closed after the last."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from running import Dagster
from sending import SandboxProcess

from comms_pipeline.sensors import due_sends

SEND = "evening"
CAMPAIGN = """
id: evening
organisation: gallery
audience: {everyone: true}
channels: [email]
sender: {from_email: office@gallery.example, from_name: The Gallery}
templates: {email: {subject: Tonight, html: open-day.html}}
fallbacks: {name: friend}
send_time: {within_hours: 24}
"""


@pytest.fixture
def evening(gallery: Dagster, tmp_path) -> Dagster:
    """A send in which Ben, and only he, is to be written to in six hours."""
    folder = tmp_path / "gallery"
    (folder / "evening.yaml").write_text(CAMPAIGN, encoding="utf-8")
    gallery.apply_gallery(folder)
    gallery.create_send(SEND)
    now = datetime.now(UTC)
    # The others read at this hour, and at the next, should it begin meanwhile.
    at_once = ", ".join(str((now + timedelta(hours=hours)).hour) for hours in range(2))
    gallery.spoil(
        f"""
        insert into core.send_hours
        select contact_id, unnest(if(name = 'Ben', [{(now + timedelta(hours=6)).hour}], [{at_once}])), 50.0, now()
        from core.contacts
        """
    )
    return gallery


def requested(dagster: Dagster) -> list[str | None]:
    result = due_sends(dg.build_sensor_context(dagster.instance, resources={"stores": dagster.stores}))
    return [each.partition_key for each in result.run_requests or []]


def test_what_is_due_later_is_sent_when_its_time_comes(evening: Dagster, sandbox: SandboxProcess) -> None:
    assert requested(evening) == [SEND]
    assert evening.run("send_campaign", SEND).success

    assert len(sandbox.accepted(evening.message_ids())) == 2
    assert evening.ledger("select status from send") == [("sending",)]
    assert evening.ledger(
        "select message_count, due_at - now() between '4 hours' and '6 hours' from batch where status = 'planned'"
    ) == [(1, True)]
    assert requested(evening) == []

    # Its time comes, less than five minutes after the first request.
    evening.ledger("update batch set due_at = now() where status = 'planned'")
    assert requested(evening) == [SEND]
    assert requested(evening) == []
    assert evening.run("send_campaign", SEND).success

    assert [each.times for each in sandbox.accepted(evening.message_ids()).values()] == [1, 1, 1]
    assert evening.ledger("select status from send") == [("sent",)]
    assert requested(evening) == []

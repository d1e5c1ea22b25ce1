"""`comms demo` as a newcomer runs it, and what a second run does."""

import signal

import pytest
from acceptance_support import Installation, wait_until_up

pytestmark = pytest.mark.xdist_group("demo")


def test_demo_sends_once_however_often_it_runs(installation: Installation) -> None:
    first = installation.comms("demo")
    assert "wedding-invitation" in first
    assert "wedding-invitation.html" in first
    funnels = installation.query(
        "select send_id, audience, messages, excluded, accepted, refused from mart.send_funnel"
    )
    assert len(funnels) == 4
    for send_id, audience, messages, excluded, accepted, refused in funnels:
        assert audience == messages + excluded, send_id
        assert messages == accepted + refused, send_id

    second = installation.comms("demo")
    assert "The sandbox accepted 0 messages in this run." in second

    with installation.start("serve", "sandbox") as sandbox:
        try:
            wait_until_up(installation.sandbox_url, sandbox)
            record = installation.sandbox_record()
        finally:
            sandbox.send_signal(signal.SIGTERM)
            sandbox.communicate()
    accepted_in_lake = {
        row[0] for row in installation.query("select message_id from core.outcomes where status = 'accepted'")
    }
    assert set(record) == accepted_in_lake
    assert set(record.values()) == {1}
    assert installation.ledger(
        "select count(*) from batch where status <> 'settled' or payload is not null"
    ) == [(0,)]

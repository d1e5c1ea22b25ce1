"""What people are told of the queue: nothing while all is well, one line for each thing they should look at."""

from datetime import UTC, datetime

import pytest
from sending import EMAIL_LANE, ORGANISATION, Ledger, recipients

from comms_pipeline.dispatch.alerts import Finding, findings
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import alerts, operations
from comms_pipeline.ledger.alerts import Trouble


@pytest.fixture(autouse=True)
def _no_trouble(ledger: Ledger) -> None:
    ledger.do("delete from lane_trouble")


def enqueue(ledger: Ledger, send_id: str = "spring-1", count: int = 10, priority: int = 2) -> None:
    payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(count)], send_id)
    ledger.enqueue(send_id, EMAIL_LANE, payload, batch_size=5, priority=priority)


def found(ledger: Ledger) -> list[Finding]:
    with ledger.connection() as connection:
        return findings(connection)


def told(ledger: Ledger) -> list[tuple[str, str, str, str]]:
    return [(each.key, each.severity, each.what, each.fix) for each in found(ledger)]


def test_a_queue_that_is_served_has_no_findings(ledger: Ledger) -> None:
    assert found(ledger) == []
    enqueue(ledger)
    assert found(ledger) == []


def test_messages_in_doubt_for_more_than_an_hour(ledger: Ledger) -> None:
    enqueue(ledger)
    ledger.do("update batch set status = 'unknown', sending_at = now() - interval '59 minutes'")
    assert found(ledger) == []
    ledger.do("update batch set sending_at = now() - interval '61 minutes' where mod(batch_id, 2) = 0")
    [(key, severity, what, _)] = told(ledger)
    assert (key, severity) == ("in_doubt:spring-1", "error")
    assert what.startswith("5 messages are in doubt in email:sendgrid")
    age = datetime.now(UTC) - found(ledger)[0].since
    assert 60 <= age.total_seconds() / 60 <= 62


def test_dead_letters(ledger: Ledger) -> None:
    enqueue(ledger)
    ledger.do("update batch set status = 'dead', last_error = 'SendGrid answered 503'")
    fix = "Run `comms dead-letters retry --send spring-1`"
    assert told(ledger) == [
        ("dead_letters:spring-1", "warning", "10 dead letters: SendGrid answered 503", fix)
    ]
    ledger.do("update batch set payload = null")
    assert found(ledger) == []


def test_lanes_that_are_stopped_or_down(ledger: Ledger) -> None:
    with ledger.connection() as connection:
        alerts.note_trouble(connection, EMAIL_LANE, Trouble.DOWN, "it answered 503")
        assert [each[:3] for each in told(ledger)] == [
            ("down:email:sendgrid", "warning", "the provider counts as down: it answered 503")
        ]
        alerts.note_trouble(connection, EMAIL_LANE, Trouble.MISCONFIGURED, "it refused the key")
        assert [each[:3] for each in told(ledger)] == [
            ("misconfigured:email:sendgrid", "error", "the provider refuses us: it refused the key")
        ]
        ledger.do("update lane_trouble set seen_at = now() - interval '25 hours'")
        assert found(ledger) == []
        alerts.note_trouble(connection, EMAIL_LANE, Trouble.MISCONFIGURED, "it refused the key")
        assert len(found(ledger)) == 1
        alerts.clear_trouble(connection, EMAIL_LANE)
    assert found(ledger) == []


def test_bulk_that_is_due_and_nobody_sends(ledger: Ledger) -> None:
    enqueue(ledger)
    ledger.do("update batch set due_at = now() - interval '14 minutes'")
    assert found(ledger) == []
    ledger.do("update batch set due_at = now() - interval '16 minutes'")
    [(key, severity, what, _)] = told(ledger)
    expected = "10 messages are due in email:sendgrid and nobody sends them"
    assert (key, severity, what) == ("overdue:spring-1", "error", expected)
    # Of a large send most batches are due for hours: it goes on, and that is all one can ask.
    ledger.do(
        "update batch set status = 'sending', lease_until = now() + interval '1 minute' where mod(batch_id, 2) = 0"
    )
    assert found(ledger) == []
    ledger.do("update batch set lease_until = now() - interval '16 minutes' where mod(batch_id, 2) = 0")
    assert [each.key for each in found(ledger)] == ["overdue:spring-1"]
    ledger.do(
        "update batch set status = 'settled', settled_at = now() - interval '5 minutes' where mod(batch_id, 2) = 0"
    )
    assert found(ledger) == []


def test_urgent_messages_that_wait_for_more_than_a_minute(ledger: Ledger) -> None:
    enqueue(ledger, priority=1)
    ledger.do("update batch set due_at = now() - interval '50 seconds'")
    assert found(ledger) == []
    ledger.do("update batch set due_at = now() - interval '70 seconds'")
    assert told(ledger) == [
        (
            "urgent_overdue:email:sendgrid",
            "error",
            "10 urgent messages are due and not sent",
            "Start `comms worker`",
        )
    ]


@pytest.mark.parametrize("priority", [1, 2])
def test_what_people_hold_back_is_not_overdue(ledger: Ledger, priority: int) -> None:
    enqueue(ledger, priority=priority)
    ledger.do("update batch set due_at = now() - interval '1 day'")
    with ledger.connection() as connection:
        operations.put_stop(
            connection, f"organisation:{ORGANISATION.organisation_id}", actor="cli", reason=""
        )
        assert found(ledger) == []
        operations.lift_stop(connection, f"organisation:{ORGANISATION.organisation_id}", actor="cli")
        assert len(found(ledger)) == 1
        operations.pause_send(connection, "spring-1", actor="cli", reason="")
    assert found(ledger) == []

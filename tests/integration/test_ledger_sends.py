"""Organisations, campaign versions and sends on a real Postgres."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sending import EMAIL_LANE, ORGANISATION, Ledger, recipients

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import batches, sends
from comms_pipeline.ledger.sends import Organisation

PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def apply(ledger: Ledger, digest: str, campaign_id: str = "autumn") -> tuple[int, bool]:
    with ledger.connection() as connection, connection.transaction():
        return sends.apply_campaign(
            connection,
            campaign_id=campaign_id,
            organisation_id=ORGANISATION.organisation_id,
            digest=digest,
            spec={"name": digest},
            templates={"a.html": "<p>"},
        )


def create(ledger: Ledger, send_id: str, due_at: datetime, requested_run_at: datetime | None = None) -> bool:
    with ledger.connection() as connection:
        return sends.create_send(
            connection,
            send_id=send_id,
            campaign_id="spring",
            version=1,
            due_at=due_at,
            requested_run_at=requested_run_at,
        )


def requested(ledger: Ledger) -> list[str]:
    with ledger.connection() as connection:
        return sorted(send_id for send_id, _ in sends.request_due_sends(connection))


def test_an_organisation_is_created_updated_and_missed(ledger: Ledger) -> None:
    moved = Organisation(organisation_id="acme", name="Acme Ltd", postal_address="2 Side Street")
    with ledger.connection() as connection:
        assert sends.get_organisation(connection, "acme") == ORGANISATION
        sends.put_organisation(connection, moved)
        assert sends.get_organisation(connection, "acme") == moved
        with pytest.raises(NotFound, match="organisation ghost: it is not known"):
            sends.get_organisation(connection, "ghost")


def test_the_same_content_applied_again_makes_no_version(ledger: Ledger) -> None:
    assert [apply(ledger, digest) for digest in ("a", "a", "b")] == [(1, True), (1, False), (2, True)]
    with ledger.connection() as connection:
        latest = sends.get_campaign(connection, "autumn")
        first = sends.get_campaign(connection, "autumn", 1)
        listed = [(each.campaign_id, each.version) for each in sends.campaigns(connection)]
        with pytest.raises(NotFound, match="campaign ghost: it has not been applied"):
            sends.get_campaign(connection, "ghost")
    assert (latest.version, latest.spec, latest.templates) == (2, {"name": "b"}, {"a.html": "<p>"})
    assert first.spec == {"name": "a"}
    assert listed == [("autumn", 2), ("spring", 1)]


def test_going_back_to_an_earlier_content_is_a_version_of_its_own(ledger: Ledger) -> None:
    assert [apply(ledger, digest) for digest in ("a", "b", "a")] == [(1, True), (2, True), (3, True)]
    with ledger.connection() as connection:
        assert sends.get_campaign(connection, "autumn").spec == {"name": "a"}


def test_applying_at_the_same_time_numbers_versions_once(ledger: Ledger) -> None:
    versions: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: versions.append(apply(ledger, str(n))[0])) for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == [1, 2, 3, 4, 5, 6]


def test_a_send_can_be_moved_until_it_begins_and_never_afterwards(ledger: Ledger) -> None:
    assert create(ledger, "spring-1", FUTURE)
    assert create(ledger, "spring-1", PAST)
    assert not create(ledger, "spring-1", PAST)
    with ledger.connection() as connection, connection.transaction():
        assert sends.start_send(connection, "spring-1")
    assert not create(ledger, "spring-1", FUTURE)
    assert create(ledger, "spring-2", FUTURE)
    with ledger.connection() as connection:
        found = sends.get_send(connection, "spring-1")
        assert (found.campaign_id, found.version, found.due_at, found.status) == (
            "spring",
            1,
            PAST,
            "sending",
        )
        assert {each.send_id for each in sends.sends(connection)} == {"spring-1", "spring-2"}
        assert len(sends.sends(connection, limit=1)) == 1
        assert sends.last_occurrence(connection, "spring") == FUTURE
        assert sends.last_occurrence(connection, "autumn") is None
        with pytest.raises(NotFound, match="send ghost: it does not exist"):
            sends.get_send(connection, "ghost")


def test_a_due_send_is_requested_by_one_caller_only(ledger: Ledger) -> None:
    create(ledger, "due", PAST)
    create(ledger, "later", FUTURE)
    create(ledger, "asked", PAST, requested_run_at=datetime.now(UTC))
    assert requested(ledger) == ["due"]
    assert requested(ledger) == []


def test_a_run_that_never_began_is_asked_for_again(ledger: Ledger) -> None:
    create(ledger, "due", PAST, requested_run_at=datetime.now(UTC) - timedelta(minutes=6))
    assert requested(ledger) == ["due"]


@pytest.mark.parametrize(
    ("change", "is_requested"),
    [
        ("update batch set status = 'planned'", True),
        ("update batch set status = 'planned', due_at = now() + interval '1 hour'", False),
        ("update batch set status = 'unknown'", True),
        ("update batch set status = 'claimed', lease_until = now() - interval '1 second'", True),
        ("update batch set status = 'sending', lease_until = now() - interval '1 second'", True),
        ("update batch set status = 'sending', lease_until = now() + interval '1 minute'", False),
        # Somebody else finished it: a run has to balance its books and close it.
        ("update batch set status = 'settled', payload = null", True),
        ("update send set status = 'paused'", False),
        ("update send set status = 'cancelled'", False),
        ("update send set requested_run_at = now() - interval '4 minutes'", False),
    ],
)
def test_a_send_with_work_nobody_does_is_asked_for_again(
    ledger: Ledger, change: str, is_requested: bool
) -> None:
    ledger.enqueue("spring-1", EMAIL_LANE, recipients(Channel.EMAIL, ["ann"], "spring-1"))
    ledger.do("update send set requested_run_at = now() - interval '6 minutes'")
    ledger.do(change)
    assert requested(ledger) == (["spring-1"] if is_requested else [])


@pytest.mark.parametrize(
    ("status", "is_open"),
    [
        ("scheduled", True),
        ("sending", True),
        ("sent", True),
        ("paused", False),
        ("failed", False),
        ("cancelled", False),
    ],
)
def test_only_an_open_send_starts(ledger: Ledger, status: str, is_open: bool) -> None:
    create(ledger, "spring-1", PAST)
    ledger.do("update send set status = %s", status)
    with ledger.connection() as connection:
        assert sends.start_send(connection, "spring-1") == is_open
        assert sends.get_send(connection, "spring-1").status == ("sending" if is_open else status)


@pytest.mark.parametrize("status", ["planned", "claimed", "sending", "unknown"])
def test_a_send_is_complete_when_nothing_waits_and_nothing_is_in_doubt(ledger: Ledger, status: str) -> None:
    ledger.enqueue("spring-1", EMAIL_LANE, recipients(Channel.EMAIL, ["ann"], "spring-1"))
    ledger.do("update batch set status = %s", status)
    with ledger.connection() as connection:
        assert not sends.complete_send(connection, "spring-1")
        ledger.do("update batch set status = 'settled', payload = null")
        assert sends.complete_send(connection, "spring-1")
        closed = sends.get_send(connection, "spring-1")
        assert not sends.complete_send(connection, "spring-1")
    assert closed.status == "sent"
    assert closed.completed_at is not None


def test_a_paused_send_is_not_completed(ledger: Ledger) -> None:
    ledger.open_send("spring-1")
    ledger.do("update send set status = 'paused'")
    with ledger.connection() as connection:
        assert not sends.complete_send(connection, "spring-1")
        assert batches.lanes_of_send(connection, "spring-1") == {}

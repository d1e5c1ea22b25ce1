"""The life of a batch on a real Postgres: every step only from where it is allowed, and only by its holder."""

import threading
from datetime import timedelta

import polars as pl
import psycopg
import pytest
from sending import EMAIL_LANE, ORGANISATION, SMS_LANE, Ledger, content, recipients

from comms_pipeline.dispatch.leases import expire
from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import batches, operations
from comms_pipeline.ledger.batches import Child, Claim, Progress

SEND = "spring-1"
RESULTS = b"results"


def enqueue(ledger: Ledger, count: int = 1, send_id: str = SEND, **options: object) -> pl.DataFrame:
    """`count` batches of one message each."""
    payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(count)], send_id)
    ledger.enqueue(send_id, EMAIL_LANE, payload, batch_size=1, **options)  # type: ignore[arg-type]
    return payload


def claim(
    connection: psycopg.Connection, limit: int = 10, lease_seconds: float = 60, send_id: str | None = None
) -> list[Claim]:
    return batches.claim_due(
        connection,
        lane=EMAIL_LANE,
        worker="w",
        limit=limit,
        lease_seconds=lease_seconds,
        send_id=send_id,
    )


def record(connection: psycopg.Connection, claim: Claim, **options: object) -> bool:
    return batches.record(connection, claim, results=RESULTS, error=None, **options)  # type: ignore[arg-type]


def started(connection: psycopg.Connection, lease_seconds: float = 60) -> Claim:
    """One batch, claimed and marked."""
    [claimed] = claim(connection, limit=1)
    assert batches.mark_sending(connection, [claimed], lease_seconds=lease_seconds) == {claimed.batch_id}
    return claimed


def test_a_generation_is_enqueued_once(ledger: Ledger) -> None:
    ledger.open_send(SEND)
    with ledger.connection() as connection:
        assert batches.claim_generation(connection, send_id=SEND, generation=1, message_count=5)
        assert not batches.claim_generation(connection, send_id=SEND, generation=1, message_count=5)
        assert batches.claim_generation(connection, send_id=SEND, generation=2, message_count=1)


@pytest.mark.parametrize("is_committed", [True, False])
def test_whoever_enqueues_at_the_same_time_waits_and_learns_the_outcome(
    ledger: Ledger, is_committed: bool
) -> None:
    ledger.open_send(SEND)
    answers: list[bool] = []

    def second() -> None:
        with ledger.connection() as connection, connection.transaction():
            answers.append(batches.claim_generation(connection, send_id=SEND, generation=1, message_count=1))

    with ledger.connection() as connection:
        waiting = threading.Thread(target=second)
        with connection.transaction(force_rollback=not is_committed):
            assert batches.claim_generation(connection, send_id=SEND, generation=1, message_count=1)
            waiting.start()
            waiting.join(0.2)
            assert waiting.is_alive()
        waiting.join()
    assert answers == [not is_committed]


def test_a_claim_carries_the_payload_and_what_it_shares(ledger: Ledger) -> None:
    payload = enqueue(ledger)
    with ledger.connection() as connection:
        [claimed] = claim(connection)
        shared = content(Channel.EMAIL)
        assert unpack(claimed.payload).equals(payload)
        assert (claimed.send_id, claimed.organisation_id) == (SEND, ORGANISATION.organisation_id)
        assert (claimed.channel, claimed.content_id, claimed.attempt) == ("email", shared.content_id, 0)
        bodies = batches.contents(connection, [shared.content_id, "unknown"])
    assert list(bodies) == [shared.content_id]
    assert bodies[shared.content_id]["sender"] == "office@acme.example"


def test_urgent_and_older_batches_are_claimed_first_and_never_more_than_asked(ledger: Ledger) -> None:
    enqueue(ledger, 30, generation=1, priority=2)
    enqueue(ledger, 1, generation=2, priority=0)
    enqueue(ledger, 1, generation=3, priority=1)
    with ledger.connection() as connection:
        connection.execute("analyze batch")
        first = claim(connection, limit=2)
        rest = [claim(connection, limit=7) for _ in range(5)]
    generations = [
        ledger.one("select generation from batch where batch_id = %s", each.batch_id) for each in first
    ]
    assert sorted(generations) == [2, 3]
    assert [len(each) for each in rest] == [7, 7, 7, 7, 2]
    everyone = [each.batch_id for group in (first, *rest) for each in group]
    assert len(set(everyone)) == 32


def test_what_is_not_due_of_another_lane_or_of_a_send_that_is_not_open_is_not_claimed(
    ledger: Ledger,
) -> None:
    enqueue(ledger, 1, send_id="later", due_in=timedelta(hours=1))
    ledger.enqueue("texts", SMS_LANE, recipients(Channel.SMS, ["ann"], "texts"))
    for status in ("scheduled", "paused", "sent", "failed", "cancelled"):
        enqueue(ledger, 1, send_id=status)
        ledger.do("update send set status = %s where send_id = %s", status, status)
    with ledger.connection() as connection:
        assert claim(connection) == []
        assert claim(connection, send_id="paused") == []
        enqueue(ledger)
        assert claim(connection, send_id="another") == []
        assert [each.send_id for each in claim(connection)] == [SEND]


def test_two_workers_never_hold_the_same_batch(ledger: Ledger) -> None:
    enqueue(ledger, 6)
    with ledger.connection() as one, ledger.connection() as two, one.transaction(), two.transaction():
        two.execute("set local lock_timeout = '5s'")
        first, second = claim(one, limit=4), claim(two, limit=4)
    assert (len(first), len(second)) == (4, 2)
    assert not {each.batch_id for each in first} & {each.batch_id for each in second}
    assert len({each.fence for each in first + second}) == 6


def test_a_settled_batch_keeps_no_personal_data_and_is_settled_once(ledger: Ledger) -> None:
    enqueue(ledger)
    with ledger.connection() as connection:
        sending = started(connection)
        assert record(connection, sending)
        assert not record(connection, sending)
        assert not record(connection, sending, in_doubt=(b"again", 1))
        assert batches.mark_sending(connection, [sending], lease_seconds=60) == set()
        batches.release_claims(connection, [sending])
    row = ledger.one("select to_jsonb(b) - 'created_at' from batch b")
    assert (row["status"], row["payload"], row["lease_until"]) == ("settled", None, None)
    assert ledger.one("select count(*) from outcome") == 1


def test_only_a_claimed_batch_is_marked(ledger: Ledger) -> None:
    enqueue(ledger)
    with ledger.connection() as connection:
        [claimed] = claim(connection)
        batches.release_claims(connection, [claimed])
        assert batches.mark_sending(connection, [claimed], lease_seconds=60) == set()
        assert not record(connection, claimed)
    assert ledger.statuses(SEND) == {"planned": 1}
    assert ledger.one("select count(*) from outcome") == 0


def test_a_batch_is_not_settled_before_it_was_marked(ledger: Ledger) -> None:
    enqueue(ledger)
    with ledger.connection() as connection:
        [claimed] = claim(connection)
        assert not record(connection, claimed)
        assert not record(connection, claimed, in_doubt=(b"payload", 1))
    assert ledger.statuses(SEND) == {"claimed": 1}


def test_a_marked_batch_is_not_released(ledger: Ledger) -> None:
    enqueue(ledger)
    with ledger.connection() as connection:
        sending = started(connection)
        batches.release_claims(connection, [sending])
    assert ledger.statuses(SEND) == {"sending": 1}


def test_a_send_paused_after_the_claim_is_not_marked(ledger: Ledger) -> None:
    enqueue(ledger)
    with ledger.connection() as connection:
        claimed = claim(connection)
        ledger.do("update send set status = 'paused'")
        assert batches.mark_sending(connection, claimed, lease_seconds=60) == set()


def test_a_claim_whose_lease_ran_out_is_due_again_and_its_old_holder_can_do_nothing(ledger: Ledger) -> None:
    enqueue(ledger)
    with ledger.connection() as connection:
        [old] = claim(connection, lease_seconds=0)
        assert expire(connection) == 1
        [new] = claim(connection)
        assert (new.batch_id, new.fence > old.fence) == (old.batch_id, True)
        assert batches.mark_sending(connection, [old], lease_seconds=60) == set()
        batches.release_claims(connection, [old])
        assert ledger.statuses(SEND) == {"claimed": 1}
        assert batches.mark_sending(connection, [new], lease_seconds=60) == {new.batch_id}
        assert not record(connection, old)
        assert record(connection, new)


def test_a_sending_whose_lease_ran_out_is_in_doubt_and_its_old_holder_is_refused(ledger: Ledger) -> None:
    payload = enqueue(ledger)
    with ledger.connection() as connection:
        old = started(connection, lease_seconds=0)
        assert expire(connection) == 1
        assert expire(connection) == 0
        assert not record(connection, old)
        assert not record(connection, old, in_doubt=(b"mine", 1))
        assert claim(connection) == []
    assert ledger.statuses(SEND) == {"unknown": 1}
    told = ledger.outcomes(SEND)
    assert told.select("message_id", "status").rows() == [(payload["message_id"][0], "unknown")]


def test_leases_that_hold_are_left_alone(ledger: Ledger) -> None:
    enqueue(ledger, 2)
    with ledger.connection() as connection:
        started(connection)
        claim(connection)
        assert expire(connection) == 0
    assert ledger.statuses(SEND) == {"claimed": 1, "sending": 1}


def test_expiry_does_not_wait_for_a_batch_somebody_is_recording(ledger: Ledger) -> None:
    enqueue(ledger)
    with ledger.connection() as recording, ledger.connection() as expiring:
        sending = started(recording, lease_seconds=0)
        with recording.transaction():
            assert record(recording, sending)
            assert expire(expiring) == 0
    assert ledger.statuses(SEND) == {"settled": 1}


def test_doubt_keeps_the_messages_in_doubt_only_until_the_provider_answers(ledger: Ledger) -> None:
    payload = recipients(Channel.EMAIL, ["ann", "bob", "cem"], SEND)
    ledger.enqueue(SEND, EMAIL_LANE, payload)
    with ledger.connection() as connection:
        sending = started(connection)
        assert record(connection, sending, in_doubt=(pack(payload.head(1)), 1))
        assert batches.take_unknown(connection, older_than_seconds=100) == []
        assert batches.take_unknown(connection, older_than_seconds=0, send_id="another") == []
        [doubt] = batches.take_unknown(connection, older_than_seconds=0, send_id=SEND)
        assert unpack(doubt.payload).equals(payload.head(1))
        assert (doubt.lane, doubt.fence > sending.fence) == (EMAIL_LANE, True)
        [later] = batches.take_unknown(connection, older_than_seconds=0)
        assert not record(connection, doubt)
        assert record(connection, later)
        assert batches.take_unknown(connection, older_than_seconds=0) == []


def test_a_child_goes_on_where_its_parent_stopped(ledger: Ledger) -> None:
    payload = recipients(Channel.EMAIL, ["ann", "bob"], SEND)
    ledger.enqueue(SEND, EMAIL_LANE, payload, priority=1)
    with ledger.connection() as connection:
        sending = started(connection)
        child = Child(payload=pack(payload.tail(1)), message_count=1, delay_seconds=100, attempt=3)
        assert record(connection, sending, children=[child])
        assert claim(connection) == []
        progress = batches.progress(connection, SEND)
        ledger.do("update batch set due_at = now() where status = 'planned'")
        [again] = claim(connection)
    assert progress.due_in_seconds is not None
    assert 90 < progress.due_in_seconds <= 100
    assert unpack(again.payload).equals(payload.tail(1))
    assert again.attempt == 3
    same = ("send_id", "organisation_id", "generation", "lane", "channel", "content_id", "priority")
    parent, born = (
        ledger.one("select to_jsonb(b) from batch b where batch_id = %s", each.batch_id)
        for each in (sending, again)
    )
    assert {key: parent[key] for key in same} == {key: born[key] for key in same}
    assert born["parent_batch_id"] == sending.batch_id


def test_a_stale_holder_leaves_no_child(ledger: Ledger) -> None:
    enqueue(ledger)
    with ledger.connection() as connection:
        old = started(connection, lease_seconds=0)
        expire(connection)
        child = Child(payload=b"again", message_count=1, delay_seconds=0, attempt=1)
        assert not record(connection, old, children=[child])
    assert ledger.statuses(SEND) == {"unknown": 1}


def test_progress_and_queue_count_messages_where_they_stand(ledger: Ledger) -> None:
    payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(10)], SEND)
    ledger.enqueue(SEND, EMAIL_LANE, payload, batch_size=2)
    ledger.enqueue(SEND, SMS_LANE, recipients(Channel.SMS, ["ann"], SEND), due_in=timedelta(hours=1))
    with ledger.connection() as connection:
        assert batches.lanes_of_send(connection, SEND) == {EMAIL_LANE: 10, SMS_LANE: 1}
        assert record(connection, started(connection))
        doubtful = started(connection)
        assert record(connection, doubtful, in_doubt=(b"one", 1))
        started(connection)
        claim(connection, limit=1)
        whole = batches.progress(connection, SEND)
        emails = batches.progress(connection, SEND, EMAIL_LANE)
        queue = {(row.lane, row.status): row.messages for row in operations.queue(connection)}
    assert (whole.waiting, whole.in_flight, whole.in_doubt) == (3, 4, 1)
    assert (emails.waiting, emails.in_flight, emails.in_doubt) == (2, 4, 1)
    assert emails.due_in_seconds is not None
    assert emails.due_in_seconds <= 0
    assert queue == {
        (EMAIL_LANE, "claimed"): 2,
        (EMAIL_LANE, "planned"): 2,
        (EMAIL_LANE, "sending"): 2,
        (EMAIL_LANE, "settled"): 2,
        (EMAIL_LANE, "unknown"): 1,
        (SMS_LANE, "planned"): 1,
    }


def test_nothing_of_a_paused_send_is_due(ledger: Ledger) -> None:
    enqueue(ledger, 2)
    ledger.do("update send set status = 'paused'")
    with ledger.connection() as connection:
        assert batches.progress(connection, SEND) == Progress(
            waiting=2, in_flight=0, in_doubt=0, due_in_seconds=None
        )


@pytest.mark.parametrize("status", ["planned", "claimed", "sending", "unknown"])
def test_the_database_refuses_to_drop_a_payload_that_may_still_be_sent(ledger: Ledger, status: str) -> None:
    enqueue(ledger)
    with ledger.connection() as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("update batch set status = %s, payload = null", (status,))

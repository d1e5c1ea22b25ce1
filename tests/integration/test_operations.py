"""What people order takes effect in the middle of sending, and every message stays accounted for."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import psycopg
import pytest
from sending import (
    EMAIL_LANE,
    ORGANISATION,
    SMS_LANE,
    Ledger,
    SandboxProcess,
    new_send_id,
    recipients,
)

from comms_pipeline.dispatch import operations as dispatch
from comms_pipeline.dispatch.engine import LaneReport
from comms_pipeline.dispatch.leases import expire
from comms_pipeline.dispatch.payload import pack, unpack
from comms_pipeline.dispatch.send import Settlement, run_lane, settle
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import batches, feeds, operations, sends
from comms_pipeline.ledger.batches import Child, Claim
from comms_pipeline.ledger.feeds import Feed, Watermark
from comms_pipeline.ledger.sends import Organisation

PEOPLE = "cli:ann"
SECOND_LANE = "email:second"
SLOW = {"provider": "sendgrid", "kind": "slow", "seconds": 0.2}


def enqueue(ledger: Ledger, send_id: str, count: int, batch_size: int = 5) -> pl.DataFrame:
    payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(count)], send_id)
    ledger.open_send(send_id)
    with ledger.connection() as connection, connection.transaction():
        batches.claim_generation(connection, send_id=send_id, generation=1, message_count=count)
    ledger.enqueue(send_id, EMAIL_LANE, payload, batch_size=batch_size)
    return payload


def run(
    ledger: Ledger,
    sandbox: SandboxProcess,
    send_id: str,
    on_progress: Callable[[LaneReport], None] = lambda _: None,
) -> LaneReport:
    return run_lane(
        ledger.connect,
        sandbox.providers(),
        lane=EMAIL_LANE,
        send_id=send_id,
        linger_seconds=0.0,
        on_progress=on_progress,
    )


def close(ledger: Ledger, sandbox: SandboxProcess, send_id: str) -> Settlement:
    return settle(
        ledger.connect,
        sandbox.providers(),
        send_id=send_id,
        now=datetime.now(UTC),
        reconcile_after_seconds=0,
    )


def once(ledger: Ledger, order: Callable[[psycopg.Connection], object]) -> Callable[[LaneReport], None]:
    """Give the order when the first batch is recorded."""
    given: list[object] = []

    def give(_: LaneReport) -> None:
        if not given:
            with ledger.connection() as connection:
                given.append(order(connection))

    return give


def claim(connection: psycopg.Connection, limit: int = 10, lane: str = EMAIL_LANE) -> list[Claim]:
    return batches.claim_due(connection, lane=lane, worker="w", limit=limit, lease_seconds=60)


def audited(ledger: Ledger) -> list[tuple[str, str, str]]:
    with ledger.connection() as connection:
        rows = connection.execute("select actor, action, subject from audit order by audit_id")
        return rows.fetchall()


def counted(ledger: Ledger, send_id: str) -> dict[str, int]:
    """Messages by what the feed says of them in the end."""
    return dict(ledger.outcomes(send_id)["status"].value_counts().iter_rows())


def assert_all_accepted_once(
    ledger: Ledger, sandbox: SandboxProcess, send_id: str, payload: pl.DataFrame
) -> None:
    recorded = sandbox.accepted(payload["message_id"])
    assert set(recorded) == set(payload["message_id"])
    assert {accepted.times for accepted in recorded.values()} == {1}
    assert counted(ledger, send_id) == {"accepted": payload.height}


def test_a_paused_send_goes_on_where_it_was_when_it_is_resumed(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 200)
    sandbox.break_things(SLOW)

    def pause(connection: psycopg.Connection) -> bool:
        return operations.pause_send(connection, send_id, actor=PEOPLE, reason="typo")

    report = run(ledger, sandbox, send_id, once(ledger, pause))
    sandbox.mend()
    statuses = ledger.statuses(send_id)
    assert set(statuses) == {"planned", "settled"}
    assert report.counts == {"accepted": 5 * statuses["settled"]}
    assert ledger.one("select (status, status_reason)::text from send") == "(paused,typo)"
    assert not close(ledger, sandbox, send_id).is_complete
    with ledger.connection() as connection:
        assert not pause(connection)
        assert operations.resume_send(connection, send_id, actor=PEOPLE)
        assert not operations.resume_send(connection, send_id, actor=PEOPLE)
    run(ledger, sandbox, send_id)
    assert close(ledger, sandbox, send_id).is_complete
    assert_all_accepted_once(ledger, sandbox, send_id, payload)
    assert audited(ledger) == [(PEOPLE, "pause_send", send_id), (PEOPLE, "resume_send", send_id)]


def test_a_send_paused_before_it_began_waits_for_its_time_again(ledger: Ledger) -> None:
    ledger.open_send("spring-1", is_started=False)
    with ledger.connection() as connection:
        assert operations.pause_send(connection, "spring-1", actor=PEOPLE, reason="")
        assert not sends.start_send(connection, "spring-1")
        assert operations.resume_send(connection, "spring-1", actor=PEOPLE)
    assert ledger.one("select status from send") == "scheduled"


def test_a_send_cancelled_in_the_middle_is_accounted_for_to_the_last_message(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 200)
    sandbox.break_things(SLOW)
    cancelled: list[int | None] = []

    def cancel(connection: psycopg.Connection) -> None:
        cancelled.append(dispatch.cancel(connection, send_id, actor=PEOPLE, reason="wrong list"))

    report = run(ledger, sandbox, send_id, once(ledger, cancel))
    assert cancelled[0]
    counts = counted(ledger, send_id)
    assert counts == {"accepted": report.counts["accepted"], "cancelled": 200 - report.counts["accepted"]}
    assert len(sandbox.accepted(payload["message_id"])) == counts["accepted"]
    assert ledger.statuses(send_id).keys() == {"settled", "cancelled"}
    assert ledger.one("select count(*) from batch where payload is not null") == 0
    assert audited(ledger) == [(PEOPLE, "cancel_send", send_id)]
    sandbox.mend()
    assert run(ledger, sandbox, send_id).counts == {}


def test_what_comes_back_of_a_cancelled_send_is_cancelled(ledger: Ledger) -> None:
    payload = enqueue(ledger, "spring-1", 4, batch_size=2)
    with ledger.connection() as connection:
        sending, held = claim(connection)
        batches.mark_sending(connection, [sending], lease_seconds=60)
        assert dispatch.cancel(connection, "spring-1", actor=PEOPLE, reason="") == 0
        left = unpack(sending.payload)
        again = Child(payload=pack(left), message_count=2, delay_seconds=60, attempt=1)
        results = left.select(
            "message_id",
            pl.lit("deferred").alias("status"),
            *(pl.lit(None, pl.String).alias(name) for name in ("reason", "code", "provider_message_id")),
        )
        assert batches.record(connection, sending, results=pack(results), error=None, children=[again])
        batches.release_claims(connection, [held])
        expire(connection)
    assert ledger.statuses("spring-1") == {"settled": 1, "cancelled": 2}
    told = ledger.outcomes("spring-1")
    assert set(told["message_id"]) == set(payload["message_id"])
    assert set(told["status"]) == {"cancelled"}


def test_nothing_is_left_to_cancel_of_a_dead_letter_whose_data_is_gone(ledger: Ledger) -> None:
    enqueue(ledger, "spring-1", 4, batch_size=2)
    ledger.do("update batch set status = 'dead'")
    ledger.do("update batch set payload = null where batch_id = (select min(batch_id) from batch)")
    with ledger.connection() as connection:
        assert dispatch.cancel(connection, "spring-1", actor=PEOPLE, reason="") == 2
    assert ledger.statuses("spring-1") == {"dead": 1, "cancelled": 1}


@pytest.mark.parametrize(
    "scope", ["all", "channel:email", f"lane:{EMAIL_LANE}", f"organisation:{ORGANISATION.organisation_id}"]
)
def test_a_kill_switch_takes_effect_in_the_middle_of_a_lane(
    ledger: Ledger, sandbox: SandboxProcess, scope: str
) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 200)
    sandbox.break_things(SLOW)

    def stop(connection: psycopg.Connection) -> bool:
        return operations.put_stop(connection, scope, actor=PEOPLE, reason="leak")

    report = run(ledger, sandbox, send_id, once(ledger, stop))
    sandbox.mend()
    statuses = ledger.statuses(send_id)
    assert set(statuses) == {"planned", "settled"}
    assert report.counts == {"accepted": 5 * statuses["settled"]}
    assert run(ledger, sandbox, send_id).counts == {}
    with ledger.connection() as connection:
        assert [(each.scope, each.reason) for each in operations.stops(connection)] == [(scope, "leak")]
        assert not operations.put_stop(connection, scope, actor=PEOPLE, reason="again")
        assert operations.lift_stop(connection, scope, actor=PEOPLE)
        assert not operations.lift_stop(connection, scope, actor=PEOPLE)
    run(ledger, sandbox, send_id)
    assert_all_accepted_once(ledger, sandbox, send_id, payload)
    assert audited(ledger) == [(PEOPLE, "stop", scope), (PEOPLE, "start", scope)]


def test_kill_switches_of_others_stop_nobody(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = enqueue(ledger, send_id, 10)
    with ledger.connection() as connection:
        for scope in ("channel:sms", f"lane:{SMS_LANE}", "lane:email", "organisation:another"):
            operations.put_stop(connection, scope, actor=PEOPLE, reason="")
    run(ledger, sandbox, send_id)
    assert_all_accepted_once(ledger, sandbox, send_id, payload)


def test_what_was_claimed_before_a_kill_switch_is_not_marked(ledger: Ledger) -> None:
    enqueue(ledger, "spring-1", 5)
    with ledger.connection() as connection:
        claimed = claim(connection)
        operations.put_stop(connection, "all", actor=PEOPLE, reason="")
        assert batches.mark_sending(connection, claimed, lease_seconds=60) == set()


def many_batches(ledger: Ledger, send_id: str, count: int, organisation_id: str, priority: int = 2) -> None:
    """`count` batches of one message each, all alike."""
    with ledger.connection() as connection:
        sends.put_organisation(
            connection, Organisation(organisation_id=organisation_id, name="", postal_address="")
        )
    enqueue(ledger, send_id, 1)
    ledger.do(
        "update batch set organisation_id = %s, priority = %s where send_id = %s",
        *(organisation_id, priority, send_id),
    )
    ledger.do(
        "insert into batch (send_id, organisation_id, generation, lane, channel, content_id, message_count,"
        " priority, payload, due_at) select send_id, organisation_id, generation, lane, channel, content_id,"
        " message_count, priority, payload, due_at from batch, generate_series(2, %s) where send_id = %s",
        *(count, send_id),
    )


def claimed_organisations(ledger: Ledger, limit: int) -> list[str]:
    with ledger.connection() as connection:
        return sorted(each.organisation_id for each in claim(connection, limit))


def test_one_large_send_starves_nobody(ledger: Ledger) -> None:
    many_batches(ledger, "large", 1000, "aardvark")
    many_batches(ledger, "small", 1, "zebra")
    assert claimed_organisations(ledger, 8) == ["aardvark"] * 7 + ["zebra"]
    assert claimed_organisations(ledger, 8) == ["aardvark"] * 8


def test_organisations_take_turns(ledger: Ledger) -> None:
    many_batches(ledger, "first", 20, "aardvark")
    many_batches(ledger, "second", 20, "zebra")
    assert claimed_organisations(ledger, 8) == ["aardvark"] * 4 + ["zebra"] * 4


def test_what_is_urgent_goes_before_any_turn(ledger: Ledger) -> None:
    many_batches(ledger, "bulk", 20, "aardvark")
    many_batches(ledger, "alarm", 20, "zebra", priority=0)
    assert claimed_organisations(ledger, 8) == ["zebra"] * 8


def died(ledger: Ledger, sandbox: SandboxProcess, send_id: str) -> pl.DataFrame:
    """A send of ten whose every allowed attempt met a fault."""
    payload = enqueue(ledger, send_id, 10, batch_size=10)
    sandbox.break_things({"provider": "sendgrid", "kind": "status", "code": 503})
    for _ in range(5):
        ledger.do("update batch set due_at = now() where status = 'planned'")
        run(ledger, sandbox, send_id)
    sandbox.mend()
    return payload


def test_after_five_attempts_messages_are_kept_as_dead_letters_and_sent_when_people_say_so(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = died(ledger, sandbox, send_id)
    assert counted(ledger, send_id) == {"refused": 10}
    assert close(ledger, sandbox, send_id).is_complete
    with ledger.connection() as connection:
        [letter] = operations.dead_letters(connection, send_id)
        assert (letter.message_count, letter.last_error) == (10, "SendGrid answered 503")
        assert operations.dead_letters(connection, "another") == []
        assert dispatch.retry_dead(connection, actor=PEOPLE, send_id="another") == 0
        assert dispatch.retry_dead(connection, actor=PEOPLE, batch_ids=[letter.batch_id]) == 10
    assert counted(ledger, send_id) == {"deferred": 10}
    assert ledger.one("select (status, attempt)::text from batch where payload is not null") == "(planned,0)"
    assert ledger.one("select status from send") == "sending"
    run(ledger, sandbox, send_id)
    assert close(ledger, sandbox, send_id).is_complete
    assert_all_accepted_once(ledger, sandbox, send_id, payload)
    assert audited(ledger) == [(PEOPLE, "retry_dead", f"{send_id}/{letter.batch_id}")]


def purge(ledger: Ledger, **changes: int) -> dict[str, int]:
    with ledger.connection() as connection, connection.transaction():
        return operations.purge(connection, **{"keep_days": 30, "keep_dead_days": 90} | changes)


def grow_old(ledger: Ledger, days: int) -> None:
    past = timedelta(days=days)
    ledger.do("update batch set created_at = created_at - %s, settled_at = settled_at - %s", past, past)
    ledger.do("update outcome set recorded_at = recorded_at - %s", past)


def test_dead_letters_nobody_retried_lose_their_personal_data(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    died(ledger, sandbox, send_id)
    grow_old(ledger, 89)
    assert purge(ledger)["dead_letters"] == 0
    grow_old(ledger, 2)
    assert purge(ledger)["dead_letters"] == 1
    assert ledger.one("select count(*) from batch where payload is not null") == 0
    with ledger.connection() as connection:
        assert operations.dead_letters(connection) == []
        assert dispatch.retry_dead(connection, actor=PEOPLE) == 0
    assert counted(ledger, send_id) == {"refused": 10}


def test_only_what_the_lake_holds_is_purged(ledger: Ledger, sandbox: SandboxProcess) -> None:
    done, waiting = new_send_id(), new_send_id()
    enqueue(ledger, done, 10)
    sandbox.break_things({"provider": "sendgrid", "kind": "status", "code": 500, "count": 1})
    run(ledger, sandbox, done)
    ledger.do("update batch set due_at = now() where status = 'planned'")
    run(ledger, sandbox, done)
    assert ledger.statuses(done) == {"settled": 3}
    enqueue(ledger, waiting, 5)
    grow_old(ledger, 31)
    assert purge(ledger) == {"dead_letters": 0, "batches": 0, "contents": 0}
    with ledger.connection() as connection, connection.transaction():
        last = connection.execute("select max(outcome_id) from outcome").fetchone()
        everything = Watermark(xact=2**62, last_id=last[0] if last else 0)
        assert feeds.purge(connection, Feed.OUTCOMES, everything, keep_days=30) == 3
    # The parent of a child goes after it.
    assert [purge(ledger)["batches"] for _ in range(3)] == [2, 1, 0]
    assert ledger.statuses(waiting) == {"planned": 1}
    assert ledger.one("select count(*) from content") == 1


def test_only_what_is_due_in_the_lane_goes_to_another(ledger: Ledger) -> None:
    enqueue(ledger, "spring-1", 10)
    enqueue(ledger, "spring-2", 10)
    ledger.do(
        "update batch set due_at = now() + interval '1 h' where batch_id ="
        " (select min(batch_id) from batch where send_id = 'spring-1')"
    )
    with ledger.connection() as connection:
        assert (
            operations.reroute(connection, from_lane=EMAIL_LANE, to_lane=SECOND_LANE, send_id="spring-1") == 1
        )
        assert operations.reroute(connection, from_lane=SMS_LANE, to_lane=SECOND_LANE) == 0
        assert batches.lanes_of_send(connection, "spring-1") == {EMAIL_LANE: 5, SECOND_LANE: 5}
        assert batches.lanes_of_send(connection, "spring-2") == {EMAIL_LANE: 10}

"""Sending through a real ledger to a real HTTP API: every message is accounted for, and accepted once."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import polars as pl
import pytest
from sending import (
    EMAIL_LANE,
    ORGANISATION,
    SMS_LANE,
    Ledger,
    SandboxProcess,
    content,
    new_send_id,
    recipients,
)

from comms_pipeline.dispatch.engine import Lane, LaneReport, Scope
from comms_pipeline.dispatch.leases import Leases
from comms_pipeline.dispatch.send import Settlement, run_lane, settle
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import suppressions
from comms_pipeline.ledger.suppressions import EVERY_ORGANISATION, Suppression
from comms_pipeline.providers.registry import Providers


def enqueue_emails(
    ledger: Ledger, send_id: str, count: int, batch_size: int = 1000, **columns: list[str]
) -> pl.DataFrame:
    payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(count)], send_id, **columns)
    ledger.enqueue(send_id, EMAIL_LANE, payload, batch_size=batch_size)
    return payload


def run(
    ledger: Ledger,
    sandbox: SandboxProcess,
    send_id: str,
    lane: str = EMAIL_LANE,
    *,
    providers: Providers | None = None,
    linger_seconds: float = 0.0,
    **options: object,
) -> LaneReport:
    return run_lane(
        ledger.connect,
        providers or sandbox.providers(),
        lane=lane,
        send_id=send_id,
        linger_seconds=linger_seconds,
        **options,  # type: ignore[arg-type]
    )


def close(ledger: Ledger, sandbox: SandboxProcess, send_id: str) -> Settlement:
    return settle(
        ledger.connect,
        sandbox.providers(),
        send_id=send_id,
        now=datetime.now(UTC),
        reconcile_after_seconds=0,
    )


def make_due(ledger: Ledger) -> None:
    ledger.do("update batch set due_at = now() where status = 'planned'")


def assert_each_accepted_once(
    ledger: Ledger, sandbox: SandboxProcess, send_id: str, *payloads: pl.DataFrame
) -> None:
    """The sandbox's record and the ledger's outcomes tell the same of all these messages."""
    ids = pl.concat([payload["message_id"] for payload in payloads])
    recorded = sandbox.accepted(ids)
    told = ledger.outcomes(send_id).filter(pl.col("message_id").is_in(ids.implode()))
    assert set(told["status"]) == {"accepted"}
    assert set(told["message_id"]) == set(ids)
    assert {accepted.times for accepted in recorded.values()} == {1}
    assert dict(told.select("message_id", "provider_message_id").iter_rows()) == {
        message_id: accepted.provider_id for message_id, accepted in recorded.items()
    }


def test_a_send_in_two_lanes_ends_with_every_message_accepted_once(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    emails = enqueue_emails(ledger, send_id, 1500, batch_size=100)
    texts = recipients(Channel.SMS, [f"t{number}" for number in range(150)], send_id)
    ledger.enqueue(send_id, SMS_LANE, texts, batch_size=50)
    seen: list[int] = []
    report = run(ledger, sandbox, send_id, on_progress=lambda report: seen.append(report.batches))
    assert (report.counts, report.batches, report.last_error) == ({"accepted": 1500}, 15, None)
    assert seen[-1] == 15
    assert run(ledger, sandbox, send_id, SMS_LANE).counts == {"accepted": 150}
    assert close(ledger, sandbox, send_id).is_complete
    assert_each_accepted_once(ledger, sandbox, send_id, emails, texts)
    assert ledger.one("select count(*) from batch where payload is not null") == 0


def test_running_again_sends_nothing(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = enqueue_emails(ledger, send_id, 20)
    assert run(ledger, sandbox, send_id).counts == {"accepted": 20}
    assert run(ledger, sandbox, send_id).counts == {}
    assert_each_accepted_once(ledger, sandbox, send_id, payload)


def test_whoever_opts_out_after_the_plan_was_made_is_not_sent_to(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = enqueue_emails(ledger, send_id, 6)
    keys = payload["address_key"].to_list()
    with ledger.connection() as connection:
        suppressions.suppress(
            connection,
            [
                Suppression(
                    organisation_id=organisation_id,
                    channel=channel,
                    address_key=keys[number],
                    reason=SuppressionReason.UNSUBSCRIBED,
                    source="one-click",
                )
                for number, organisation_id, channel in [
                    (0, ORGANISATION.organisation_id, Channel.EMAIL),
                    (1, EVERY_ORGANISATION, Channel.EMAIL),
                    (2, "another", Channel.EMAIL),
                    (3, ORGANISATION.organisation_id, Channel.SMS),
                ]
            ],
        )
    assert run(ledger, sandbox, send_id).counts == {"accepted": 4, "refused": 2}
    told = ledger.outcomes(send_id).filter(status="refused").select("message_id", "reason").sort("message_id")
    dropped = payload["message_id"].head(2)
    assert told.rows() == [(message_id, "suppressed") for message_id in dropped.sort()]
    assert sandbox.accepted(dropped) == {}
    assert_each_accepted_once(ledger, sandbox, send_id, payload.tail(4))


def test_a_batch_of_nobody_but_suppressed_is_settled_without_a_request(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    [key] = enqueue_emails(ledger, send_id, 1)["address_key"]
    suppression = Suppression(
        organisation_id=ORGANISATION.organisation_id,
        channel=Channel.EMAIL,
        address_key=key,
        reason=SuppressionReason.COMPLAINED,
        source="sendgrid",
    )
    with ledger.connection() as connection:
        suppressions.suppress(connection, [suppression])
    sandbox.break_things({"provider": "sendgrid", "kind": "status", "code": 500})
    assert run(ledger, sandbox, send_id).counts == {"refused": 1}
    assert close(ledger, sandbox, send_id).is_complete


def test_a_paused_send_claims_nothing_and_nobody_waits_for_it(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = enqueue_emails(ledger, send_id, 5)
    ledger.do("update send set status = 'paused'")
    assert run(ledger, sandbox, send_id, linger_seconds=30.0).counts == {}
    assert ledger.statuses(send_id) == {"planned": 1}
    assert sandbox.accepted(payload["message_id"]) == {}


def test_a_pause_takes_effect_in_the_middle_of_a_send(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = enqueue_emails(ledger, send_id, 400, batch_size=10)

    # Slow enough for the pause to come before the end.
    sandbox.break_things({"provider": "sendgrid", "kind": "slow", "seconds": 0.2})

    def pause(_: LaneReport) -> None:
        ledger.do("update send set status = 'paused'")

    report = run(ledger, sandbox, send_id, on_progress=pause)
    statuses = ledger.statuses(send_id)
    assert set(statuses) == {"planned", "settled"}
    assert report.counts == {"accepted": 10 * statuses["settled"]}
    assert len(sandbox.accepted(payload["message_id"])) == 10 * statuses["settled"]
    ledger.do("update send set status = 'sending'")
    sandbox.mend()
    run(ledger, sandbox, send_id)
    assert_each_accepted_once(ledger, sandbox, send_id, payload)


def test_two_workers_on_one_lane_send_nothing_twice(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = enqueue_emails(ledger, send_id, 300, batch_size=5)
    with ThreadPoolExecutor(2) as workers:
        futures = [workers.submit(run, ledger, sandbox, send_id) for _ in range(2)]
        counts = [future.result().counts.get("accepted", 0) for future in futures]
    run(ledger, sandbox, send_id)
    assert sum(counts) <= 300
    assert_each_accepted_once(ledger, sandbox, send_id, payload)


def test_a_worker_without_a_send_takes_every_send_of_its_lane(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    first, second = new_send_id(), new_send_id()
    payloads = {send_id: enqueue_emails(ledger, send_id, 30, batch_size=3) for send_id in (first, second)}
    lane = Lane(
        lane=EMAIL_LANE, provider=sandbox.providers().for_lane(EMAIL_LANE), connect=ledger.connect, worker="w"
    )
    assert asyncio.run(lane.run()).counts == {"accepted": 60}
    for send_id, payload in payloads.items():
        assert_each_accepted_once(ledger, sandbox, send_id, payload)


def test_a_stopped_lane_records_what_is_in_flight_and_claims_nothing_more(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = enqueue_emails(ledger, send_id, 200, batch_size=5)
    sandbox.break_things({"provider": "sendgrid", "kind": "slow", "seconds": 0.2})
    lane = Lane(
        lane=EMAIL_LANE,
        provider=sandbox.providers().for_lane(EMAIL_LANE),
        connect=ledger.connect,
        worker="w",
        scope=Scope(send_id=send_id),
        on_progress=lambda _: lane.stop(),
    )
    report = asyncio.run(lane.run())
    statuses = ledger.statuses(send_id)
    assert set(statuses) == {"planned", "settled"}
    assert report.counts == {"accepted": 5 * statuses["settled"]}
    assert len(sandbox.accepted(payload["message_id"])) == 5 * statuses["settled"]


def test_one_bad_address_costs_nobody_else_their_message(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    addresses = [f"quiet{number}@x.example" for number in range(50)]
    addresses[7], addresses[31] = "nobody at all", "also@nobody"
    payload = enqueue_emails(ledger, send_id, 50, address=addresses)
    report = run(ledger, sandbox, send_id)
    assert report.counts == {"deferred": 48, "refused": 2, "accepted": 48}
    is_bad = pl.col("address").is_in([addresses[7], addresses[31]])
    refused = ledger.outcomes(send_id).filter(status="refused")
    assert set(refused["message_id"]) == set(payload.filter(is_bad)["message_id"])
    assert set(refused["reason"]) == {"invalid"}
    assert_each_accepted_once(ledger, sandbox, send_id, payload.filter(~is_bad))


def test_a_worker_without_a_send_takes_up_what_comes_back_at_once(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    addresses = ["nobody at all", *(f"quiet{number}@x.example" for number in range(9))]
    enqueue_emails(ledger, send_id, 10, address=addresses)
    lane = Lane(
        lane=EMAIL_LANE, provider=sandbox.providers().for_lane(EMAIL_LANE), connect=ledger.connect, worker="w"
    )
    assert asyncio.run(lane.run()).counts == {"deferred": 9, "refused": 1, "accepted": 9}


def test_passing_faults_are_tried_again_ever_later_and_at_last_given_up(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = enqueue_emails(ledger, send_id, 3)
    sandbox.break_things({"provider": "sendgrid", "kind": "status", "code": 503})
    for attempt, delay in enumerate((60, 300, 900, 3600), start=1):
        assert run(ledger, sandbox, send_id).counts == {"deferred": 3}
        waited = ledger.one(
            "select extract(epoch from due_at - created_at)::float8 from batch"
            " where status = 'planned' and attempt = %s and message_count = 3",
            attempt,
        )
        assert delay <= waited <= delay * 1.1
        assert run(ledger, sandbox, send_id).counts == {}
        make_due(ledger)
    assert run(ledger, sandbox, send_id).counts == {"refused": 3}
    assert set(ledger.outcomes(send_id)["reason"]) == {"exhausted"}
    assert sandbox.accepted(payload["message_id"]) == {}
    assert close(ledger, sandbox, send_id).is_complete


def test_a_fault_that_passes_costs_nothing_but_time(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = enqueue_emails(ledger, send_id, 3)
    sandbox.break_things({"provider": "sendgrid", "kind": "status", "code": 500, "count": 1})
    run(ledger, sandbox, send_id)
    make_due(ledger)
    assert run(ledger, sandbox, send_id).counts == {"accepted": 3}
    assert_each_accepted_once(ledger, sandbox, send_id, payload)


def test_a_run_waits_for_what_is_due_again_soon(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = enqueue_emails(ledger, send_id, 3)
    sandbox.break_things(
        {"provider": "sendgrid", "kind": "status", "code": 429, "retry_after": 1, "count": 1}
    )
    report = run(ledger, sandbox, send_id, linger_seconds=30.0)
    assert report.counts == {"deferred": 3, "accepted": 3}
    assert ledger.one("select max(attempt) from batch") == 0
    assert_each_accepted_once(ledger, sandbox, send_id, payload)


def test_a_refused_key_stops_the_lane_and_everything_waits_for_people(
    ledger: Ledger, sandbox: SandboxProcess
) -> None:
    send_id = new_send_id()
    payload = enqueue_emails(ledger, send_id, 200, batch_size=5)
    wrong = Providers(sandbox.settings(sendgrid_api_key="SG.wrong"))
    with pytest.raises(ProviderMisconfigured, match="SendGrid: it refused the API key"):
        run(ledger, sandbox, send_id, providers=wrong, linger_seconds=30.0)
    # One claim's worth of batches at most was under way, and one more claimed, when the answer came.
    assert ledger.one("select count(*) from batch where status = 'planned' and due_at <= now()") >= 40 - 16
    assert ledger.statuses(send_id).keys() == {"planned", "settled"}
    delays = "select {}(extract(epoch from due_at - created_at))::float8 from batch where parent_batch_id > 0"
    assert ledger.one(delays.format("min")) >= 900
    assert ledger.one("select max(attempt) from batch") == 0
    assert sandbox.accepted(payload["message_id"]) == {}
    make_due(ledger)
    run(ledger, sandbox, send_id)
    assert_each_accepted_once(ledger, sandbox, send_id, payload)


def test_nothing_is_sent_after_the_lease_ended(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    texts = recipients(Channel.SMS, [f"t{number}" for number in range(40)], send_id)
    ledger.enqueue(send_id, SMS_LANE, texts, batch_size=20)
    sandbox.break_things({"provider": "twilio", "kind": "timeout_before", "seconds": 0.8})
    report = run(ledger, sandbox, send_id, SMS_LANE, leases=Leases(sending_seconds=0.4))
    assert report.counts == {"unknown": 40}
    assert report.last_error == "the lease ran out while sending"
    sandbox.mend()
    settled = close(ledger, sandbox, send_id)
    assert (settled.reconciled.released, settled.is_complete) == (40, False)
    assert run(ledger, sandbox, send_id, SMS_LANE).counts == {"accepted": 40}
    assert_each_accepted_once(ledger, sandbox, send_id, texts)


def test_hostile_data_goes_through_the_whole_way_untouched(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    names = ["{{ s0 }}", "-s0-\r\n", "<b>&amp;</b>", "😀 \u200b"]
    payload = enqueue_emails(ledger, send_id, 4, s0=names)
    run(ledger, sandbox, send_id)
    shown = [sandbox.message(message_id) for message_id in payload["message_id"]]
    assert [each["text"] for each in shown if each] == [f"Hi {name}!" for name in names]
    assert [each["html"] for each in shown if each] == [f"<p>Hi {name}!</p>" for name in names]


def test_two_contents_of_one_send_keep_apart(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(8)], send_id)
    other = content(Channel.EMAIL, parts={"subject": ("Other",), "text": ("Bye ", 0)})
    ledger.enqueue(send_id, EMAIL_LANE, payload.head(4), batch_size=2)
    ledger.enqueue(send_id, EMAIL_LANE, payload.tail(4), batch_size=2, generation=2, shared=other)
    assert run(ledger, sandbox, send_id).counts == {"accepted": 8}
    first, last = (sandbox.message(payload["message_id"][position]) for position in (0, 7))
    assert first
    assert last
    assert (first["subject"], last["subject"]) == (f"For p0 of {send_id}", "Other")

"""A lane's warm-up as a quota in the ledger: it follows the plan by Postgres' clock."""

from datetime import date, timedelta

from sending import EMAIL_LANE, ORGANISATION, Ledger, SandboxProcess, new_send_id, recipients

from comms_pipeline.dispatch import warm_up
from comms_pipeline.dispatch.send import run_lane
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import limits

LANE_OF_OURS = "email:smtp"


def today(ledger: Ledger) -> date:
    with ledger.connection() as connection:
        return limits.today(connection)


def refresh(ledger: Ledger, plan: dict[str, date]) -> None:
    with ledger.connection() as connection:
        warm_up.refresh(connection, plan)


def quotas(ledger: Ledger) -> dict[tuple[str, str], int]:
    with ledger.connection() as connection:
        return {(quota.scope, quota.period): quota.allowed for quota in limits.quotas(connection)}


def test_the_quota_of_a_lane_that_warms_up_grows_from_day_to_day_and_goes(ledger: Ledger) -> None:
    first = today(ledger)
    for days, expected in ((-1, 0), (0, 50), (1, 100), (14, 1_000_000)):
        refresh(ledger, {EMAIL_LANE: first - timedelta(days=days)})
        assert quotas(ledger) == {("warm-up:email:sendgrid", "day"): expected}
    refresh(ledger, {EMAIL_LANE: first - timedelta(days=15)})
    assert quotas(ledger) == {}


def test_without_its_setting_a_warm_up_is_over_and_other_quotas_stay(ledger: Ledger) -> None:
    organisation = f"organisation:{ORGANISATION.organisation_id}"
    with ledger.connection() as connection:
        limits.put_quota(connection, organisation, "day", 7)
    first = today(ledger)
    refresh(ledger, {EMAIL_LANE: first, LANE_OF_OURS: first - timedelta(days=2)})
    assert quotas(ledger) == {
        (organisation, "day"): 7,
        ("warm-up:email:sendgrid", "day"): 50,
        ("warm-up:email:smtp", "day"): 500,
    }
    refresh(ledger, {LANE_OF_OURS: first - timedelta(days=2)})
    assert quotas(ledger) == {(organisation, "day"): 7, ("warm-up:email:smtp", "day"): 500}
    refresh(ledger, {})
    assert quotas(ledger) == {(organisation, "day"): 7}


def test_a_batch_is_cut_to_what_a_day_allows(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(180)], send_id)
    ledger.enqueue(send_id, EMAIL_LANE, payload, batch_size=110)
    start = today(ledger)
    sent = []
    for day in range(3):
        report = run_lane(
            ledger.connect,
            sandbox.providers(),
            lane=EMAIL_LANE,
            send_id=send_id,
            linger_seconds=0.0,
            warming_up={EMAIL_LANE: start - timedelta(days=day)},
        )
        sent.append(report.counts.get("accepted", 0))
        ledger.do("update quota_use set starts_at = starts_at - interval '1 day'")
        ledger.do("update batch set due_at = now() where status = 'planned'")
    assert sent == [50, 100, 30]
    # Of 110 and 70: 50 + 60, then 60 + 40, then 30.
    assert ledger.statuses(send_id) == {"settled": 4}
    assert ledger.one("select sum(message_count)::int from batch") == 180
    recorded = sandbox.accepted(payload["message_id"])
    assert (len(recorded), {accepted.times for accepted in recorded.values()}) == (180, {1})


def test_a_run_of_a_lane_brings_the_quota_up_to_date_first(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    ledger.enqueue(send_id, EMAIL_LANE, recipients(Channel.EMAIL, ["ann"], send_id))

    def run(plan: dict[str, date] | None) -> None:
        run_lane(
            ledger.connect,
            sandbox.providers(),
            lane=EMAIL_LANE,
            send_id=send_id,
            linger_seconds=0.0,
            warming_up=plan,
        )

    run({EMAIL_LANE: today(ledger)})
    assert quotas(ledger) == {("warm-up:email:sendgrid", "day"): 50}
    # Who knows no plan changes none.
    run(None)
    assert quotas(ledger) == {("warm-up:email:sendgrid", "day"): 50}
    run({})
    assert quotas(ledger) == {}

"""What follows from a provider's report: every message ends in exactly one place."""

import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.dispatch.policy import judge
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.providers.base import RESULTS, SendReport

STOP = ProviderMisconfigured("SendGrid", "it refused the API key (401)", "Check it")
STATUSES = ["accepted", "refused", "unknown", "deferred"]


def payload_of(count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"message_id": [f"m{n}" for n in range(count)], "address": [f"a{n}" for n in range(count)]},
        schema={"message_id": pl.String, "address": pl.String},
    )


def report_of(statuses: list[str], **changes: object) -> SendReport:
    rows = {"message_id": [f"m{n}" for n in range(len(statuses))], "status": statuses}
    frame = pl.DataFrame(rows, schema={"message_id": pl.String, "status": pl.String})
    blank = [pl.lit(None, pl.String).alias(name) for name in RESULTS if name not in rows]
    return SendReport(results=frame.with_columns(blank), **changes)  # type: ignore[arg-type]


class Dice(random.Random):
    """Rolls what it is told."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self._value = value

    def random(self) -> float:
        return self._value


@given(
    statuses=st.lists(st.sampled_from(STATUSES), max_size=40),
    attempt=st.integers(0, 6),
    retry_after=st.none() | st.floats(0, 1e6),
    stop=st.none() | st.just(STOP),
    order=st.randoms(use_true_random=False),
)
def test_every_message_ends_in_exactly_one_place(
    statuses: list[str],
    attempt: int,
    retry_after: float | None,
    stop: ProviderMisconfigured | None,
    order: random.Random,
) -> None:
    payload = payload_of(len(statuses))
    report = report_of(statuses, retry_after_seconds=retry_after, stop=stop)
    shuffled = order.sample(range(len(statuses)), len(statuses))
    report = SendReport(results=report.results[shuffled], retry_after_seconds=retry_after, stop=stop)
    verdict = judge(payload, report, attempt=attempt, randomness=random.Random(1))
    final = verdict.results.filter(pl.col("status").is_in(["accepted", "refused"]))["message_id"].to_list()
    doubtful, again = verdict.in_doubt["message_id"].to_list(), verdict.again["message_id"].to_list()
    assert sorted(final + doubtful + again) == sorted(payload["message_id"])
    assert sorted(verdict.results["message_id"]) == sorted(payload["message_id"])
    assert verdict.results.schema == RESULTS
    assert verdict.in_doubt.columns == verdict.again.columns == payload.columns
    # Nothing but what was surely not sent ever goes again.
    assert {statuses[int(message_id[1:])] for message_id in again} <= {"deferred"}
    assert {statuses[int(message_id[1:])] for message_id in doubtful} <= {"unknown"}
    assert attempt <= verdict.attempt <= attempt + 1


@pytest.mark.parametrize(("attempt", "delay"), [(0, 60), (1, 300), (2, 900), (3, 3600)])
def test_each_attempt_waits_longer(attempt: int, delay: float) -> None:
    verdict = judge(payload_of(1), report_of(["deferred"]), attempt=attempt, randomness=Dice(0.0))
    assert (verdict.delay_seconds, verdict.attempt, verdict.again.height) == (delay, attempt + 1, 1)


def test_retries_are_spread_by_up_to_a_tenth() -> None:
    verdict = judge(payload_of(1), report_of(["deferred"]), attempt=0, randomness=Dice(0.5))
    assert verdict.delay_seconds == pytest.approx(63.0)


def test_a_fifth_passing_fault_is_the_last() -> None:
    statuses = ["deferred", "accepted", "unknown", "refused"]
    verdict = judge(payload_of(4), report_of(statuses), attempt=4, randomness=Dice(0.0))
    assert verdict.results.select("status", "reason").rows() == [
        ("refused", "exhausted"),
        ("accepted", None),
        ("unknown", None),
        ("refused", None),
    ]
    assert verdict.again.height == 0
    assert verdict.in_doubt.rows() == [("m2", "a2")]


@pytest.mark.parametrize("retry_after", [0.0, 7.0])
def test_a_wait_the_provider_asked_for_is_kept_and_is_no_attempt(retry_after: float) -> None:
    report = report_of(["deferred"], retry_after_seconds=retry_after)
    verdict = judge(payload_of(1), report, attempt=4, randomness=Dice(0.0))
    assert (verdict.delay_seconds, verdict.attempt, verdict.again.height) == (retry_after, 4, 1)


def test_a_refused_configuration_waits_for_people_and_is_no_attempt() -> None:
    report = report_of(["deferred"], stop=STOP, retry_after_seconds=1.0)
    verdict = judge(payload_of(1), report, attempt=4, randomness=Dice(0.0))
    assert (verdict.delay_seconds, verdict.attempt, verdict.again.height) == (900, 4, 1)

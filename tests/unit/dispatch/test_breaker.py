"""When a provider counts as down, and when it is tried again."""

import polars as pl
import pytest

from comms_pipeline.dispatch.breaker import Breaker, is_fault
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.providers.base import RESULTS, SendReport

STOP = ProviderMisconfigured("SendGrid", "it refused the API key (401)", "Check it")


def report(*statuses: str, error: str | None = "503", **changes: object) -> SendReport:
    rows = {"message_id": [f"m{n}" for n in range(len(statuses))], "status": list(statuses)}
    frame = pl.DataFrame(rows, schema={"message_id": pl.String, "status": pl.String})
    blank = [pl.lit(None, pl.String).alias(name) for name in RESULTS if name not in rows]
    return SendReport(results=frame.with_columns(blank), error=error, **changes)  # type: ignore[arg-type]


FAULT, GOOD = report("deferred", "deferred"), report("accepted", error=None)


def noted(breaker: Breaker, *reports: SendReport) -> Breaker:
    for each in reports:
        breaker.note(each)
    return breaker


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (report("deferred"), True),
        (report("unknown", "deferred"), True),
        (report("accepted", error=None), False),
        (report("accepted", "deferred"), False),
        (report("refused", "deferred"), False),
        (report("deferred", retry_after_seconds=30.0), False),
        (report("deferred", retry_after_seconds=0.0), False),
        (report("deferred", stop=STOP), False),
    ],
    ids=["no", "doubt", "yes", "some", "answered", "wait", "again", "key"],
)
def test_a_fault_is_when_nobody_was_answered_and_nothing_was_asked_for(
    told: SendReport, expected: bool
) -> None:
    assert is_fault(told) is expected


def test_five_faults_in_a_row_are_a_provider_that_is_down() -> None:
    assert not noted(Breaker(), *[FAULT] * 4).is_open
    assert noted(Breaker(), *[FAULT] * 5).is_open


def test_one_success_in_between_starts_the_count_again() -> None:
    breaker = noted(Breaker(), *[FAULT] * 4, GOOD, *[FAULT] * 4)
    assert not breaker.is_open
    assert breaker.rest_seconds == 0


def test_a_provider_that_is_down_is_left_alone_and_late_answers_do_not_prolong_it() -> None:
    breaker = noted(Breaker(faults=1, rest_seconds=60.0), FAULT)
    first = breaker.rest_seconds
    noted(breaker, FAULT, GOOD)
    assert breaker.is_open
    assert 0 < breaker.rest_seconds <= first <= 60


def test_after_its_rest_one_batch_decides() -> None:
    breaker = noted(Breaker(faults=1, rest_seconds=0.0), FAULT)
    assert (breaker.is_open, breaker.rest_seconds) == (True, 0.0)
    assert noted(breaker, FAULT).is_open
    assert not noted(breaker, GOOD).is_open

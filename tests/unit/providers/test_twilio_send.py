"""What Twilio's answers to one text message mean for it and for its lane."""

import orjson
import pytest

from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.providers import http
from comms_pipeline.providers.twilio_codes import MEANINGS
from comms_pipeline.providers.twilio_send import Result, result


def answered(status: int, code: int | None = None, **headers: str) -> Result:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return result(http.Answer(status=status, headers=named, body=orjson.dumps({"code": code})))


def test_an_accepted_message_has_its_sid() -> None:
    told = result(http.Answer(status=201, headers={}, body=b'{"sid": "SM1", "error_code": null}'))
    assert told == Result(status=OutcomeStatus.ACCEPTED, provider_message_id="SM1")


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, 21610, RejectReason.UNSUBSCRIBED),
        (400, 21211, RejectReason.INVALID),
        (400, 21614, RejectReason.INVALID),
        (400, 21617, RejectReason.CONTENT),
        (400, 21602, RejectReason.CONTENT),
        (400, 63016, RejectReason.WINDOW),
        (400, 21999, RejectReason.OTHER),
        (400, None, RejectReason.OTHER),
    ],
)
def test_what_is_wrong_with_a_message_refuses_it(status: int, code: int | None, reason: RejectReason) -> None:
    told = answered(status, code)
    assert (told.status, told.reason, told.code) == (OutcomeStatus.REFUSED, reason, str(code or status))
    assert not told.is_misconfigured


@pytest.mark.parametrize("code", [21408, 21608, 21612])
@pytest.mark.parametrize("status", [400, 403])
def test_a_number_our_account_cannot_reach_does_not_stop_the_lane(status: int, code: int) -> None:
    told = answered(status, code)
    assert (told.status, told.reason) == (OutcomeStatus.REFUSED, RejectReason.CONFIGURATION)
    assert not told.is_misconfigured


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, 20003),
        (401, None),
        (403, None),
        (404, 20404),
        (404, 21701),
        (400, 21606),
        (400, 21212),
        (405, None),
    ],
)
def test_what_every_message_would_meet_stops_the_lane(status: int, code: int | None) -> None:
    told = answered(status, code)
    assert (told.status, told.is_misconfigured) == (OutcomeStatus.DEFERRED, True)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, 20429),
        (429, None),
        (429, 21611),
        (400, 30022),
        (400, 30410),
        (503, None),
        (500, 20500),
        (408, None),
    ],
)
def test_a_passing_fault_defers(status: int, code: int | None) -> None:
    told = answered(status, code, Retry_After="12")
    assert (told.status, told.retry_after_seconds, told.is_misconfigured) == (
        OutcomeStatus.DEFERRED,
        12.0,
        False,
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"status": "queued"}'])
@pytest.mark.parametrize("status", [200, 201, 302, 502, 504])
def test_an_answer_that_is_neither_yes_nor_no_is_in_doubt(status: int, body: bytes) -> None:
    told = result(http.Answer(status=status, headers={}, body=body))
    assert told.status is OutcomeStatus.UNKNOWN


def test_every_code_has_an_action_and_a_reason() -> None:
    assert len(MEANINGS) == 51
    assert {meaning.reason for meaning in MEANINGS.values()} <= set(RejectReason)

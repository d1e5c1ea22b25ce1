"""When a send would be through, and which limit decides that."""

from datetime import UTC, datetime, timedelta

import pytest

from comms_pipeline.planning.forecast import (
    BY_TIME_OF_DAY,
    UNBOUND,
    Allowance,
    Forecast,
    Period,
    Wave,
    forecast,
)

START = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
EMAIL, SMS = "email:sendgrid", "sms:twilio"


def at(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 12, day, hour, minute, second, tzinfo=UTC)


def wave(messages: int, lane: str = SMS, due_at: datetime = START) -> Wave:
    return Wave(lane=lane, due_at=due_at, messages=messages)


def quota(allowed: int, period: Period, *, used: int = 0, lane: str | None = None) -> Allowance:
    return Allowance(name="organisation:acme", period=period, allowed=allowed, used=used, lane=lane)


RATE = "rate of sms:twilio: 5 messages a second"
HOURLY, DAILY = "organisation:acme: 100 messages per hour", "organisation:acme: 200 messages per day"

# name: (waves, messages a second, allowances, finish, what binds)
CASES = {
    "nobody": ([], {SMS: 5}, [], START, UNBOUND),
    "nothing holds it back": ([wave(1_000_000)], {}, [], START, UNBOUND),
    "a rate": ([wave(3_000)], {SMS: 5}, [], at(1, 9, 40), RATE),
    "the slowest lane": ([wave(600), wave(600, EMAIL)], {SMS: 5, EMAIL: 1_000}, [], at(1, 9, 32), RATE),
    "a later time": ([wave(10), wave(1, due_at=at(2, 13))], {}, [], at(2, 13), BY_TIME_OF_DAY),
    "a later time and a rate": (
        [wave(300, due_at=at(1, 9, 31))],
        {SMS: 0.5},
        [],
        at(1, 9, 41),
        "rate of sms:twilio: 0.5 messages a second",
    ),
    "the rest of an hour is enough": ([wave(60)], {}, [quota(100, Period.HOUR, used=40)], START, UNBOUND),
    # 60 go at once, 100 at 10:00, 40 at 11:00.
    "an hourly quota": ([wave(200)], {}, [quota(100, Period.HOUR, used=40)], at(1, 11), HOURLY),
    # The hour lets 100 go at once and 100 at 10:00; then the day is used up.
    "the day outlasts the hour": (
        [wave(250)],
        {},
        [quota(100, Period.HOUR), quota(200, Period.DAY)],
        at(2, 0),
        DAILY,
    ),
    "lanes share what is the organisation's": (
        [wave(100), wave(200, EMAIL)],
        {},
        [quota(200, Period.DAY)],
        at(2, 0),
        DAILY,
    ),
    "a lane's own quota leaves the others alone": (
        [wave(100), wave(1_000, EMAIL)],
        {},
        [quota(100, Period.HOUR, lane=SMS)],
        START,
        UNBOUND,
    ),
    # 10 left of today's 50, 100 tomorrow, 500 on the third day, of which 90 are needed.
    "a warm-up": (
        [wave(200, EMAIL)],
        {},
        [
            Allowance(
                name="warm-up:email:sendgrid",
                period=Period.DAY,
                allowed=50,
                used=40,
                lane=EMAIL,
                rising=(100, 500),
            )
        ],
        at(3, 0),
        "warm-up:email:sendgrid: 50 messages this day, then more",
    ),
    # 5 a second use up the hour's 100 in 20 s; the last 50 take 10 s at 10:00.
    "a quota and a rate": ([wave(150)], {SMS: 5}, [quota(100, Period.HOUR)], at(1, 10, 0, 10), HOURLY),
    "the wait before the latest wave does not count": (
        [wave(100), wave(600, due_at=at(1, 12))],
        {SMS: 5},
        [quota(100, Period.HOUR, lane=EMAIL)],
        at(1, 12, 2),
        BY_TIME_OF_DAY,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_finish_and_what_binds(name: str) -> None:
    waves, rates, allowances, finish_at, bound_by = CASES[name]
    found = forecast(waves, start=START, per_second=rates, allowances=allowances)
    assert found.bound_by == bound_by
    assert found.finish_at is not None
    assert abs(found.finish_at - finish_at) < timedelta(milliseconds=1)


@pytest.mark.parametrize("allowed", [0, 1])
def test_what_takes_longer_than_a_year_never_ends(allowed: int) -> None:
    never = forecast([wave(10_000_000)], start=START, per_second={}, allowances=[quota(allowed, Period.HOUR)])
    assert never == Forecast(finish_at=None, bound_by=f"organisation:acme: {allowed} messages per hour")


def test_a_warm_up_ends_without_limit() -> None:
    warm = Allowance(name="warm-up:sms:twilio", period=Period.DAY, allowed=50, lane=SMS, rising=(100,))
    ended = forecast([wave(1_000_000)], start=START, per_second={}, allowances=[warm])
    assert ended.finish_at == at(3, 0)


def test_what_was_due_long_ago_is_due_at_the_start() -> None:
    late = forecast([wave(10, due_at=at(1, 1))], start=START, per_second={SMS: 1})
    assert late == Forecast(
        finish_at=START + timedelta(seconds=10), bound_by="rate of sms:twilio: 1 messages a second"
    )

"""Hours by the clock: literal borders on days when clocks change, and one law against a minute-by-minute search."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.hours import ALWAYS, Day, Hours, first_open_column, intersect, without
from comms_pipeline.domain.zones import zone

EIGHT_TO_NINE_PM: Day = ((480, 1260),)
CLOSED: Day = ()


def daily(day: Day, *zones: str, off: tuple[date, ...] = ()) -> Hours:
    return Hours(zones=zones, week=(day,) * 7, dates_off=frozenset(off))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def opens(hours: Hours, at: str) -> str | None:
    moment = hours.first_open(utc(at))
    return None if moment is None else moment.isoformat().removesuffix("+00:00")


# zone, interval of every day, at (UTC), first open (UTC)
CLOCK_CHANGES: list[tuple[str, tuple[int, int], str, str]] = [
    # The clock goes from 02:00 to 03:00 at 07:00 UTC: 02:30 does not come.
    ("America/New_York", (480, 1260), "2026-03-08T02:00:00", "2026-03-08T12:00:00"),
    ("America/New_York", (480, 1260), "2026-03-07T02:00:00", "2026-03-07T13:00:00"),
    ("America/New_York", (150, 210), "2026-03-08T06:00:00", "2026-03-08T07:00:00"),
    ("America/New_York", (120, 180), "2026-03-08T06:00:00", "2026-03-09T06:00:00"),
    ("America/New_York", (480, 1260), "2027-03-14T02:00:00", "2027-03-14T12:00:00"),
    ("America/New_York", (120, 180), "2027-03-14T06:00:00", "2027-03-15T06:00:00"),
    # From 02:00 back to 01:00 at 06:00 UTC: 01:30 comes twice.
    ("America/New_York", (480, 1260), "2026-11-01T02:00:00", "2026-11-01T13:00:00"),
    ("America/New_York", (90, 100), "2026-11-01T05:00:00", "2026-11-01T05:30:00"),
    ("America/New_York", (90, 100), "2026-11-01T05:40:00", "2026-11-01T06:30:00"),
    ("America/New_York", (90, 100), "2026-11-01T06:40:00", "2026-11-02T06:30:00"),
    ("America/New_York", (480, 1260), "2027-11-07T02:00:00", "2027-11-07T13:00:00"),
    ("Europe/London", (480, 1260), "2026-03-29T00:00:00", "2026-03-29T07:00:00"),
    ("Europe/London", (480, 1260), "2026-03-28T00:00:00", "2026-03-28T08:00:00"),
    ("Europe/London", (60, 120), "2026-03-29T00:30:00", "2026-03-30T00:00:00"),
    ("Europe/London", (480, 1260), "2026-10-25T00:00:00", "2026-10-25T08:00:00"),
    ("Europe/London", (60, 90), "2026-10-25T00:45:00", "2026-10-25T01:00:00"),
    # Half an hour: from 02:00 to 02:30 at 15:30 UTC, from 02:00 to 01:30 at 15:00 UTC.
    ("Australia/Lord_Howe", (480, 1260), "2026-10-03T12:00:00", "2026-10-03T21:00:00"),
    ("Australia/Lord_Howe", (120, 150), "2026-10-03T15:00:00", "2026-10-04T15:00:00"),
    ("Australia/Lord_Howe", (480, 1260), "2026-04-04T12:00:00", "2026-04-04T21:30:00"),
    ("Australia/Lord_Howe", (90, 100), "2026-04-04T14:45:00", "2026-04-04T15:00:00"),
    # Clocks at half and quarter hours.
    ("Asia/Kolkata", (480, 1260), "2026-06-01T00:00:00", "2026-06-01T02:30:00"),
    ("Asia/Kathmandu", (480, 1260), "2026-06-01T00:00:00", "2026-06-01T02:15:00"),
    ("Pacific/Chatham", (480, 1260), "2026-06-01T12:00:00", "2026-06-01T19:15:00"),
    ("Pacific/Kiritimati", (480, 1260), "2026-06-01T12:00:00", "2026-06-01T18:00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "interval", "at", "expected"), CLOCK_CHANGES)
def test_first_open_is_right_where_clocks_change(
    name: str, interval: tuple[int, int], at: str, expected: str
) -> None:
    assert opens(daily((interval,), name), at) == expected


def test_a_skipped_day_is_never_open() -> None:
    # Samoa crossed the date line: after Thursday 29 came Saturday 31 December 2011.
    fridays = Hours(zones=("Pacific/Apia",), week=(*(CLOSED,) * 4, ((540, 600),), CLOSED, CLOSED))
    assert opens(fridays, "2011-12-29T22:00:00") == "2012-01-05T19:00:00"


def test_days_of_the_week_are_those_of_each_side_of_the_date_line() -> None:
    # 25 hours apart, the same clock: Sunday in Kiritimati is Saturday in Pago Pago.
    no_sundays = (EIGHT_TO_NINE_PM,) * 6 + (CLOSED,)
    hours = Hours(zones=("Pacific/Kiritimati", "Pacific/Pago_Pago"), week=no_sundays)
    assert opens(hours, "2026-06-06T12:00:00") == "2026-06-08T19:00:00"


def test_several_zones_wait_for_the_last_and_stop_with_the_first() -> None:
    hours = daily(EIGHT_TO_NINE_PM, "America/Los_Angeles", "America/New_York")
    assert opens(hours, "2026-06-01T12:00:00") == "2026-06-01T15:00:00"
    assert hours.is_open(utc("2026-06-02T00:59:59"))
    assert not hours.is_open(utc("2026-06-02T01:00:00"))
    assert opens(hours, "2026-06-02T01:00:00") == "2026-06-02T15:00:00"


def test_zones_that_are_never_open_together_open_never() -> None:
    assert opens(daily(((540, 600),), "Asia/Tokyo", "Europe/London"), "2026-06-01T00:00:00") is None


def test_an_open_instant_is_its_own_first_and_a_closed_one_waits_for_a_full_minute() -> None:
    hours = daily(((600, 601),), "UTC")
    assert opens(hours, "2026-06-01T10:00:30.250000") == "2026-06-01T10:00:30.250000"
    assert opens(hours, "2026-06-01T09:59:59.999999") == "2026-06-01T10:00:00"
    assert opens(hours, "2026-06-01T10:01:00") == "2026-06-02T10:00:00"


def test_closed_sundays_wait_for_monday() -> None:
    hours = Hours(zones=("America/Chicago",), week=(EIGHT_TO_NINE_PM,) * 6 + (CLOSED,))
    assert opens(hours, "2026-11-22T05:59:00") == "2026-11-23T14:00:00"
    assert opens(hours, "2026-11-22T02:59:00") == "2026-11-22T02:59:00"


def test_dates_off_are_whole_local_days_of_every_zone() -> None:
    hours = daily(ALWAYS, "America/New_York", "Asia/Tokyo", off=(date(2026, 12, 25),))
    assert opens(hours, "2026-12-24T14:59:00") == "2026-12-24T14:59:00"
    assert opens(hours, "2026-12-24T15:00:00") == "2026-12-26T05:00:00"


def test_nothing_within_fourteen_days_is_never() -> None:
    assert opens(daily(CLOSED, "UTC"), "2026-06-01T00:00:00") is None
    one_monday = Hours(
        zones=("UTC",), week=(((540, 600),), *(CLOSED,) * 6), dates_off=frozenset({date(2026, 6, 8)})
    )
    assert opens(one_monday, "2026-06-01T10:00:00") == "2026-06-15T09:00:00"
    two_off = Hours(
        zones=one_monday.zones, week=one_monday.week, dates_off=one_monday.dates_off | {date(2026, 6, 15)}
    )
    assert opens(two_off, "2026-06-01T10:00:00") is None


def test_quiet_hours_may_cross_midnight() -> None:
    assert without(1320, 480) == ((480, 1320),)
    assert without(780, 840) == ((0, 780), (840, 1440))
    assert without(0, 480) == ((480, 1440),)
    assert without(1320, 0) == ((0, 1320),)
    assert without(1320, 1440) == ((0, 1320),)
    night = daily(without(1320, 480), "Europe/Paris")
    assert opens(night, "2026-06-01T19:59:00") == "2026-06-01T19:59:00"
    assert opens(night, "2026-06-01T20:00:00") == "2026-06-02T06:00:00"
    assert opens(night, "2026-06-01T23:00:00") == "2026-06-02T06:00:00"


@pytest.mark.parametrize(("start", "end"), [(600, 600), (0, 0), (-1, 60), (0, 1441), (1500, 60)])
def test_impossible_quiet_hours_are_refused(start: int, end: int) -> None:
    with pytest.raises(CommsError, match="no window of a day"):
        without(start, end)


def test_intersection_holds_what_is_in_both() -> None:
    assert intersect(ALWAYS, EIGHT_TO_NINE_PM) == EIGHT_TO_NINE_PM
    assert intersect(((0, 600), (700, 900)), ((500, 800),)) == ((500, 600), (700, 800))
    assert intersect(((0, 600),), ((600, 1440),)) == ()
    assert intersect(ALWAYS, ()) == ()


TEXTS = [
    "Mon-Sun 00:00-24:00 in UTC",
    "Mon-Sat 09:00-21:00, Sun 12:00-21:00 in America/Chicago & America/Denver",
    "Mon-Fri 08:00-12:00 14:00-20:00, Sat 10:00-11:30, Sun closed in Europe/Rome",
    "Mon closed, Tue-Sun 08:00-20:00 in Asia/Kathmandu except 2026-12-25 2027-01-01",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_canonical_and_read_back(text: str) -> None:
    assert str(Hours.parse(text)) == text


def test_text_of_hours_is_readable() -> None:
    week = (*((EIGHT_TO_NINE_PM),) * 5, ((600, 690), (720, 1440)), CLOSED)
    hours = Hours(zones=("America/New_York",), week=week, dates_off=frozenset({date(2026, 12, 25)}))
    text = (
        "Mon-Fri 08:00-21:00, Sat 10:00-11:30 12:00-24:00, Sun closed in America/New_York except 2026-12-25"
    )
    assert str(hours) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no text of hours"),
        ("always", "is no text of hours"),
        ("Mon-Sun 08:00-20:00", "is no text of hours"),
        ("Mon-Sun 8:00-20:00 in UTC", "is no text of hours"),
        ("Mon-Sun 08:00-20:00, in UTC", "is no text of hours"),
        ("Mon-Fri 08:00-20:00 in UTC", "a week of 5 days"),
        ("Tue-Sun 08:00-20:00, Mon closed in UTC", "is no text of hours"),
        ("Sun-Mon 08:00-20:00 in UTC", "a week of 0 days"),
        ("Mon-Sat 08:00-20:00, Sun 08:00-20:00 in UTC", "is no text of hours"),
        ("Mon-Sun 20:00-08:00 in UTC", "Mon is open from minute 1200 until 480"),
        ("Mon-Sun 08:00-24:01 in UTC", "Mon is open from minute 480 until 1441"),
        ("Mon-Sun 08:60-09:30 in UTC", "is no text of hours"),
        ("Mon-Sun 08:00-20:00 in Mars/Olympus", "'Mars/Olympus' is not known"),
        ("Mon-Sun 08:00-20:00 in ../../etc/passwd", "is not known"),
        ("Mon-Sun 08:00-20:00 in UTC & America/New_York", "in order"),
        ("Mon-Sun 08:00-20:00 in UTC except 2026-13-01", "is no text of hours"),
        ("Mon-Sun 08:00-20:00 in UTC except 20261225", "is no text of hours"),
    ],
)
def test_foreign_text_is_refused_with_its_fault(text: str, problem: str) -> None:
    with pytest.raises(CommsError, match=problem):
        Hours.parse(text)


@pytest.mark.parametrize(
    ("zones", "day", "problem"),
    [
        ((), ALWAYS, "time zones"),
        (("UTC", "UTC"), ALWAYS, "time zones"),
        (("Etc/Unknown",), ALWAYS, "'Etc/Unknown' is not known"),
        (("Factory",), ALWAYS, "'Factory' is not known"),
        (("UTC",), ((600, 600),), "Mon is open from minute 600 until 600"),
        (("UTC",), ((-5, 600),), "Mon is open"),
        (("UTC",), ((0, 600), (500, 700)), "Mon is open"),
        (("UTC",), ((700, 800), (500, 600)), "Mon is open"),
    ],
)
def test_impossible_hours_are_refused(zones: tuple[str, ...], day: Day, problem: str) -> None:
    with pytest.raises(CommsError, match=problem):
        daily(day, *zones)


def test_an_instant_without_zone_is_refused() -> None:
    hours = daily(ALWAYS, "UTC")
    with pytest.raises(CommsError, match="no time zone"):
        hours.is_open(datetime(2026, 6, 1))  # noqa: DTZ001
    with pytest.raises(CommsError, match="no time zone"):
        hours.first_open(datetime(2026, 6, 1))  # noqa: DTZ001


def test_clocks_are_those_of_the_tzdata_package() -> None:
    # British Columbia stays on summer time from 2026 on; operating systems learn that years later.
    assert opens(daily(EIGHT_TO_NINE_PM, "America/Vancouver"), "2027-01-15T08:00:00") == "2027-01-15T15:00:00"


def test_column_opens_row_by_row() -> None:
    text = "Mon-Sun 08:00-21:00 in America/New_York"
    never = "Mon-Sun closed in UTC"
    night, day = utc("2026-06-01T05:00:00"), utc("2026-06-01T15:00:00")
    hours = pl.Series([text, text, None, never, text, text], dtype=pl.String)
    at = pl.Series([night, day, night, day, None, night], dtype=pl.Datetime("us", "UTC"))
    morning = utc("2026-06-01T12:00:00")
    result = first_open_column(hours, at)
    assert result.dtype == pl.Datetime("us", "UTC")
    assert result.to_list() == [morning, day, night, None, None, morning]


def test_column_of_nothing_is_empty() -> None:
    at = pl.Series([], dtype=pl.Datetime("us", "UTC"))
    assert first_open_column(pl.Series([], dtype=pl.String), at).to_list() == []


ZONES = (
    "America/New_York",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Europe/London",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Africa/Casablanca",
)


@st.composite
def days(draw: st.DrawFn) -> Day:
    borders = sorted(draw(st.sets(st.integers(0, 1440), min_size=0, max_size=4)))
    return tuple(zip(borders[::2], borders[1::2], strict=False))


@st.composite
def any_hours(draw: st.DrawFn) -> Hours:
    return Hours(
        zones=tuple(sorted(draw(st.sets(st.sampled_from(ZONES), min_size=1, max_size=3)))),
        week=tuple(draw(days()) for _ in range(7)),
        dates_off=frozenset(draw(st.sets(st.dates(date(2026, 10, 20), date(2026, 11, 8)), max_size=3))),
    )


INSTANTS = st.one_of(
    st.datetimes(datetime(2026, 10, 20), datetime(2026, 11, 5)),  # noqa: DTZ001
    st.datetimes(datetime(2026, 3, 25), datetime(2026, 4, 6)),  # noqa: DTZ001
    st.datetimes(datetime(2027, 3, 10), datetime(2027, 3, 16)),  # noqa: DTZ001
).map(lambda moment: moment.replace(tzinfo=UTC))


def is_open_by_definition(hours: Hours, at: datetime) -> bool:
    locals_ = [at.astimezone(zone(name)) for name in hours.zones]
    return all(
        local.date() not in hours.dates_off
        and any(start <= local.hour * 60 + local.minute < end for start, end in hours.week[local.weekday()])
        for local in locals_
    )


def first_open_minute_by_minute(hours: Hours, at: datetime) -> datetime | None:
    if is_open_by_definition(hours, at):
        return at
    minute = at.replace(second=0, microsecond=0)
    while (minute := minute + timedelta(minutes=1)) <= at + timedelta(days=14):
        if is_open_by_definition(hours, minute):
            return minute
    return None


@settings(max_examples=60, deadline=None)
@given(hours=any_hours(), at=INSTANTS)
def test_first_open_is_what_a_search_minute_by_minute_finds(hours: Hours, at: datetime) -> None:
    assert hours.first_open(at) == first_open_minute_by_minute(hours, at)
    assert hours.is_open(at) == is_open_by_definition(hours, at)


@given(hours=any_hours())
def test_every_text_is_read_back(hours: Hours) -> None:
    assert Hours.parse(str(hours)) == hours


@given(a=days(), b=days(), minute=st.integers(0, 1439))
def test_a_minute_is_in_an_intersection_when_it_is_in_both(a: Day, b: Day, minute: int) -> None:
    def has(day: Day) -> bool:
        return any(start <= minute < end for start, end in day)

    assert has(intersect(a, b)) == (has(a) and has(b))

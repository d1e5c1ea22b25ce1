"""When a message is due: at the contact's best local hour, within the window, whatever clocks do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comms_pipeline.personalization.send_times import due_times

NEW_YORK, LORD_HOWE = "America/New_York", "Australia/Lord_Howe"
NINE = datetime(2026, 12, 1, 9, tzinfo=UTC)
ZONES = [NEW_YORK, LORD_HOWE, "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"]


def at(text: str, zone: str = "UTC", *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


def due(
    zone: str | None,
    start: datetime,
    hours: float = 24,
    *,
    own: dict[int, float] | None = None,
    common: dict[int, float] | None = None,
    default_zone: str = "UTC",
) -> datetime:
    """When the message of one contact in `zone` is due, with these weights by local hour."""
    found = due_times(
        pl.DataFrame({"contact_id": ["a"], "time_zone": [zone]}, schema_overrides={"time_zone": pl.String}),
        weights("a", own or {}),
        weights("a", common or {}).drop("contact_id"),
        start=start,
        end=start + timedelta(hours=hours),
        default_zone=default_zone,
    )
    assert found.dtype == pl.Datetime("us", "UTC")
    return found.item()


def weights(contact_id: str, by_hour: dict[int, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [(contact_id, hour, weight) for hour, weight in by_hour.items()],
        schema={"contact_id": pl.String, "local_hour": pl.Int8, "weight": pl.Float64},
        orient="row",
    )


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", "2026-12-01T19:00"),
        (NEW_YORK, "2026-12-02T00:00"),
        ("Asia/Kathmandu", "2026-12-01T13:15"),
        ("Pacific/Kiritimati", "2026-12-02T05:00"),
        ("Pacific/Pago_Pago", "2026-12-02T06:00"),
    ],
)
def test_the_best_hour_is_by_the_contacts_own_clock(zone, expected):
    assert due(zone, NINE, own={19: 3.0}) == at(expected)


def test_a_best_hour_that_has_begun_is_now():
    start = NINE + timedelta(minutes=17, seconds=5, microseconds=7)

    assert due("UTC", start, own={9: 3.0}) == start


def test_a_window_shorter_than_the_wait_takes_the_best_hour_in_it():
    assert due("UTC", NINE, 4, own={19: 9.0, 12: 2.0, 10: 1.0}) == at("2026-12-01T12:00")


def test_a_window_that_reaches_to_the_best_hour_includes_it():
    assert due("UTC", NINE, 3, own={12: 1.0}) == at("2026-12-01T12:00")
    assert due("UTC", NINE, 2.99, own={12: 1.0}) == NINE


def test_a_window_of_nothing_is_its_start():
    start = NINE + timedelta(minutes=44)

    assert due(NEW_YORK, start, 0, own={19: 3.0}, common={20: 9.0}) == start


def test_without_any_history_a_message_is_due_at_once():
    assert due(NEW_YORK, NINE) == NINE


def test_who_has_no_history_gets_the_organisations_best_hour():
    assert due("UTC", NINE, common={8: 1.0, 18: 40.0, 20: 39.0}) == at("2026-12-01T18:00")


def test_a_few_messages_read_at_another_hour_outweigh_the_organisations_habits():
    common = {18: 30.0, 7: 10.0, 12: 36.0}

    assert due("UTC", NINE, own={21: 0.5}, common=common) == at("2026-12-01T12:00")
    assert due("UTC", NINE, own={21: 4.0}, common=common) == at("2026-12-01T21:00")
    # What the contact and the others have in common is best.
    assert due("UTC", NINE, own={21: 4.0, 18: 3.0}, common=common) == at("2026-12-01T18:00")


def test_of_equally_good_hours_the_earliest_is_taken():
    assert due("UTC", NINE, own={20: 2.0, 3: 2.0}) == at("2026-12-01T20:00")
    assert due("UTC", NINE, common={20: 2.0, 11: 2.0, 3: 2.0}) == at("2026-12-01T11:00")


@pytest.mark.parametrize("zone", [None, "Nowhere/At_All"])
def test_who_has_no_known_zone_lives_by_the_campaigns(zone):
    assert due(zone, NINE, own={12: 3.0}, default_zone=NEW_YORK) == at("2026-12-01T17:00")
    assert due(zone, NINE, common={12: 3.0}) == at("2026-12-01T12:00")


def test_an_hour_that_clocks_leave_out_is_not_chosen():
    # On 8 March 2026, 2:00 is 3:00 in New York.
    start = at("2026-03-07T12:00", NEW_YORK)

    assert due(NEW_YORK, start, own={2: 5.0, 6: 1.0}) == at("2026-03-08T06:00", NEW_YORK)
    assert due(NEW_YORK, start, own={3: 5.0}) == at("2026-03-08T07:00")
    # A day later it is there again.
    assert due(NEW_YORK, start, 48, own={2: 5.0}) == at("2026-03-09T02:00", NEW_YORK)


def test_an_hour_that_comes_twice_is_taken_the_first_time():
    # On 1 November 2026, 2:00 is 1:00 in New York.
    assert due(NEW_YORK, at("2026-10-31T12:00", NEW_YORK), own={1: 5.0}) == at("2026-11-01T05:00")
    # Begun after the first time, it is the second.
    assert due(NEW_YORK, at("2026-11-01T05:59:59"), 1, own={1: 5.0}) == at("2026-11-01T05:59:59")
    assert due(NEW_YORK, at("2026-10-31T12:00", NEW_YORK), own={2: 5.0}) == at("2026-11-01T07:00")


def test_half_an_hours_change_of_clocks_is_followed():
    # On 4 October 2026, 2:00 is 2:30 on Lord Howe Island (UTC+10:30 to +11).
    assert due(LORD_HOWE, at("2026-10-03T12:00", LORD_HOWE), own={2: 5.0}) == at("2026-10-03T15:30")
    # On 5 April 2026, 2:00 is 1:30.
    assert due(LORD_HOWE, at("2026-04-04T12:00", LORD_HOWE), own={1: 5.0}) == at("2026-04-04T14:00")
    assert due(LORD_HOWE, at("2026-04-04T12:00", LORD_HOWE), own={2: 5.0}) == at("2026-04-04T15:30")


def test_everybody_has_a_time_in_the_order_given():
    contacts = pl.DataFrame(
        {"contact_id": ["c", "a", "b", "d"], "time_zone": [NEW_YORK, "UTC", None, NEW_YORK]},
    )
    own = pl.concat([weights("a", {19: 1.0}), weights("d", {5: 1.0}), weights("stranger", {5: 1.0})])

    found = due_times(
        contacts,
        own,
        weights("", {}).drop("contact_id"),
        start=NINE,
        end=NINE + timedelta(days=1),
        default_zone="Asia/Kathmandu",
    )

    assert found.to_list() == [NINE, at("2026-12-01T19:00"), NINE, at("2026-12-01T10:00")]
    nobody = due_times(
        contacts.clear(), own, own.drop("contact_id"), start=NINE, end=NINE, default_zone="UTC"
    )
    assert nobody.to_list() == []


@settings(deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(0, 365 * 86_400).map(
        lambda seconds: at("2026-01-01T00:00") + timedelta(seconds=seconds)
    ),
    hours=st.integers(1, 168),
    own=st.dictionaries(st.integers(0, 23), st.integers(1, 20), max_size=5),
    common=st.dictionaries(st.integers(0, 23), st.floats(0.01, 1_000), max_size=8),
)
def test_a_message_is_never_due_outside_its_window(zone, start, hours, own, common):
    found = due(zone, start, hours, own=own, common=common)

    assert start <= found <= start + timedelta(hours=hours)
    # It begins an hour, unless it goes at once; only a change of clocks may begin one in its middle.
    local = found.astimezone(ZoneInfo(zone))
    before = (found - timedelta(microseconds=1)).astimezone(ZoneInfo(zone))
    assert found == start or local.hour != before.hour
    # Two days and an hour have every hour of the day, also when clocks leave one out.
    if hours >= 49:
        best = max(own, key=own.__getitem__, default=local.hour)
        assert common or own.get(local.hour, 0) >= own.get(best, 0)

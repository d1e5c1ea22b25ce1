"""Countries and clocks, by the tzdata package."""

from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest

from comms_pipeline.compliance.time_zones import (
    countries_of_zone,
    country_codes,
    one_of_each_clock,
    zones_of_country,
)
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.zones import zone


@pytest.mark.parametrize(
    ("country", "zones"),
    [
        ("DE", ("Europe/Berlin",)),
        ("GB", ("Europe/London",)),
        ("ES", ("Atlantic/Canary", "Europe/Madrid")),
        ("NZ", ("Pacific/Auckland", "Pacific/Chatham")),
        ("KI", ("Pacific/Kanton", "Pacific/Kiritimati", "Pacific/Tarawa")),
        ("BR", ("America/Belem", "America/Campo_Grande", "America/Eirunepe", "America/Noronha")),
        (
            "US",
            (
                "America/Adak",
                "America/Anchorage",
                "America/Chicago",
                "America/Denver",
                "America/Los_Angeles",
                "America/New_York",
                "America/Phoenix",
                "Pacific/Honolulu",
            ),
        ),
        ("XX", ()),
        ("us", ()),
    ],
)
def test_a_country_has_each_of_its_clocks_once(country: str, zones: tuple[str, ...]) -> None:
    assert zones_of_country(country) == zones


@pytest.mark.parametrize("country", ["AU", "CA", "MX", "RU", "US"])
def test_clocks_left_out_agree_with_one_that_is_listed(country: str) -> None:
    # Every seven hours over three years: changes fall on each hour of the day.
    start = datetime(2026, 1, 1, tzinfo=UTC)
    instants = [start + timedelta(hours=7 * step) for step in range(3 * 365 * 24 // 7)]

    def shown(name: str) -> tuple[timedelta | None, ...]:
        return tuple(instant.astimezone(zone(name)).utcoffset() for instant in instants)

    listed = {shown(name) for name in zones_of_country(country)}
    table = resources.files("tzdata").joinpath("zoneinfo", "zone.tab").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in table.splitlines()]
    assert {shown(row[2]) for row in rows if row[0] == country} == listed


@pytest.mark.parametrize(
    ("name", "countries"),
    [
        ("America/New_York", ("US",)),
        ("US/Eastern", ("US",)),
        ("America/Phoenix", ("CA", "US")),
        ("Europe/Berlin", ("DE", "DK", "NO", "SE", "SJ")),
        ("Europe/Stockholm", ("SE",)),
        ("Asia/Calcutta", ("IN",)),
        ("UTC", ()),
        ("Etc/GMT+5", ()),
        ("Mars/Olympus", ()),
    ],
)
def test_a_clock_may_be_that_of_several_countries(name: str, countries: tuple[str, ...]) -> None:
    assert countries_of_zone(name) == countries


def test_of_zones_that_agree_the_first_stands_for_all() -> None:
    assert one_of_each_clock(["America/Detroit", "America/New_York", "America/Chicago"]) == (
        "America/Chicago",
        "America/Detroit",
    )
    # The same offset, called otherwise; the same hour, by other rules.
    assert one_of_each_clock(["Asia/Dubai", "Asia/Muscat", "Asia/Baku"]) == ("Asia/Dubai",)
    assert one_of_each_clock(["America/Denver", "America/Phoenix"]) == ("America/Denver", "America/Phoenix")
    # Until March 2026 these two differed.
    assert one_of_each_clock(["America/Vancouver", "America/Creston"]) == (
        "America/Creston",
        "America/Vancouver",
    )


def test_an_unknown_clock_is_refused() -> None:
    with pytest.raises(
        CommsError, match=r"'America/New_Yrok' is not known\. Did you mean 'America/New_York'"
    ):
        one_of_each_clock(["America/New_Yrok"])


def test_countries_are_those_of_iso_3166() -> None:
    assert {"US", "GB", "XK", "UK", "us"} & country_codes() == {"US", "GB"}
    assert len(country_codes()) == 249

"""Where contacts may be: literal tables of addresses and numbers, and what the tables must hold as a whole."""

from itertools import pairwise

import phonenumbers
import polars as pl
import pytest

from comms_pipeline.compliance.places import places
from comms_pipeline.compliance.regions import read
from comms_pipeline.domain.zones import zone_names

COLUMNS = ("time_zone", "country", "region", "postcode", "phone")
EASTERN, CENTRAL, MOUNTAIN, PACIFIC = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
)
INDIANA = "America/Indiana/Indianapolis"


def contacts(*rows: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [{name: row.get(name) for name in COLUMNS} for row in rows], dict.fromkeys(COLUMNS, pl.String)
    )


def place(**known: str) -> tuple[list[str], list[str]]:
    return places(contacts(known)).row(0)


def zones(**known: str) -> list[str]:
    return place(**known)[0]


def jurisdictions(**known: str) -> list[str]:
    return place(**known)[1]


SPLIT_AREA_CODES: list[tuple[str, str, list[str]]] = [
    ("850", "US-FL", [CENTRAL, EASTERN]),
    ("448", "US-FL", [CENTRAL, EASTERN]),
    ("270", "US-KY", [CENTRAL, EASTERN]),
    ("364", "US-KY", [CENTRAL, EASTERN]),
    ("606", "US-KY", [CENTRAL, EASTERN]),
    ("423", "US-TN", [CENTRAL, EASTERN]),
    ("729", "US-TN", [CENTRAL, EASTERN]),
    ("308", "US-NE", [CENTRAL, MOUNTAIN]),
    ("620", "US-KS", [CENTRAL, MOUNTAIN]),
    ("785", "US-KS", [CENTRAL, MOUNTAIN]),
    ("605", "US-SD", [CENTRAL, MOUNTAIN]),
    ("701", "US-ND", [CENTRAL, MOUNTAIN]),
    ("219", "US-IN", [CENTRAL, INDIANA]),
    ("574", "US-IN", [CENTRAL, INDIANA]),
    ("812", "US-IN", [CENTRAL, INDIANA]),
    ("930", "US-IN", [CENTRAL, INDIANA]),
    ("906", "US-MI", ["America/Detroit", "America/Menominee"]),
    ("541", "US-OR", ["America/Boise", PACIFIC]),
    ("458", "US-OR", ["America/Boise", PACIFIC]),
    ("208", "US-ID", ["America/Boise", PACIFIC]),
    ("986", "US-ID", ["America/Boise", PACIFIC]),
    ("775", "US-NV", [MOUNTAIN, PACIFIC]),
    ("928", "US-AZ", [MOUNTAIN, "America/Phoenix"]),
    ("907", "US-AK", ["America/Adak", "America/Anchorage"]),
    ("250", "CA-BC", ["America/Edmonton", "America/Vancouver"]),
    ("236", "CA-BC", ["America/Edmonton", "America/Vancouver"]),
    ("257", "CA-BC", ["America/Edmonton", "America/Vancouver"]),
    ("672", "CA-BC", ["America/Edmonton", "America/Vancouver"]),
    ("778", "CA-BC", ["America/Edmonton", "America/Vancouver"]),
    ("807", "CA-ON", ["America/Atikokan", "America/Toronto", "America/Winnipeg"]),
    ("418", "CA-QC", ["America/Blanc-Sablon", "America/Halifax", "America/Toronto"]),
    ("367", "CA-QC", ["America/Blanc-Sablon", "America/Halifax", "America/Toronto"]),
    ("581", "CA-QC", ["America/Blanc-Sablon", "America/Halifax", "America/Toronto"]),
    ("306", "CA-SK", ["America/Edmonton", "America/Regina"]),
    ("639", "CA-SK", ["America/Edmonton", "America/Regina"]),
    ("474", "CA-SK", ["America/Edmonton", "America/Regina"]),
    ("709", "CA-NL", ["America/Goose_Bay", "America/St_Johns"]),
    ("879", "CA-NL", ["America/Goose_Bay", "America/St_Johns"]),
]
# In states with several clocks, and on one side of the border.
WHOLE_AREA_CODES: list[tuple[str, str, list[str]]] = [
    ("305", "US-FL", [EASTERN]),
    ("689", "US-FL", [EASTERN]),
    ("502", "US-KY", [EASTERN]),
    ("615", "US-TN", [CENTRAL]),
    ("931", "US-TN", [CENTRAL]),
    ("865", "US-TN", [EASTERN]),
    ("915", "US-TX", [MOUNTAIN]),
    ("432", "US-TX", [CENTRAL]),
    ("316", "US-KS", [CENTRAL]),
    ("402", "US-NE", [CENTRAL]),
    ("317", "US-IN", [INDIANA]),
    ("989", "US-MI", ["America/Detroit"]),
    ("503", "US-OR", [PACIFIC]),
    ("702", "US-NV", [PACIFIC]),
    ("602", "US-AZ", ["America/Phoenix"]),
    ("715", "US-WI", [CENTRAL]),
    ("203", "US-CT", [EASTERN]),
    ("808", "US-HI", ["Pacific/Honolulu"]),
    ("787", "US-PR", ["America/Puerto_Rico"]),
    ("604", "CA-BC", ["America/Vancouver"]),
    ("416", "CA-ON", ["America/Toronto"]),
    ("514", "CA-QC", ["America/Toronto"]),
]


@pytest.mark.parametrize(("area_code", "state", "expected"), SPLIT_AREA_CODES + WHOLE_AREA_CODES)
def test_a_north_american_number_speaks_for_its_area_code(
    area_code: str, state: str, expected: list[str]
) -> None:
    assert place(phone=f"+1{area_code}5550123") == (expected, [state[:2], state])


def test_an_area_code_of_several_provinces_counts_for_all() -> None:
    assert place(phone="+19025550123") == (["America/Halifax"], ["CA", "CA-NS", "CA-PE"])
    assert jurisdictions(phone="+18675550123") == ["CA", "CA-NT", "CA-NU", "CA-YT"]


# number, zones, jurisdictions
PHONES: list[tuple[str, list[str], list[str]]] = [
    ("+18005550123", [], []),
    ("+18885550123", [], []),
    ("+19005550123", [], []),
    ("+15005550123", [], []),
    ("+80012345678", [], []),
    ("+870773111632", [], []),
    ("+883510012345", [], []),
    ("+12425550123", ["America/Nassau"], ["BS"]),
    ("+18295550123", ["America/Santo_Domingo"], ["DO"]),
    ("+493012345678", ["Europe/Berlin"], ["DE", "EU"]),
    ("+393331234567", ["Europe/Rome"], ["EU", "IT"]),
    ("+353871234567", ["Europe/Dublin"], ["EU", "IE"]),
    ("+4740612345", ["Europe/Oslo"], ["NO"]),
    ("+447400123456", ["Europe/London"], ["GB"]),
    ("+448001234567", ["Europe/London"], ["GB"]),
    ("+447797712345", ["Europe/Jersey"], ["JE"]),
    ("+441534456789", ["Europe/Jersey"], ["JE"]),
    ("+77011234567", ["Asia/Almaty"], ["KZ"]),
    ("+919812345678", ["Asia/Kolkata"], ["IN"]),
    ("+262692123456", ["Indian/Reunion"], ["EU", "FR", "RE"]),
    # Landlines tell a part of the country, where the library knows; mobiles do where they are sold by area.
    ("+61892345678", ["Australia/Adelaide", "Australia/Perth"], ["AU"]),
    ("+34922123456", ["Atlantic/Canary"], ["ES", "EU"]),
    ("+34612345678", ["Atlantic/Canary", "Europe/Madrid"], ["ES", "EU"]),
    ("+5511912345678", ["America/Sao_Paulo"], ["BR"]),
    ("+529982345678", ["America/Cancun"], ["MX"]),
    (
        "+61412345678",
        [
            "Antarctica/Macquarie",
            "Australia/Brisbane",
            "Australia/Broken_Hill",
            "Australia/Darwin",
            "Australia/Eucla",
            "Australia/Lord_Howe",
            "Australia/Perth",
        ],
        ["AU"],
    ),
    # The library puts Kaliningrad into Bucharest's zone, which is another country's.
    (
        "+74012345678",
        [
            "Asia/Chita",
            "Asia/Irkutsk",
            "Asia/Kamchatka",
            "Asia/Magadan",
            "Asia/Novosibirsk",
            "Asia/Omsk",
            "Asia/Vladivostok",
            "Asia/Yekaterinburg",
            "Europe/Astrakhan",
            "Europe/Kaliningrad",
            "Europe/Moscow",
        ],
        ["RU"],
    ),
]


@pytest.mark.parametrize(("number", "expected_zones", "expected_jurisdictions"), PHONES)
def test_a_number_speaks_for_its_country(
    number: str, expected_zones: list[str], expected_jurisdictions: list[str]
) -> None:
    assert place(phone=number) == (expected_zones, expected_jurisdictions)


@pytest.mark.parametrize(
    "text", ["", "+", "+1", "abc", "+abc", "+999123456789", "02079460000", "12125550123", "+٣٤٥"]
)
def test_what_is_no_number_says_nothing(text: str) -> None:
    assert place(phone=text) == ([], [])


# country, region, postcode, zones, jurisdictions
ADDRESSES: list[tuple[str, str, str, list[str], list[str]]] = [
    ("US", "TX", "", [CENTRAL, MOUNTAIN], ["US", "US-TX"]),
    ("US", "texas", "", [CENTRAL, MOUNTAIN], ["US", "US-TX"]),
    ("us", " US-TX ", "", [CENTRAL, MOUNTAIN], ["US", "US-TX"]),
    ("US", "N.Y.", "", [EASTERN], ["US", "US-NY"]),
    ("US", "Washington, D.C.", "", [EASTERN], ["US", "US-DC"]),
    ("US", "Washington", "", [PACIFIC], ["US", "US-WA"]),
    ("US", "FL", "32501", [CENTRAL], ["US", "US-FL"]),
    ("US", "FL", "33101-1234", [EASTERN], ["US", "US-FL"]),
    ("US", "FL", "32456", [CENTRAL, EASTERN], ["US", "US-FL"]),
    ("US", "TX", "79901", [MOUNTAIN], ["US", "US-TX"]),
    ("US", "TX", "79855", [CENTRAL, MOUNTAIN], ["US", "US-TX"]),
    ("US", "TN", "37201", [CENTRAL], ["US", "US-TN"]),
    ("US", "TN", "37723", [CENTRAL, EASTERN], ["US", "US-TN"]),
    ("US", "ND", "58757", [CENTRAL, MOUNTAIN], ["US", "US-ND"]),
    ("US", "IN", "46320", [CENTRAL], ["US", "US-IN"]),
    ("US", "", "46204", [INDIANA], ["US", "US-IN"]),
    ("US", "Nowhere", "90210", [PACIFIC], ["US", "US-CA"]),
    ("US", "FL", "37201", [CENTRAL, EASTERN], ["US", "US-FL", "US-TN"]),
    # A ZIP code without its leading zero is not one of Illinois.
    ("US", "CT", "6103", [EASTERN], ["US", "US-CT"]),
    ("US", "HI", "96813", ["Pacific/Honolulu"], ["US", "US-HI"]),
    ("US", "", "96799", ["Pacific/Honolulu", "Pacific/Pago_Pago"], ["US", "US-AS", "US-HI"]),
    ("US", "AE", "09012", [], ["US", "US-AE"]),
    ("US", "PR", "00901", ["America/Puerto_Rico"], ["US", "US-PR"]),
    ("PR", "San Juan", "00901", ["America/Puerto_Rico"], ["US", "US-PR"]),
    ("GU", "", "", ["Pacific/Guam"], ["US", "US-GU"]),
    ("CA", "Québec", "", ["America/Blanc-Sablon", "America/Halifax", "America/Toronto"], ["CA", "CA-QC"]),
    ("CA", "quebec", "H2X 1Y4", ["America/Toronto"], ["CA", "CA-QC"]),
    ("CA", "BC", "v6b1a1", ["America/Vancouver"], ["CA", "CA-BC"]),
    ("CA", "BC", "V1C 2A1", ["America/Edmonton", "America/Vancouver"], ["CA", "CA-BC"]),
    ("CA", "", "X0A 0H0", ["America/Atikokan", "America/Cambridge_Bay", "America/Iqaluit", "America/Rankin_Inlet",
                           "America/Resolute"], ["CA", "CA-NU"]),
    ("CA", "", "P9N 1A1", ["America/Winnipeg"], ["CA", "CA-ON"]),
    ("AU", "nsw", "2000", ["Australia/Sydney"], ["AU"]),
    ("AU", "New South Wales", "2880", ["Australia/Broken_Hill"], ["AU"]),
    ("AU", "NSW", "", ["Australia/Broken_Hill", "Australia/Lord_Howe", "Australia/Sydney"], ["AU"]),
    ("AU", "", "2600", ["Australia/Sydney"], ["AU"]),
    ("AU", "Queensland", "4380", ["Australia/Brisbane"], ["AU"]),
    ("AU", "", "6443", ["Australia/Eucla", "Australia/Perth"], ["AU"]),
    ("BR", "Sao Paulo", "", ["America/Sao_Paulo"], ["BR"]),
    ("BR", "AM", "", ["America/Eirunepe", "America/Manaus"], ["BR"]),
    ("MX", "Quintana Roo", "", ["America/Cancun"], ["MX"]),
    ("MX", "México", "", ["America/Mexico_City"], ["MX"]),
    ("ES", "", "38001", ["Atlantic/Canary"], ["ES", "EU"]),
    ("ES", "", "28001", ["Europe/Madrid"], ["ES", "EU"]),
    ("ES", "", "", ["Atlantic/Canary", "Europe/Madrid"], ["ES", "EU"]),
    ("PT", "", "9500-150", ["Atlantic/Azores"], ["EU", "PT"]),
    ("FR", "", "97400", ["Indian/Reunion"], ["EU", "FR"]),
    ("FR", "", "75001", ["Europe/Paris"], ["EU", "FR"]),
    ("RE", "", "97400", ["Indian/Reunion"], ["EU", "FR", "RE"]),
    ("AX", "", "", ["Europe/Mariehamn"], ["AX", "EU", "FI"]),
    ("GB", "England", "SW1A 1AA", ["Europe/London"], ["GB"]),
    ("NO", "", "", ["Europe/Oslo"], ["NO"]),
    ("CH", "", "", ["Europe/Zurich"], ["CH"]),
    ("XX", "TX", "79901", [], []),
    ("", "TX", "79901", [], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("country", "region", "postcode", "expected_zones", "expected_jurisdictions"), ADDRESSES
)
def test_an_address_is_in_every_place_it_may_be(
    country: str, region: str, postcode: str, expected_zones: list[str], expected_jurisdictions: list[str]
) -> None:
    found = place(country=country, region=region, postcode=postcode)
    assert found == (expected_zones, expected_jurisdictions)


def test_a_country_alone_has_all_its_clocks() -> None:
    assert zones(country="US") == [
        "America/Adak",
        "America/Anchorage",
        "America/Chicago",
        "America/Denver",
        "America/Los_Angeles",
        "America/New_York",
        "America/Phoenix",
        "Pacific/Honolulu",
    ]


def test_a_declared_zone_comes_before_the_address_and_that_before_the_phone() -> None:
    known = {"time_zone": "Asia/Tokyo", "country": "US", "region": "CA", "phone": "+12125550123"}
    assert zones(**known) == ["Asia/Tokyo"]
    assert zones(**{**known, "time_zone": "Etc/Unknown"}) == [PACIFIC]
    assert zones(**{**known, "time_zone": "Mars/Olympus"}) == [PACIFIC]
    assert zones(**{**known, "time_zone": "Factory", "country": ""}) == [EASTERN]


def test_an_address_of_no_known_clock_leaves_it_to_the_phone() -> None:
    soldier = place(country="US", region="AP", phone="+18085550123")
    assert soldier == (["Pacific/Honolulu"], ["US", "US-AP", "US-HI"])


def test_the_state_of_the_phone_counts_beside_that_of_the_address() -> None:
    found = place(country="US", region="TX", postcode="75201", phone="+13055550123")
    assert found == ([CENTRAL], ["US", "US-FL", "US-TX"])


def test_countries_of_address_and_phone_both_count() -> None:
    assert jurisdictions(country="DE", phone="+15145550123") == ["CA", "CA-QC", "DE", "EU"]


def test_a_declared_zone_tells_the_country_where_no_address_does() -> None:
    assert jurisdictions(time_zone="America/Chicago") == ["US"]
    assert jurisdictions(time_zone="US/Eastern") == ["US"]
    assert jurisdictions(time_zone="America/Puerto_Rico", phone="+17875550123") == ["US", "US-PR"]
    assert jurisdictions(time_zone="America/Chicago", country="DE") == ["DE", "EU"]
    assert jurisdictions(time_zone="UTC") == []


def test_a_zone_of_several_countries_gives_all_unless_the_phone_tells() -> None:
    assert jurisdictions(time_zone="Europe/Berlin") == ["DE", "DK", "EU", "NO", "SE", "SJ"]
    assert jurisdictions(time_zone="Europe/Berlin", phone="+493012345678") == ["DE", "EU"]
    assert jurisdictions(time_zone="Europe/Berlin", phone="+4740612345") == ["NO"]


def test_nothing_known_is_nowhere() -> None:
    assert place() == ([], [])


def test_rows_keep_their_order_and_their_own_places() -> None:
    rows = [
        {"phone": "+12125550123"},
        {},
        {"country": "DE"},
        {"phone": "+18005550123"},
        {"phone": "+12125550199"},
        {"time_zone": "Asia/Kolkata"},
    ]
    found = places(contacts(*rows))
    assert found.schema == {"zones": pl.List(pl.String), "jurisdictions": pl.List(pl.String)}
    assert found["zones"].to_list() == [[EASTERN], [], ["Europe/Berlin"], [], [EASTERN], ["Asia/Kolkata"]]
    assert found["jurisdictions"].to_list() == [
        ["US", "US-NY"], [], ["DE", "EU"], [], ["US", "US-NY"], ["IN"],
    ]  # fmt: skip


def test_a_broken_number_speaks_for_no_other() -> None:
    found = places(
        contacts({"phone": "+447 x"}, {"phone": "+4474001234567890123"}, {"phone": "+447400123456"})
    )
    assert found["jurisdictions"].to_list() == [[], [], ["GB"]]


def test_no_contacts_are_no_places() -> None:
    found = places(contacts())
    assert found.shape == (0, 2)
    assert found.schema == {"zones": pl.List(pl.String), "jurisdictions": pl.List(pl.String)}


def test_columns_that_hold_nothing_do_no_harm() -> None:
    assert places(contacts({}, {}))["zones"].to_list() == [[], []]


def test_every_area_code_the_library_calls_geographic_is_known() -> None:
    unknown = []
    for region in ("US", "CA"):
        for area_code in range(200, 1000):
            number = phonenumbers.parse(f"+1{area_code}5550123")
            if phonenumbers.region_code_for_number(number) == region and phonenumbers.is_number_geographical(
                number
            ):
                found = place(phone=f"+1{area_code}5550123")
                if not found[0] or region not in found[1]:
                    unknown.append(area_code)
    assert unknown == []


def test_tables_name_known_zones_and_regions_only() -> None:
    regions = {f"{row['country']}-{row['code']}" for row in read("regions.csv")}
    area_codes, postcodes = read("area_codes.csv"), read("postcodes.csv")
    named = [name for table in ("regions.csv", "area_codes.csv", "postcodes.csv") for row in read(table)
             for name in row["zones"].split()]  # fmt: skip
    assert set(named) - zone_names() == set()
    places_ = {name for row in area_codes for name in row["places"].split()}
    assert {name for name in places_ if "-" in name} - regions == set()
    assert {
        f"{row['country']}-{code}" for row in postcodes for code in row["regions"].split()
    } - regions == set()
    assert len({row["area_code"] for row in area_codes}) == len(area_codes)
    assert all(row["regions"] or row["zones"] for row in postcodes)


def test_postcode_ranges_of_one_length_in_the_united_states_do_not_overlap() -> None:
    ranges = sorted((row["first"], row["last"]) for row in read("postcodes.csv") if row["country"] == "US")
    assert all(first <= last for first, last in ranges)
    assert all(one[1] < other[0] for one, other in pairwise(ranges))

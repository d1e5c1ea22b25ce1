"""Where an address is: the clocks it may be under and the jurisdictions it is in, by country, region and postcode.

The tables are `geography/regions.csv` and `geography/postcodes.csv`. Asked once for each distinct address, which
`places` sees to.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

import polars as pl

from comms_pipeline.compliance.time_zones import country_codes, zones_of_country

EU = frozenset(
    {"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU"}
    | {"IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"}
)
"""Member states (ISO 3166; Greece is GR)."""

# Territories with a code of their own in which the state's law, and the Union's, holds (TFEU art 355(1), (4)).
_BELONGS_TO = {
    **dict.fromkeys(("GF", "GP", "MF", "MQ", "RE", "YT"), "FR"),
    "AX": "FI",
}
# Parts of the United States that ISO 3166 also lists as countries.
_UNITED_STATES = frozenset({"AS", "GU", "MP", "PR", "VI"})
# Where rules differ by state or province.
_BY_REGION = frozenset({"CA", "US"})
_NOISE = re.compile(r"[^a-z0-9]+")
# What whole postcodes look like without spaces and hyphens, and how many characters of them `postcodes.csv` knows.
# Whole, for one that has lost its zero in a spreadsheet would be another place.
_POSTCODES = {
    "AU": (r"^[0-9]{4}$", 4),
    "CA": (r"^[A-Z][0-9][A-Z](?:[0-9][A-Z][0-9])?$", 3),
    "ES": (r"^[0-9]{5}$", 2),
    "FR": (r"^[0-9]{5}$", 3),
    "PT": (r"^[0-9]{4}(?:[0-9]{3})?$", 2),
    "US": (r"^[0-9]{5}(?:[0-9]{4})?$", 3),
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where someone may be. `zones`: every candidate, empty when unknown; `jurisdictions`: as rules name them."""

    zones: frozenset[str] = frozenset()
    jurisdictions: frozenset[str] = frozenset()


NOWHERE = Place()


@dataclass(frozen=True, kw_only=True)
class _Postcodes:
    """Postcodes from `first` to `last`: the regions and zones they may be in; no regions: not told."""

    country: str
    first: str
    last: str
    regions: tuple[str, ...]
    zones: tuple[str, ...]


def jurisdictions_of(country: str, regions: Iterable[str] = ()) -> frozenset[str]:
    """The jurisdictions of a country (ISO 3166) and, where rules differ by them, its regions (codes without it).

    "EU" for member states; a territory counts as the state it belongs to as well.
    """
    if country in _UNITED_STATES:
        return jurisdictions_of("US", (country,))
    state = _BELONGS_TO.get(country, country)
    union = {"EU"} if state in EU else set()
    parts = {f"{country}-{region}" for region in regions} if country in _BY_REGION else set()
    return frozenset({country, state} | union | parts)


def postcode_areas(addresses: pl.DataFrame) -> pl.Series:
    """What of each `postcode` may tell a place, by `country`: its first characters; null where it tells nothing."""
    plain = addresses.select(
        country=pl.col("country").str.strip_chars().str.to_uppercase(),
        code=pl.col("postcode").str.to_uppercase().str.replace_all("[^A-Z0-9]", ""),
    )
    areas = (
        pl.when((pl.col("country") == name) & pl.col("code").str.contains(pattern)).then(
            pl.col("code").str.slice(0, length)
        )
        for name, (pattern, length) in _POSTCODES.items()
    )
    return plain.select(area=pl.coalesce(areas))["area"]


def address_place(country: str | None, region: str | None, area: str | None) -> Place:
    """Where an address may be. `region`: a code or a name in any case; `area`: as `postcode_areas` gives it.

    What is unknown counts as not given; a region and a postcode that contradict each other both count.
    """
    code = (country or "").strip().upper()
    if code in _UNITED_STATES:
        code, region = "US", code
    if code not in country_codes():
        return NOWHERE
    named = _region_code(code, region or "")
    posted = _postcodes_of(code, area or "")
    if posted is None:
        return region_place(code, named)
    if not posted.regions:
        return Place(zones=frozenset(posted.zones), jurisdictions=jurisdictions_of(code))
    narrowed = _posted_place(posted, named)
    if named is None or named in posted.regions:
        return narrowed
    other = region_place(code, named)
    return Place(
        zones=narrowed.zones | other.zones, jurisdictions=narrowed.jurisdictions | other.jurisdictions
    )


@cache
def region_place(country: str, region: str | None = None) -> Place:
    """The place that is a whole region of `regions.csv`, or a whole country."""
    if region is None:
        return Place(zones=frozenset(zones_of_country(country)), jurisdictions=jurisdictions_of(country))
    return Place(zones=_regions()[country, region], jurisdictions=jurisdictions_of(country, (region,)))


def _posted_place(posted: _Postcodes, named: str | None) -> Place:
    regions = (named,) if named in posted.regions and named is not None else posted.regions
    whole = frozenset[str]().union(*(_regions()[posted.country, region] for region in regions))
    zones = frozenset(posted.zones) if posted.zones else whole
    # A postcode on both sides of a border, in a region that is on one.
    return Place(zones=zones & whole or zones, jurisdictions=jurisdictions_of(posted.country, regions))


def _region_code(country: str, region: str) -> str | None:
    return _region_names().get((country, _folded(region)))


def _postcodes_of(country: str, area: str) -> _Postcodes | None:
    """The most particular entry for a postcode."""
    entries = _postcodes().get(country, ())
    return next((entry for entry in entries if entry.first <= area[: len(entry.first)] <= entry.last), None)


def _folded(text: str) -> str:
    """Without case, accents and punctuation: "Québec" is "quebec", "N.Y." is "ny"."""
    plain = unicodedata.normalize("NFKD", text.replace(".", "").replace("&", " and ")).casefold()
    return _NOISE.sub(" ", "".join(letter for letter in plain if not unicodedata.combining(letter))).strip()


@cache
def _regions() -> dict[tuple[str, str], frozenset[str]]:
    """Zones by country and region code."""
    return {(row["country"], row["code"]): frozenset(row["zones"].split()) for row in read("regions.csv")}


@cache
def _region_names() -> dict[tuple[str, str], str]:
    """Region codes by country and folded code or name; also by ISO 3166-2 ("us tx")."""
    return {
        (row["country"], _folded(name)): row["code"]
        for row in read("regions.csv")
        for name in (*row["names"].split(";"), f"{row['country']}-{row['code']}", row["code"])
    }


@cache
def _postcodes() -> dict[str, list[_Postcodes]]:
    """By country, the longest first."""
    rows: dict[str, list[_Postcodes]] = {}
    for row in read("postcodes.csv"):
        entry = _Postcodes(
            country=row["country"],
            first=row["first"],
            last=row["last"],
            regions=tuple(row["regions"].split()),
            zones=tuple(row["zones"].split()),
        )
        rows.setdefault(row["country"], []).append(entry)
    for entries in rows.values():
        entries.sort(key=lambda entry: len(entry.first), reverse=True)
    return rows


def read(name: str) -> list[dict[str, str]]:
    """The rows of a table in `geography`, whose first lines are comments."""
    text = (
        resources.files("comms_pipeline.compliance").joinpath("geography", name).read_text(encoding="utf-8")
    )
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))

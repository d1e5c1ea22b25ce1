"""Where a telephone number is from: the clocks and jurisdictions it speaks for.

Country code 1 by `geography/area_codes.csv`, with every candidate of area codes that cross a border of zones; all
others by libphonenumber's metadata. Asked for few distinct numbers, which `places`
sees to. A number that moved with its
holder still speaks for where it is from: that is what state laws presume.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from comms_pipeline.compliance.regions import NOWHERE, Place, read, region_place
from comms_pipeline.compliance.time_zones import countries_of_zone, one_of_each_clock

HEAD_LENGTH = 4
"""Characters of an E.164 number that always hold its country code: "+" and three digits."""

_AREA_CODE_LENGTH = 5
"""Of a number with country code 1: "+", 1, three digits."""
_PLAN_LENGTH = 9
"""By so many characters a number is of one country or another that share its code, and a landline or a mobile:
+590 690 27 is Saint Barthélemy."""
# Every kind of number libphonenumber tells apart.
_KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
)


def deciding_length(head: str) -> int:
    """How many characters of the numbers that begin with `head` (of HEAD_LENGTH) decide where they are from."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    code = _calling_code(head[1:])
    if code == "1":
        return _AREA_CODE_LENGTH
    is_shared = len(COUNTRY_CODE_TO_REGION_CODE.get(int(code or 0), ())) > 1
    if not is_shared and code not in _prefixes():
        return 1 + len(code)
    return max(_PLAN_LENGTH, 1 + max(map(len, _prefixes().get(code, ())), default=0))


def phone_place(number: str | None) -> Place:
    """Where a valid E.164 number is from; nowhere for numbers of no place (toll-free +1, satellite, unknown)."""
    if number is None or not number.startswith("+"):
        return NOWHERE
    code = _calling_code(number[1:])
    if code == "1":
        return _area_codes().get(number[2:_AREA_CODE_LENGTH], NOWHERE)
    national = number[1 + len(code) :]
    plan = next((plan for plan in _plans(code) if plan.claims.match(national)), None)
    if plan is None:
        return NOWHERE
    whole = region_place(plan.country)
    if len(whole.zones) < 2 or not plan.geographic.fullmatch(national):
        return whole
    return Place(
        zones=_zones_by_prefix(number, code, plan.country) or whole.zones, jurisdictions=whole.jurisdictions
    )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A country's numbering plan: the beginnings it `claims`, and its numbers tied to a place within it."""

    country: str
    claims: re.Pattern[str]
    geographic: re.Pattern[str]


@cache
def _plans(code: str) -> tuple[_Plan, ...]:
    """The plans under a country code; the first that claims a number is its own. None for satellites and the like."""
    import phonenumbers

    countries = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code or 0), ())
    if phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY in countries:
        return ()
    return tuple(_plan(country, is_alone=len(countries) == 1) for country in countries)


def _plan(country: str, *, is_alone: bool) -> _Plan:
    from phonenumbers import PhoneMetadata, PhoneNumberType, is_number_type_geographical

    data: Any = PhoneMetadata.metadata_for_region(country)
    is_mobile_placed = is_number_type_geographical(PhoneNumberType.MOBILE, data.country_code)
    kinds = [getattr(data, name) for name in _KINDS]
    patterns = [kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern]
    claims = "" if is_alone else data.leading_digits or f"(?:{'|'.join(patterns)})$"
    placed = [data.fixed_line, data.mobile] if is_mobile_placed else [data.fixed_line]
    geographic = "|".join(f"(?:{kind.national_number_pattern})" for kind in placed)
    return _Plan(country=country, claims=re.compile(claims), geographic=re.compile(geographic))


def _zones_by_prefix(number: str, code: str, country: str) -> frozenset[str]:
    """What the library says of a part of a country; empty where it names no part, or a zone of another country."""
    prefixes = _prefixes().get(code, {})
    for length in range(max(map(len, prefixes), default=0), len(code), -1):
        zones = prefixes.get(number[1 : 1 + length])
        if zones is not None:
            is_trusted = all(country in countries_of_zone(name) for name in zones)
            return frozenset(one_of_each_clock(zones)) if is_trusted else frozenset()
    return frozenset()


def _calling_code(digits: str) -> str:
    """The country code that digits begin with; "" for none."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    if not (digits.isascii() and digits.isdigit()):
        return ""
    candidates = (digits[:length] for length in (1, 2, 3))
    return next((code for code in candidates if int(code) in COUNTRY_CODE_TO_REGION_CODE), "")


@cache
def _prefixes() -> dict[str, dict[str, tuple[str, ...]]]:
    """Zones by country code and prefix, as far as a prefix says more than the country code."""
    from phonenumbers.tzdata import TIMEZONE_DATA

    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for prefix, zones in TIMEZONE_DATA.items():
        code = _calling_code(prefix)
        if len(prefix) > len(code):
            found.setdefault(code, {})[prefix] = zones
    return found


@cache
def _area_codes() -> dict[str, Place]:
    return {
        row["area_code"]: _area(row["places"].split(), row["zones"].split()) for row in read("area_codes.csv")
    }


def _area(places: list[str], zones: list[str]) -> Place:
    """`places`: "BS", or "CA-NT CA-NU"; without `zones`, all theirs."""
    split = [place.partition("-") for place in places]
    wholes = [
        region_place(country, region) if region else region_place(country) for country, _, region in split
    ]
    return Place(
        zones=frozenset(zones) or frozenset[str]().union(*(whole.zones for whole in wholes)),
        jurisdictions=frozenset[str]().union(*(whole.jurisdictions for whole in wholes)),
    )

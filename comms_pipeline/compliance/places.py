"""Contacts → where each may be: candidate time zones and jurisdictions. Columns in, columns out. Pure.

Zones: what the contact declared, else what the address says, else what the phone says. Jurisdictions: the country
of the address, else of the declared zone; and always that of the phone, which state laws presume to tell where
someone is. Nothing is guessed: where a place has several clocks, all are candidates.
"""

from collections.abc import Callable

import polars as pl

from comms_pipeline.compliance.phone_places import HEAD_LENGTH, deciding_length, phone_place
from comms_pipeline.compliance.regions import NOWHERE, Place, address_place, jurisdictions_of, postcode_areas
from comms_pipeline.compliance.time_zones import countries_of_zone
from comms_pipeline.domain.zones import zone_names

# A number of another shape must not stand for those that begin like it.
_E164 = r"^\+[1-9][0-9]{6,14}$"
_PARTS = ("declared", "address", "phone")


def places(contacts: pl.DataFrame) -> pl.DataFrame:
    """One row for each of `contacts`, in order: `zones` and `jurisdictions` (sorted lists of String, never null).

    `contacts` has `time_zone`, `country`, `region`, `postcode`, `phone` (String, null when unknown; E.164). Zones
    are IANA names, empty when unknown: then it is no time to send. Jurisdictions are countries (ISO 3166-1), "EU",
    and states and provinces of the US and Canada (ISO 3166-2); empty when unknown.
    """
    known: list[Place] = [NOWHERE]
    ids = pl.DataFrame(
        [
            _identified(contacts.select("time_zone"), _declared, known).alias("declared"),
            _identified(_address_keys(contacts), address_place, known).alias("address"),
            _identified(_phone_keys(contacts["phone"]), phone_place, known).alias("phone"),
        ]
    )
    distinct = ids.unique()
    both = [_together(*(known[position] for position in row)) for row in distinct.iter_rows()]
    lists = distinct.with_columns(
        zones=_lists([place.zones for place in both]),
        jurisdictions=_lists([place.jurisdictions for place in both]),
    )
    joined = ids.join(lists, on=_PARTS, how="left", maintain_order="left")
    return joined.select("zones", "jurisdictions")


def _lists(sets: list[frozenset[str]]) -> pl.Series:
    # Splitting text makes lists a hundred times faster than handing them over one by one; no name has a space.
    texts = pl.Series([" ".join(sorted(names)) for names in sets], dtype=pl.String)
    return texts.str.extract_all("[^ ]+")


def _together(declared: Place, address: Place, phone: Place) -> Place:
    zones = declared.zones or address.zones or phone.zones
    # Where several countries share a clock, the phone may tell which of them is meant.
    home = address.jurisdictions or declared.jurisdictions & phone.jurisdictions or declared.jurisdictions
    return Place(zones=zones, jurisdictions=home | phone.jurisdictions)


def _declared(name: str | None) -> Place:
    if name is None or name not in zone_names():
        return NOWHERE
    countries = (jurisdictions_of(country) for country in countries_of_zone(name))
    return Place(zones=frozenset({name}), jurisdictions=frozenset[str]().union(*countries))


def _address_keys(contacts: pl.DataFrame) -> pl.DataFrame:
    return contacts.select("country", "region", area=postcode_areas(contacts))


def _phone_keys(phones: pl.Series) -> pl.DataFrame:
    """For each number the least of those that are from where it is from: few distinct ones."""
    phone = pl.when(pl.col("phone").str.contains(_E164)).then("phone")
    rows = pl.DataFrame({"phone": phones}).select(phone, head=phone.str.slice(0, HEAD_LENGTH))
    lengths = {text: deciding_length(text) for text in rows["head"].unique().drop_nulls()}
    length = pl.col("head").replace_strict(lengths, return_dtype=pl.UInt32)
    decisive = rows.with_columns(beginning=pl.col("phone").str.slice(0, length))
    least = decisive.group_by("beginning").agg(pl.col("phone").min().alias("least"))
    return decisive.join(least, on="beginning", how="left", maintain_order="left").select("least")


def _identified(keys: pl.DataFrame, place_of: Callable[..., Place], known: list[Place]) -> pl.Series:
    """For each row the position of its place in `known`, which grows by those not in it yet.

    `place_of` takes the columns of `keys`, and is asked once for each distinct row.
    """
    distinct = keys.unique()
    positions = {place: position for position, place in enumerate(known)}
    found = [positions.setdefault(place_of(*row), len(positions)) for row in distinct.iter_rows()]
    known[:] = positions
    table = distinct.with_columns(position=pl.Series(found, dtype=pl.UInt32))
    return keys.join(table, on=keys.columns, how="left", nulls_equal=True, maintain_order="left")["position"]

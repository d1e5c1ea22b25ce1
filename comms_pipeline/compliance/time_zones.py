"""Which clocks a country has, and which countries a clock. From the tzdata package alone.

Tables: zone.tab and zone1970.tab (countries of a zone), iso3166.tab (countries). Knows no people.
"""

import re
import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import resources

from comms_pipeline.domain.zones import zone_bytes

_SINCE = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
"""Clocks that agree from here on are one: no message went out before."""

# TZif (RFC 9636): magic, version, 15 unused octets, then six counts.
_HEADER = struct.Struct(">4sc15x6L")
_TYPE = struct.Struct(">l?B")
# MST7 and <-07>7 are one rule: hours by any name.
_TIME_NAME = re.compile(r"<[^>]*>|[A-Za-z]{3,}")


@cache
def country_codes() -> frozenset[str]:
    """ISO 3166 alpha-2."""
    return frozenset(code for code, _ in _table("iso3166.tab"))


@cache
def zones_of_country(country: str) -> tuple[str, ...]:
    """A name for each clock of a country (ISO 3166), sorted; () for none known.

    Zones that agree from 2026 on are given as one, by the name tz lists first: the most populous.
    """
    return one_of_each_clock(name for code, _, name, *_ in _table("zone.tab") if code == country)


@cache
def countries_of_zone(name: str) -> tuple[str, ...]:
    """All countries whose clocks a zone shows, sorted; old names count as what replaced them; () for none (UTC).

    A name that tz lists for one country only (Europe/Stockholm) means this one, though others share its clock.
    """
    shared = [codes.split(",") for codes, _, listed, *_ in _table("zone1970.tab") if listed == name]
    own = [[code] for code, _, listed, *_ in _table("zone.tab") if listed == name]
    for countries in (*shared, *own):
        return tuple(sorted(countries))
    target = _links().get(name)
    return countries_of_zone(target) if target else ()


def one_of_each_clock(names: Iterable[str]) -> tuple[str, ...]:
    """The first of all zones that agree from 2026 on, sorted. Raises `UnknownZone`."""
    first: dict[object, str] = {}
    for name in names:
        first.setdefault(_clock(name), name)
    return tuple(sorted(first.values()))


@cache
def _clock(name: str) -> object:
    """What a zone's clock shows from 2026 on: its offset then, every change, and the rule for all time after."""
    data = zone_bytes(name)
    # The first block is the same with 32-bit times, kept for old readers.
    start = _HEADER.size + _block_size(data, 0, time_size=4)
    _, _, _, _, _, times, types, _ = _HEADER.unpack_from(data, start)
    body = start + _HEADER.size
    changes = struct.unpack_from(f">{times}q", data, body)
    kinds = struct.unpack_from(f">{times}B", data, body + 8 * times)
    offsets = [_TYPE.unpack_from(data, body + 9 * times + _TYPE.size * i)[0] for i in range(types)]
    rule = data[body + _block_size(data, start, time_size=8) :].strip().decode("ascii")
    history = list(zip(changes, (offsets[kind] for kind in kinds), strict=True))
    # After the last change the rule holds: what came before is past.
    known = [offset for change, offset in history if change < _SINCE] or offsets
    coming = [step for step in history if step[0] >= _SINCE]
    return known[-1] if coming else None, tuple(coming), _TIME_NAME.sub("~", rule)


def _block_size(data: bytes, start: int, *, time_size: int) -> int:
    _, _, ut_flags, standard_flags, leaps, times, types, characters = _HEADER.unpack_from(data, start)
    per_type = types * _TYPE.size + characters
    return int(times * (time_size + 1) + per_type + leaps * (time_size + 4) + standard_flags + ut_flags)


@cache
def _links() -> dict[str, str]:
    """Old names and what they stand for."""
    lines = [line.split(" ") for line in _text("tzdata.zi").splitlines() if line.startswith("L ")]
    return {link: target for _, target, link in lines}


@cache
def _table(name: str) -> tuple[tuple[str, ...], ...]:
    lines = _text(name).splitlines()
    return tuple(tuple(line.split("\t")) for line in lines if line and not line.startswith("#"))


def _text(name: str) -> str:
    return resources.files("tzdata").joinpath("zoneinfo", name).read_text(encoding="utf-8")

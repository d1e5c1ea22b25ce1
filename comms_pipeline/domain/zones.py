"""IANA time zones: which there are, and their clocks. Always those of the tzdata package, never the system's.

`ZoneInfo(name)` asks the operating system first, whose tables may be years older than the package we pin: it
would open a window an hour early where a law has changed since. Knows nothing of countries.
"""

from functools import cache
from importlib import resources
from io import BytesIO
from zoneinfo import ZoneInfo

from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.validation import close_match

_PLACEHOLDERS = frozenset({"Factory"})
"""What tz itself means by "not known"."""


class UnknownZone(CommsError):
    """A name is not an IANA time zone."""


@cache
def zone_names() -> frozenset[str]:
    """Every zone, old names among them ("US/Eastern"); without the placeholder for an unknown one."""
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    return frozenset(names) - _PLACEHOLDERS


def zone_bytes(name: str) -> bytes:
    """The compiled table of a zone (TZif, RFC 9636). Raises `UnknownZone`."""
    if name not in zone_names():
        close = close_match(name, zone_names())
        fix = f"Did you mean '{close}'?" if close else "Use an IANA name such as America/New_York"
        raise UnknownZone("a time zone", f"'{name}' is not known", fix)
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


@cache
def zone(name: str) -> ZoneInfo:
    """The clock of a zone. Raises `UnknownZone`."""
    return ZoneInfo.from_file(BytesIO(zone_bytes(name)), key=name)

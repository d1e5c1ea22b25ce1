"""When each contact may be reached: all windows that cover them, joined into one `Hours`. Excludes nobody itself.

People differ far less than they are many: hours are worked out once for each distinct combination of time zones,
windows, quiet hours and day off, and joined back as columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce

import polars as pl

from comms_pipeline.compliance.rules_file import Rule
from comms_pipeline.compliance.windows import Asked, Opening, Week, Window
from comms_pipeline.domain.hours import ALWAYS, Day, Hours, intersect
from comms_pipeline.domain.sending_hours import SendingHours
from comms_pipeline.domain.zones import zone

SPOKEN = pl.Struct({"rule_id": pl.String, "version": pl.Int32, "evidence": pl.String})
"""One rule that spoke of one contact, as decisions keep it."""

EVERYWHERE = tuple(sorted(f"Etc/GMT{offset:+d}" for offset in range(-14, 13)))
"""Clocks of the whole earth, for those of whom no time zone is known: what is a day off nowhere is none for them."""

_FAR = timedelta(days=15)  # beyond the 14 days that `Hours` looks ahead, by any clock
_RESULTS = pl.Schema(
    [
        ("hours", pl.String()),
        ("opens_at", pl.Datetime("us", "UTC")),
        ("never_opens", pl.Boolean()),
        ("closed", pl.List(SPOKEN)),
    ]
)


@dataclass(frozen=True, kw_only=True)
class _Result:
    """A row of `openings`."""

    hours: str | None = None
    opens_at: datetime | None = None
    never_opens: bool = False
    closed: Sequence[Mapping[str, str | int]] = ()


def openings(
    facts: pl.DataFrame,
    covered: pl.DataFrame,
    rules: Sequence[Rule],
    *,
    at: datetime,
    campaign_hours: SendingHours | None,
) -> pl.DataFrame:
    """One row per row of `facts`, in order.

    `hours` (text of `Hours`; null: at any time, or never), `opens_at` (UTC; null: open at `at`, or never within 14
    days), `never_opens`, `closed` (of the windows closed at `at`: rule id, version, evidence). `covered` has a Boolean
    column for each rule, by id.
    """
    windows = {rule.id: rule for rule in rules if isinstance(rule.check, Window)}
    near = pl.col("date_off").is_between(pl.lit((at - _FAR).date()), pl.lit((at + _FAR).date()))
    people = facts.select(
        *(covered[rule_id].alias(_column(rule_id)) for rule_id in windows),
        "quiet_from",
        "quiet_until",
        date_off=pl.when(near).then("date_off"),
        zones=pl.col("zones").list.join(" ").fill_null(""),
    )
    kinds = people.unique()
    results = []
    for kind in kinds.iter_rows(named=True):
        asked = Asked(
            campaign_hours=campaign_hours,
            quiet_from=kind["quiet_from"],
            quiet_until=kind["quiet_until"],
            date_off=kind["date_off"],
        )
        covering = [rule for rule_id, rule in windows.items() if kind[_column(rule_id)]]
        results.append(vars(_result(asked, covering, tuple(kind["zones"].split()), at)))
    found = pl.concat([kinds, pl.DataFrame(results, schema=_RESULTS)], how="horizontal")
    joined = people.join(found, on=people.columns, how="left", nulls_equal=True, maintain_order="left")
    return joined.select(_RESULTS.names())


def _column(rule_id: str) -> str:
    """A name that no fact has, whatever rules are called."""
    return f"covered by {rule_id}"


def _result(asked: Asked, rules: Sequence[Rule], zones: tuple[str, ...], at: datetime) -> _Result:
    """What windows make of one distinct combination of facts. No zones: nobody knows where."""
    given = [
        (rule, opening)
        for rule in rules
        if isinstance(rule.check, Window) and (opening := rule.check.opening(asked)) is not None
    ]
    if not given:
        return _Result()
    closed = [
        (rule, reason)
        for rule, opening in given
        if (reason := _why_closed(opening, zones, at) if zones else _why_unknown(opening, at)) is not None
    ]
    week: Week = tuple(
        reduce(intersect, days) for days in zip(*(opening.week for _, opening in given), strict=True)
    )
    if not zones:
        week = _whole_days(week)
    hours = Hours(
        zones=zones or EVERYWHERE,
        week=week,
        dates_off=frozenset().union(*(opening.dates_off for _, opening in given)),
    )
    if not closed:
        return _Result(hours=str(hours))
    opens_at = hours.first_open(at) if any(week) else None
    suffix = "" if opens_at else "; never open within 14 days"
    return _Result(
        hours=str(hours) if opens_at else None,
        opens_at=opens_at,
        never_opens=opens_at is None,
        closed=[
            {"rule_id": rule.id, "version": rule.version, "evidence": reason + suffix}
            for rule, reason in closed
        ],
    )


def _why_closed(opening: Opening, zones: Sequence[str], at: datetime) -> str | None:
    """The first clock by which it is closed, and when it would be open; None: it is open by every clock."""
    for name in zones:
        local = at.astimezone(zone(name))
        day = opening.week[local.weekday()]
        if local.date() in opening.dates_off:
            return f"{local:%a %H:%M} in {name}, a day off"
        minute = local.hour * 60 + local.minute
        if not any(start <= minute < end for start, end in day):
            return f"{local:%a %H:%M} in {name}, {_spoken(day)}"
    return None


def _why_unknown(opening: Opening, at: datetime) -> str | None:
    whole = Opening(week=_whole_days(opening.week), dates_off=opening.dates_off)
    return "local time unknown" if _why_closed(whole, EVERYWHERE, at) else None


def _whole_days(week: Week) -> Week:
    """What can be said of a week without a clock: hours of a day are over somewhere at every moment."""
    return tuple(day if day == ALWAYS else () for day in week)


def _spoken(day: Day) -> str:
    spans = ", ".join(f"{s // 60:02}:{s % 60:02}-{e // 60:02}:{e % 60:02}" for s, e in day)
    return f"open {spans}" if spans else "closed all day"

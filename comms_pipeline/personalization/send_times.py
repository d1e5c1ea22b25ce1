"""When each contact's message is due: at the hour of their own day at which they read. Columns only, no clock.

Hours are counted forward from instants, never back from wall clocks: an hour that a change of clocks leaves out is
not there to be chosen, and one that comes twice is chosen the first time.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import polars as pl

PRIOR_MESSAGES = 10.0
"""How many messages' worth of reading the organisation's hours weigh against a contact's own."""
_HOURS = 24
# Every zone's offset, and every change of it, is a multiple of this.
_STEP = timedelta(minutes=15)
_MOMENT = pl.Datetime("us", "UTC")


def due_times(
    contacts: pl.DataFrame,
    own_hours: pl.DataFrame,
    common_hours: pl.DataFrame,
    *,
    start: datetime,
    end: datetime,
    default_zone: str,
) -> pl.Series:
    """`due_at` (UTC) for each of `contacts` (`contact_id`, `time_zone`), in [start, end].

    It is the beginning of the contact's best hour, or `start` when that hour has begun already. `own_hours`
    (`contact_id`, `local_hour`, `weight`) are when they read, `common_hours` (`local_hour`, `weight`) when everybody
    does: best is what has the highest sum of own weight and common share times `PRIOR_MESSAGES`, the earliest of
    equals. Contacts without a zone, or of one that Polars does not know, live by `default_zone`.
    """
    moments = _moments({*contacts["time_zone"].drop_nulls().unique(), default_zone}, start, end)
    moments = moments.join(_common_worth(common_hours), on="local_hour")
    known = moments["time_zone"].unique().implode()
    placed = contacts.select(
        "contact_id",
        time_zone=pl.when(pl.col("time_zone").is_in(known)).then("time_zone").otherwise(pl.lit(default_zone)),
    )
    common = _best(moments, "time_zone").select("time_zone", "due_at", "worth")
    # Only hours with a weight of the contact's own can be better than the best common one.
    own = own_hours.join(placed, on="contact_id").join(moments, on=["time_zone", "local_hour"])
    own = _best(own.with_columns(worth=pl.col("worth") + pl.col("weight")), "contact_id")
    chosen = placed.join(common, on="time_zone", how="left", maintain_order="left").join(
        own.select("contact_id", "due_at", "worth"),
        on="contact_id",
        how="left",
        maintain_order="left",
        suffix="_own",
    )
    is_own = pl.col("worth_own") > pl.col("worth")
    return chosen.select(due_at=pl.when(is_own).then("due_at_own").otherwise("due_at"))["due_at"]


def _moments(zones: Iterable[str], start: datetime, end: datetime) -> pl.DataFrame:
    """The earliest instant in [start, end] of each `local_hour` in each `time_zone`, as `due_at`."""
    first = start.astimezone(UTC)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    next_step = midnight + _STEP * ((first - midnight) // _STEP + 1)
    steps = pl.datetime_range(next_step, end.astimezone(UTC), _STEP, time_unit="us", eager=True)
    instants = pl.DataFrame({"due_at": [first]}, schema={"due_at": _MOMENT}).vstack(
        steps.cast(_MOMENT).to_frame("due_at")
    )
    return pl.concat(_moments_of_zone(instants, zone) for zone in sorted(zones))


def _moments_of_zone(instants: pl.DataFrame, zone: str) -> pl.DataFrame:
    try:
        hours = instants["due_at"].dt.convert_time_zone(zone).dt.hour()
    except pl.exceptions.ComputeError:
        instants, hours = instants.clear(), pl.Series(dtype=pl.Int8)
    return (
        instants.with_columns(local_hour=hours)
        .group_by("local_hour")
        .agg(pl.col("due_at").min())
        .select("local_hour", "due_at", time_zone=pl.lit(zone))
    )


def _common_worth(common_hours: pl.DataFrame) -> pl.DataFrame:
    """What each of the 24 hours is worth to a contact without history: its share of `PRIOR_MESSAGES`.

    Shares are smoothed by one message an hour, so that no hour is worth nothing.
    """
    hours = pl.DataFrame({"local_hour": range(_HOURS)}, schema={"local_hour": pl.Int8})
    found = common_hours.select(pl.col("local_hour").cast(pl.Int8), "weight")
    smoothed = pl.col("weight").fill_null(0.0) + 1.0
    return hours.join(found, on="local_hour", how="left").select(
        "local_hour", worth=PRIOR_MESSAGES * smoothed / smoothed.sum()
    )


def _best(moments: pl.DataFrame, key: str) -> pl.DataFrame:
    """For each `key` the row worth most, the earliest of equals."""
    ordered = moments.sort("worth", "due_at", descending=[True, False])
    return ordered.unique(key, keep="first", maintain_order=True)

"""Sections on what people did with a send: when they opened and clicked, and which links."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from comms_pipeline.reports.charts.course import Course, Series
from comms_pipeline.reports.charts.heat_map import DAYS, Cell, HeatMap
from comms_pipeline.reports.document import Row, Section, table
from comms_pipeline.reports.phrases import count, plural
from comms_pipeline.reports.rates import total
from comms_pipeline.reports.reading import Values

_MOST_STEPS = 72
_STEP_HOURS = (1, 2, 3, 6, 12, 24, 72, 168)


def course_section(acts: Sequence[Values]) -> Section | None:
    """First opens and clicks by people over time. `acts`: hour (since 1970, UTC), opened, clicked."""
    if not acts:
        return None
    step = _step_hours(acts[-1]["hour"] - acts[0]["hour"] + 1)
    first, last = acts[0]["hour"] // step, acts[-1]["hour"] // step
    opened, clicked = _by_step(acts, "opened", step), _by_step(acts, "clicked", step)
    steps = range(first, last + 1)
    moments = tuple(_moment(each * step, step) for each in steps)
    opens = tuple(opened.get(each, 0) for each in steps)
    clicks = tuple(clicked.get(each, 0) for each in steps)
    unit = "hour" if step == 1 else f"{step} hours" if step < 24 else plural(step // 24, "day")
    busiest = max(range(len(moments)), key=lambda position: opens[position] + clicks[position])
    rows = tuple(
        Row(cells=(moment, count(opens[position]), count(clicks[position])))
        for position, moment in enumerate(moments)
        if opens[position] or clicks[position]
    )
    chart = Course(
        title=f"Opens and clicks by people, per {unit}",
        description=f"{sum(opens):,} messages opened and {sum(clicks):,} clicked, "
        f"{moments[0]} to {moments[-1]} UTC. Most in the {unit} from {moments[busiest]}.",
        moments=moments,
        ticks=_ticks([each * step for each in steps], step),
        series=(Series(name="opened", counts=opens), Series(name="clicked", counts=clicks)),
        is_cumulated=True,
    )
    return Section(
        heading="When people opened and clicked",
        lead=f"Each message counts once, at its first open and first click by a person. Most came in the {unit} from "
        f"{moments[busiest]} UTC: {plural(opens[busiest], 'open')} and {plural(clicks[busiest], 'click')}.",
        charts=(chart,),
        tables=(table("Time course", ("From (UTC)",), ("Opened", "Clicked"), rows, is_folded=True),),
    )


def _step_hours(hours: int) -> int:
    """The shortest handy step at which so many hours make no more than 72 steps."""
    fitting = [step for step in _STEP_HOURS if hours <= step * (_MOST_STEPS - 1)]
    return fitting[0] if fitting else -(-hours // (_MOST_STEPS - 1))


def _by_step(acts: Sequence[Values], name: str, step: int) -> Mapping[int, int]:
    counts: dict[int, int] = {}
    for act in acts:
        counts[act["hour"] // step] = counts.get(act["hour"] // step, 0) + act[name]
    return counts


def _moment(hour: int, step: int) -> str:
    at = datetime.fromtimestamp(hour * 3600, UTC)
    return f"{at.day} {at:%b}" if step >= 24 else f"{at.day} {at:%b %H:%M}"


def _ticks(hours: Sequence[int], step: int) -> tuple[int, ...]:
    """Midnights; where there are hardly any, every sixth hour; of whole days, each. Always at least the first."""
    for every in (24, 6, step):
        found = tuple(position for position, hour in enumerate(hours) if hour % every == 0)
        if len(found) > 2:
            return found
    return (0,)


def hours_section(hours: Sequence[Values]) -> Section | None:
    """At which hours of their own week people read. `hours`: weekday, hour, people."""
    if not hours:
        return None
    most = max(hours, key=lambda row: row["people"])
    chart = HeatMap(
        title="First opens and clicks by weekday and local hour",
        description=f"Most on {DAYS[most['weekday'] - 1]} at {most['hour']:02}:00, {most['people']:,} of "
        f"{total(hours, 'people'):,} messages.",
        cells=tuple(
            Cell(
                weekday=row["weekday"],
                hour=row["hour"],
                amount=row["people"],
                text=plural(row["people"], "message"),
            )
            for row in hours
        ),
    )
    rows = tuple(
        Row(cells=(DAYS[row["weekday"] - 1], f"{row['hour']:02}:00", count(row["people"]))) for row in hours
    )
    return Section(
        heading="At which hour of their week",
        lead=f"By the recipients' own clocks; UTC where their time zone is not known. Busiest: "
        f"{DAYS[most['weekday'] - 1]}, {most['hour']:02}:00.",
        charts=(chart,),
        tables=(table("Weekday and hour", ("Day", "Hour"), ("Messages",), rows, is_folded=True),),
    )


def links_section(links: Sequence[Values]) -> Section | None:
    """What people clicked, beside what machines did."""
    if not links:
        return None
    rows = tuple(Row(cells=(row["url"], count(row["people"]), count(row["clicks"]))) for row in links)
    return Section(
        heading="Links",
        tables=(table("Links", ("Link",), ("Clicked by people", "All clicks"), rows),),
        notes=(
            "By people: messages in which a person clicked it. All clicks include repeated ones and machines.",
        ),
    )

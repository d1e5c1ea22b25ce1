"""The sections of a weekly digest: alerts, sends, list growth, arrivals, exclusions, hours."""

from collections.abc import Sequence
from itertools import groupby
from statistics import median

from comms_pipeline.reports.charts.bars import Bar, Bars
from comms_pipeline.reports.charts.course import Course, Series
from comms_pipeline.reports.charts.heat_map import DAYS, Cell, HeatMap
from comms_pipeline.reports.document import Row, Section, table
from comms_pipeline.reports.phrases import count, percent, plural, points, share, signed
from comms_pipeline.reports.rates import HEADLINES, Rate, total, totals
from comms_pipeline.reports.reach import domains_section, exclusions_table
from comms_pipeline.reports.reading import Values

_DELIVERED, _OPENED, _CLICKED, _UNSUBSCRIBED, _COMPLAINED, _BOUNCED = HEADLINES

_MOST_BOUNCED = 0.02
_MOST_COMPLAINED = 0.001
"""Gmail and Yahoo ask for less (support.google.com/mail/answer/81126), and block from 0.3% on."""
_DROP = 0.03
_FEWEST_DELIVERED = 50
"""Before rates of a domain or an hour, or a rank, say anything."""


def alerts_section(ours: Sequence[Values], earlier: Sequence[Values], domains: Sequence[Values]) -> Section:
    """What of the week's deliverability somebody should look into."""
    notes = [note for channel, rows in _by_channel(ours).items() for note in _alerts(channel, rows, earlier)]
    notes += [
        f"{row['domain']} ({row['channel']}): {percent(row['bounced'] / row['accepted'])} of "
        f"{plural(row['accepted'], 'message')} bounced, over all time."
        for row in domains
        if row["accepted"] >= _FEWEST_DELIVERED and row["bounced"] / row["accepted"] > 2 * _MOST_BOUNCED
    ]
    lead = f"{plural(len(notes), 'thing')} to look into." if notes else "Nothing conspicuous."
    return Section(heading="Deliverability alerts", lead=lead, notes=tuple(notes))


def _alerts(channel: str, rows: Sequence[Values], earlier: Sequence[Values]) -> list[str]:
    counts = totals(rows)
    bounced, complained, delivered = _BOUNCED.of(counts), _COMPLAINED.of(counts), _DELIVERED.of(counts)
    usual = _usual(_DELIVERED, channel, earlier)
    notes = []
    if bounced is not None and bounced > _MOST_BOUNCED:
        notes.append(f"{channel}: {percent(bounced)} bounced; keep it below {percent(_MOST_BOUNCED)}.")
    if complained is not None and complained > _MOST_COMPLAINED:
        notes.append(
            f"{channel}: {percent(complained)} complained; keep it below {percent(_MOST_COMPLAINED)}."
        )
    if delivered is not None and usual is not None and usual - delivered > _DROP:
        notes.append(f"{channel}: {percent(delivered)} delivered, usual are {percent(usual)}.")
    return notes


def _by_channel(rows: Sequence[Values]) -> dict[str, list[Values]]:
    ordered = sorted(rows, key=lambda row: str(row["channel"]))
    return {channel: list(found) for channel, found in groupby(ordered, key=lambda row: str(row["channel"]))}


def _usual(rate: Rate, channel: str, earlier: Sequence[Values]) -> float | None:
    """The median of the channel's earlier sends."""
    known = [rate.of(row) for row in earlier if row["channel"] == channel]
    values = [value for value in known if value is not None]
    return median(values) if values else None


def sends_section(ours: Sequence[Values], earlier: Sequence[Values]) -> Section:
    """Each send of the week beside what is usual on its channel; the best and the worst by clicks."""
    if not ours:
        return Section(heading="Sends of the week", lead="No send went out this week.")
    rows = tuple(
        Row(
            cells=(
                row["send_id"],
                row["channel"],
                count(row["accepted"]),
                *(
                    _beside(rate.of(row), _usual(rate, row["channel"], earlier))
                    for rate in (_DELIVERED, _OPENED, _CLICKED)
                ),
                percent(_UNSUBSCRIBED.of(row)),
            )
        )
        for row in ours
    )
    clicked = sorted(
        ((_CLICKED.of(row) or 0.0, row) for row in ours if row["delivered"] >= _FEWEST_DELIVERED),
        key=lambda each: -each[0],
    )
    numbers = ("Accepted", "Delivered", "Opened", "Clicked", "Unsubscribed")
    return Section(
        heading="Sends of the week",
        lead=_best_and_worst(clicked),
        charts=(_clicks_chart(clicked),) if len(clicked) > 1 else (),
        tables=(table("Sends", ("Send", "Channel"), numbers, rows),),
        notes=(
            "In brackets: points from the median of the channel's sends in the eight weeks before. "
            "Opened and clicked: by people.",
        ),
    )


def _beside(value: float | None, usual: float | None) -> str:
    if value is None or usual is None:
        return percent(value)
    return f"{percent(value)} ({points(value - usual).removesuffix(' points')})"


def _best_and_worst(clicked: Sequence[tuple[float, Values]]) -> str:
    if not clicked:
        return ""
    rate, best = clicked[0]
    if len(clicked) == 1:
        return f"{best['send_id']} was clicked by {percent(rate)}."
    least, worst = clicked[-1]
    return (
        f"Best: {best['send_id']}, clicked by {percent(rate)}. "
        f"Worst: {worst['send_id']}, clicked by {percent(least)}."
    )


def _clicks_chart(clicked: Sequence[tuple[float, Values]]) -> Bars:
    names = [f"{row['send_id']}, {row['channel']}" for _, row in clicked]
    return Bars(
        title="Click rate by send",
        description=". ".join(
            f"{name}: {percent(rate)}" for name, (rate, _) in zip(names, clicked, strict=True)
        ),
        bars=tuple(
            Bar(name=name, amount=rate, text=percent(rate))
            for name, (rate, _) in zip(names, clicked, strict=True)
        ),
    )


def growth_section(days: Sequence[Values]) -> Section | None:
    """Contacts won and lost, day by day over nine weeks."""
    if all(day["contacts_total"] is None for day in days):
        return None
    week = [day for day in days if day["is_of_week"]]
    lost = {name: total(week, name) for name in ("unsubscribed", "complained", "bounced", "erased")}
    won = total(week, "new_contacts")
    told = ", ".join(f"{number:,} {name}" for name, number in lost.items() if number)
    chart = Course(
        title="Contacts won and lost, per day",
        description=f"This week {won:,} new, {sum(lost.values()):,} lost; eight weeks before it for comparison.",
        moments=tuple(f"{day['day'].day} {day['day']:%b}" for day in days),
        ticks=tuple(position for position, day in enumerate(days) if day["day"].isoweekday() == 1),
        series=(
            Series(name="new", counts=tuple(day["new_contacts"] for day in days)),
            Series(name="lost", counts=tuple(sum(day[name] for name in lost) for day in days)),
        ),
    )
    rows = tuple(
        Row(
            cells=(
                f"{day['day']:%a} {day['day'].day} {day['day']:%b}",
                count(day["new_contacts"]),
                *(count(day[name]) for name in lost),
                signed(day["net"]),
            )
        )
        for day in week
    )
    names = ("New", "Unsubscribed", "Complained", "Bounced", "Erased", "Net")
    return Section(
        heading="List growth",
        lead=f"{plural(won, 'new contact')}; lost: {told or 'nobody'}.",
        charts=(chart,),
        tables=(table("The week", ("Day",), names, rows, is_folded=True),),
    )


def arrivals_section(domains: Sequence[Values]) -> Section | None:
    """How well domains take what the organisation sends, over all time."""
    return domains_section(domains, "Over all time; e-mail by domain, phones by calling code.")


def exclusions_section(rows: Sequence[Values]) -> Section | None:
    """What kept contacts out of the week's sends."""
    if not rows:
        return None
    return Section(
        heading="Top exclusions",
        lead="Summed over the week's sends and channels: who was excluded twice counts twice.",
        tables=(exclusions_table(rows),),
    )


def hours_section(hours: Sequence[Values]) -> Section | None:
    """At which hours of their week recipients are best reached."""
    known = [row for row in hours if row["delivered"] >= _FEWEST_DELIVERED]
    if not known:
        return None
    best = max(known, key=lambda row: row["human_opened"] / row["delivered"])
    named = f"{DAYS[best['weekday'] - 1]} at {best['hour']:02}:00"
    rate = percent(best["human_opened"] / best["delivered"])
    chart = HeatMap(
        title="Open rate by the weekday and local hour of delivery",
        description=f"Best: {named}, {rate} opened by people.",
        cells=tuple(
            Cell(
                weekday=row["weekday"],
                hour=row["hour"],
                amount=row["human_opened"] / row["delivered"],
                text=f"{percent(row['human_opened'] / row['delivered'])} of {row['delivered']:,}",
            )
            for row in known
        ),
        is_from_least=True,
    )
    rows = tuple(
        Row(
            cells=(
                DAYS[row["weekday"] - 1],
                f"{row['hour']:02}:00",
                count(row["delivered"]),
                percent(share(row["human_opened"], row["delivered"])),
            )
        )
        for row in known
    )
    return Section(
        heading="When e-mail is read best",
        lead=f"By the recipients' own clocks, over all time: {named}, {rate} opened by people.",
        charts=(chart,),
        tables=(table("Hours", ("Day", "Hour"), ("Delivered", "Opened"), rows, is_folded=True),),
        notes=(f"Hours with fewer than {_FEWEST_DELIVERED} messages delivered are left out.",),
    )

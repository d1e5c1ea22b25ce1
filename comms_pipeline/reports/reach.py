"""Sections on whom a send reached and whom not: funnel, exclusions, refusals, domains, the books."""

from collections.abc import Sequence

from comms_pipeline.planning.stages import Funnel
from comms_pipeline.reports.charts.bars import Bar, Bars
from comms_pipeline.reports.charts.svg import Tone
from comms_pipeline.reports.document import Row, Section, Table, table
from comms_pipeline.reports.phrases import count, moment, percent, plural, share
from comms_pipeline.reports.rates import total
from comms_pipeline.reports.reading import Values
from comms_pipeline.reports.reasons import advice, reason

_SHOWN = 12
_WORST_FROM = 0.02
"""Below this, providers see no fault in bounces."""

_LATER_STEPS = (
    ("delivered", "delivered"),
    ("human_opened", "opened by people"),
    ("human_clicked", "clicked by people"),
    ("converted", "converted"),
)
_TONES = {
    "excluded": Tone.QUIET,
    "cancelled": Tone.QUIET,
    "waiting": Tone.QUIET,
    "deferred": Tone.WARN,
    "unknown": Tone.WARN,
    "refused": Tone.BAD,
}


def funnel_steps(funnel: Funnel) -> dict[str, int]:
    """The funnel's counts in the order people read them."""
    return {
        "audience": funnel.audience,
        "excluded": funnel.excluded,
        "messages": funnel.messages,
        "accepted": funnel.accepted,
        "refused": funnel.refused,
        "deferred": funnel.deferred,
        "cancelled": funnel.cancelled,
        "unknown": funnel.unknown,
        "waiting": funnel.waiting,
    }


def all_steps(funnel: Funnel, performance: Sequence[Values]) -> dict[str, int]:
    """The funnel's counts, and what became of the messages that went out."""
    return funnel_steps(funnel) | {name: total(performance, key) for key, name in _LATER_STEPS}


def funnel_section(funnel: Funnel, performance: Sequence[Values]) -> Section:
    """From the audience to what people did; steps that nobody ended in are left out."""
    steps = [
        (name.capitalize(), number, _TONES.get(name, Tone.PLAIN))
        for name, number in all_steps(funnel, performance).items()
        if number or name in {"audience", "messages"}
    ]
    chart = Bars(
        title="Funnel of the send",
        description=". ".join(f"{name}: {number:,}" for name, number, _ in steps),
        bars=tuple(
            Bar(
                name=name,
                amount=number,
                text=f"{number:,} · {percent(share(number, funnel.audience))}",
                tone=tone,
            )
            for name, number, tone in steps
        ),
    )
    rows = tuple(
        Row(cells=(name, count(number), percent(share(number, funnel.audience)))) for name, number, _ in steps
    )
    return Section(
        heading="Where everybody ended up",
        lead=sums(funnel),
        charts=(chart,),
        tables=(table("Funnel", ("Step",), ("Number", "Share of the audience"), rows, is_folded=True),),
    )


def sums(funnel: Funnel) -> str:
    """The sums that must hold, in words."""
    return (
        f"{funnel.audience:,} contacts = {funnel.messages:,} messages + {funnel.excluded:,} excluded. "
        f"{funnel.messages:,} messages = {funnel.accepted:,} accepted + {funnel.refused:,} refused + "
        f"{funnel.deferred:,} deferred + {funnel.cancelled:,} cancelled + {funnel.unknown:,} unknown + "
        f"{funnel.waiting:,} waiting."
    )


def exclusions_section(rows: Sequence[Values], evidence: Sequence[Values], excluded: int) -> Section | None:
    """Why contacts got no message, and what to do about it."""
    if not rows:
        return None
    chart = Bars(
        title="Contacts excluded, by reason",
        description=". ".join(f"{reason(row['rule_id'])}: {row['contacts']:,}" for row in rows[:_SHOWN]),
        bars=tuple(
            Bar(
                name=reason(row["rule_id"]),
                amount=row["contacts"],
                text=f"{row['contacts']:,} · {percent(share(row['contacts'], excluded))}",
                tone=Tone.QUIET,
            )
            for row in rows[:_SHOWN]
        ),
    )
    seen = tuple(
        Row(cells=(row["rule_id"], row["evidence_kind"], count(row["contacts"]))) for row in evidence
    )
    return Section(
        heading="Why contacts were excluded",
        lead=f"{plural(excluded, 'contact')} got no message. More than one rule may speak against the same contact; "
        "where just one does, what it asks for is all that is missing.",
        charts=(chart,),
        tables=(
            exclusions_table(rows),
            table("Evidence", ("Rule", "Evidence"), ("Contacts",), seen, is_folded=True),
        ),
    )


def exclusions_table(rows: Sequence[Values]) -> Table:
    """Reasons with what to do; `rows` have rule_id, contacts and sole_contacts."""
    return table(
        "Reasons and remedies",
        ("Reason", "What to do"),
        ("Contacts", "By it alone"),
        tuple(
            Row(
                cells=(
                    reason(row["rule_id"]),
                    advice(row["rule_id"]),
                    count(row["contacts"]),
                    count(row["sole_contacts"]),
                )
            )
            for row in rows
        ),
    )


def refusals_section(rows: Sequence[Values]) -> Section | None:
    """Why providers, or our own last check, refused messages."""
    if not rows:
        return None
    cells = tuple(Row(cells=(row["reason"], row["code"], count(row["messages"]))) for row in rows)
    return Section(
        heading="Why messages were refused",
        tables=(table("Refusals", ("Reason", "Code"), ("Messages",), cells),),
    )


def domains_table(rows: Sequence[Values]) -> tuple[Table, Values | None]:
    """Delivery by domain, and the worst: what bounces most of all that bounces more than the whole does."""
    overall = share(total(rows, "bounced"), total(rows, "accepted")) or 0
    worst = max(
        (row for row in rows if row["bounced"] / row["accepted"] > max(overall, _WORST_FROM)),
        key=lambda row: (row["bounced"] / row["accepted"], row["accepted"]),
        default=None,
    )
    cells = tuple(
        Row(
            cells=(
                f"{row['domain']} (worst)" if row is worst else row["domain"],
                row["channel"],
                count(row["accepted"]),
                percent(row["delivered"] / row["accepted"]),
                percent(row["bounced"] / row["accepted"]),
                count(row["complained"]),
            ),
            tone=Tone.BAD if row is worst else Tone.PLAIN,
        )
        for row in rows
    )
    numbers = ("Accepted", "Delivered", "Bounced", "Complaints")
    return table("By domain", ("Domain", "Channel"), numbers, cells), worst


def domains_section(rows: Sequence[Values], lead: str) -> Section | None:
    """How well each domain takes what it is sent."""
    if not rows:
        return None
    tabled, worst = domains_table(rows)
    chart = Bars(
        title="Messages accepted, by domain",
        description=". ".join(
            f"{row['domain']}: {row['accepted']:,}, {percent(row['delivered'] / row['accepted'])} delivered"
            for row in rows[:_SHOWN]
        ),
        bars=tuple(
            Bar(
                name=row["domain"],
                amount=row["accepted"],
                text=f"{percent(row['delivered'] / row['accepted'])} delivered",
                tone=Tone.BAD if row is worst else Tone.PLAIN,
            )
            for row in rows[:_SHOWN]
        ),
    )
    told = (
        f" Worst: {worst['domain']}, where {percent(worst['bounced'] / worst['accepted'])} bounced."
        if worst
        else " No domain bounces conspicuously."
    )
    return Section(heading="Where messages arrived", lead=lead + told, charts=(chart,), tables=(tabled,))


def books_section(books: Values | None) -> Section:
    """Whether plan, ledger, lake and the providers' record agree."""
    heading = "Do the books balance?"
    if books is None:
        return Section(heading=heading, lead="Not reconciled yet: the send has not gone out, or still goes.")
    lead = (
        f"{books['planned']:,} planned = {books['accepted']:,} accepted + {books['refused']:,} refused + "
        f"{books['deferred']:,} deferred + {books['cancelled']:,} cancelled + {books['unknown']:,} unknown + "
        f"{books['waiting']:,} waiting. "
    )
    agrees = (
        "Plan, ledger and the providers' record agree."
        if books["is_balanced"]
        else "They do not agree: see the check is_balanced of campaign/reconciliation."
    )
    rows = tuple(
        Row(cells=(what, who, count(books[key])))
        for what, who, key in (
            ("Planned", "lake", "planned"),
            ("Queued", "ledger", "enqueued"),
            ("Accepted", "lake", "accepted"),
            ("Accepted, and the provider told of it", "provider's events", "confirmed"),
            ("Refused or cancelled, yet delivered", "provider's events", "contradicted"),
            ("Still open", "ledger", "held"),
        )
    )
    return Section(
        heading=heading,
        lead=lead + agrees,
        tables=(table("The books", ("What", "Who counts"), ("Messages",), rows),),
        notes=(f"Reconciled {moment(books['reconciled_at'])}.",),
    )

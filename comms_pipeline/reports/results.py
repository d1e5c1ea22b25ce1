"""Sections on what a send brought: channels and variants, costs, and what to read with care."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from comms_pipeline.planning.stages import Funnel
from comms_pipeline.reports.document import Row, Section, table
from comms_pipeline.reports.phrases import NOTHING, count, money, percent, plural, share
from comms_pipeline.reports.rates import total
from comms_pipeline.reports.reading import Values

_SHARES = (
    ("delivered", "accepted"),
    ("human_opened", "delivered"),
    ("human_clicked", "delivered"),
    ("unsubscribed", "delivered"),
)
_NAMES = ("Messages", "Accepted", "Delivered", "Opened", "Clicked", "Unsubscribed")

_FEW = 400
"""With fewer messages a rate is uncertain by five points and more."""
_SETTLED_AFTER = timedelta(hours=72)
_SILENT = {"sms": "Texts", "whatsapp": "WhatsApp messages", "messenger": "Messenger messages"}


def performance_section(rows: Sequence[Values]) -> Section | None:
    """Counts and rates for each channel and variant."""
    if not rows:
        return None
    cells = tuple(
        Row(
            cells=(
                row["channel"],
                row["variant"] or NOTHING,
                count(row["messages"]),
                count(row["accepted"]),
                *(f"{count(row[part])} · {percent(share(row[part], row[whole]))}" for part, whole in _SHARES),
            )
        )
        for row in rows
    )
    return Section(
        heading="By channel and variant",
        tables=(table("Channels and variants", ("Channel", "Variant"), _NAMES, cells),),
        notes=(
            "Opened and clicked: by people. Delivered is a share of the accepted, the rest of the delivered.",
        ),
    )


def costs_section(rows: Sequence[Values]) -> Section | None:
    """What the send cost and brought, by lane."""
    if not rows:
        return None
    cells = tuple(
        Row(
            cells=(
                row["lane"],
                count(row["messages"]),
                count(row["segments"]),
                money(row["cost_micros"], row["currency"]),
                money(row["cost_per_delivered_micros"], row["currency"]),
                money(row["cost_per_human_click_micros"], row["currency"]),
                count(row["converted"]),
                money(row["revenue_micros"], row["revenue_currency"]),
                NOTHING if row["return_on_cost"] is None else f"{row['return_on_cost']:,.1f}×",
            )
        )
        for row in rows
    )
    numbers = ("Messages", "Segments", "Cost", "Per delivery", "Per click", "Converted", "Revenue", "Return")
    notes = [
        "Return: revenue over cost. Costs are by the prices of the settings, not by the providers' bills."
    ]
    unpriced = [row["lane"] for row in rows if row["cost_micros"] is None]
    if unpriced:
        notes.append(f"No price is set for {', '.join(unpriced)} (COMMS_PRICES).")
    return Section(
        heading="What it cost and brought",
        tables=(table("Costs", ("Lane",), numbers, cells),),
        notes=tuple(notes),
    )


def care_section(
    funnel: Funnel, performance: Sequence[Values], *, earlier: int, due_at: datetime, now: datetime
) -> Section:
    """What the figures cannot tell, and why."""
    delivered, opened = total(performance, "delivered"), total(performance, "opened")
    machines = opened - total(performance, "human_opened")
    notes = []
    if opened:
        notes.append(
            f"{plural(machines, 'message')} of {opened:,} opened ({percent(share(machines, opened))}) were opened by "
            "machines alone: mail scanners and privacy proxies. They are not counted as opened by people; some people "
            "behind such proxies are missed."
        )
    if 0 < delivered < _FEW:
        notes.append(
            f"Only {plural(delivered, 'message was', 'messages were')} delivered. A rate of so few may differ by "
            f"{100 / delivered**0.5:.0f} points by chance alone."
        )
    notes += [
        f"{_SILENT[channel]} tell of no opens: their open rate is 0 whatever people do."
        for channel in sorted({row["channel"] for row in performance} & set(_SILENT))
    ]
    if funnel.messages and not funnel.is_settled:
        open_ = funnel.waiting + funnel.deferred + funnel.unknown
        notes.append(f"{plural(open_, 'message is', 'messages are')} still open: the figures will change.")
    elif now - due_at < _SETTLED_AFTER:
        notes.append("The send is less than three days old: people go on opening and clicking.")
    if earlier < 3:
        notes.append(
            f"There are {plural(earlier, 'earlier send')} through the same channels: hardly a comparison."
        )
    return Section(heading="Read with care", notes=tuple(notes) or ("Nothing in particular.",))

"""`comms sends`, `queue`, `stop`, `start`, `dead-letters`, `quotas`, `worker`: what operations do while things run."""

import asyncio
import re
import signal
from typing import Annotated

import typer

from comms_pipeline.cli.actor import actor
from comms_pipeline.cli.console import out, table
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.dispatch import alerts
from comms_pipeline.dispatch import operations as dispatch
from comms_pipeline.domain.errors import CommsError, NotFound
from comms_pipeline.ledger import limits, operations, sends

_SENDS_SHOWN = 50
_SCOPE = re.compile(r"all|(?:channel|lane|organisation):[a-z0-9:-]+")
_SCOPE_HELP = "`all`, `channel:sms`, `lane:email:sendgrid` or `organisation:NAME`."
_URGENT = 1
_STYLES = {alerts.Severity.ERROR: "red", alerts.Severity.WARNING: "yellow"}

SendId = Annotated[str, typer.Argument(help="The send's id; see `comms sends list`.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit trail.")]
OfSend = Annotated[str | None, typer.Option("--send", help="Of this send only.")]
Scope = Annotated[str, typer.Argument(help=_SCOPE_HELP)]


class NotPossible(CommsError):
    """What was asked for does not fit the state of things."""


def list_sends() -> None:
    """The latest sends with their state, and why they are in it."""
    stores = open_stores()
    with stores.ledger() as ledger:
        latest = sends.sends(ledger, _SENDS_SHOWN)
    table(
        None,
        ["send", "status", "due", "completed", "reason"],
        [
            (
                send.send_id,
                send.status,
                f"{send.due_at:%Y-%m-%d %H:%M}",
                f"{send.completed_at:%Y-%m-%d %H:%M}" if send.completed_at else "",
                send.status_reason,
            )
            for send in latest
        ],
    )


def pause(send: SendId, reason: Reason = "by hand") -> None:
    """Hold a send: nothing more is claimed; what is under way ends as it ends."""
    stores = open_stores()
    with stores.ledger() as ledger, ledger.transaction():
        found = sends.get_send(ledger, send)
        if not operations.pause_send(ledger, send, actor=actor(), reason=reason):
            raise _not_possible(found, "paused")
    out.print(f"{send} is paused; `comms sends resume {send}` goes on")


def resume(send: SendId) -> None:
    """Go on with a paused or failed send."""
    stores = open_stores()
    with stores.ledger() as ledger, ledger.transaction():
        found = sends.get_send(ledger, send)
        if not operations.resume_send(ledger, send, actor=actor()):
            raise _not_possible(found, "resumed")
    out.print(f"{send} goes on; `comms up` takes it up within seconds")


def cancel(send: SendId, reason: Reason = "by hand") -> None:
    """Give up what a send has not sent yet. What is under way ends as it ends; this cannot be undone."""
    stores = open_stores()
    with stores.ledger() as ledger:
        found = sends.get_send(ledger, send)
        cancelled = dispatch.cancel(ledger, send, actor=actor(), reason=reason)
    if cancelled is None:
        raise _not_possible(found, "cancelled")
    out.print(f"{send} is cancelled: {cancelled:,} messages will not be sent")


def resend(
    send: SendId,
    contact: Annotated[list[str] | None, typer.Option("--contact", help="This contact's id.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Whose message was refused.")] = False,
    dead: Annotated[bool, typer.Option("--dead", help="Whose message met faults to the end.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; otherwise only say how many.")] = False,
) -> None:
    """Send again, on purpose, to some of those whom a complete send had in its plan. They may get it twice."""
    from comms_pipeline.planning import resending
    from comms_pipeline.planning.resending import Whom

    if [bool(contact), refused, dead].count(True) != 1:
        raise NotPossible("resend", "it must be clear to whom", "Pass one of --contact, --refused and --dead")
    whom = Whom.REFUSED if refused else Whom.DEAD if dead else Whom.CONTACTS
    stores = open_stores()
    chosen = resending.choose(stores, send, whom, contact or [])
    if not chosen:
        out.print(f"{send}: there is nobody to send to again")
    elif not yes:
        out.print(f"{send}: {len(chosen):,} contacts would be sent to again; --yes does it")
    else:
        created = resending.order(stores, send, chosen, actor=actor())
        out.print(f"{created}: {len(chosen):,} contacts are sent to again; `comms up` starts it")


def stop(scope: Scope, reason: Reason = "by hand") -> None:
    """Kill switch: send nothing more of a scope until `comms start`, whatever the campaign."""
    _require_scope(scope)
    stores = open_stores()
    with stores.ledger() as ledger, ledger.transaction():
        is_new = operations.put_stop(ledger, scope, actor=actor(), reason=reason)
    out.print(f"{scope} is stopped" if is_new else f"{scope} was stopped already")


def start(scope: Scope) -> None:
    """Lift a kill switch."""
    _require_scope(scope)
    stores = open_stores()
    with stores.ledger() as ledger, ledger.transaction():
        if not operations.lift_stop(ledger, scope, actor=actor()):
            raise NotFound(f"stop of {scope}", "there is none", "See `comms queue`")
    out.print(f"{scope} sends again")


def queue() -> None:
    """What waits, is under way, in doubt and dead, per lane; the kill switches that are on; what to look at."""
    from rich.markup import escape

    stores = open_stores()
    with stores.ledger() as ledger:
        rows = operations.queue(ledger)
        stops = operations.stops(ledger)
        found = alerts.findings(ledger)
    table(
        None,
        ["lane", "status", "batches", "messages", "oldest, s", "average, s"],
        [
            (
                row.lane,
                row.status,
                row.batches,
                row.messages,
                round(row.oldest_seconds),
                round(row.average_seconds, 2) if row.average_seconds is not None else None,
            )
            for row in rows
        ],
    )
    for each in stops:
        out.print(
            f"[bold]stopped[/bold] {each.scope} since {each.stopped_at:%Y-%m-%d %H:%M}: {escape(each.reason)}"
        )
    for finding in found:
        style = _STYLES[finding.severity]
        what = escape(
            f"{finding.subject}: {finding.what}, since {finding.since:%Y-%m-%d %H:%M}. {finding.fix}."
        )
        out.print(f"[{style}]{finding.severity}[/{style}] {what}")


def dead_letters(send: OfSend = None) -> None:
    """Batches whose every allowed attempt failed in passing."""
    stores = open_stores()
    with stores.ledger() as ledger:
        letters = operations.dead_letters(ledger, send)
    table(
        None,
        ["batch", "send", "lane", "messages", "last error", "since"],
        [
            (
                letter.batch_id,
                letter.send_id,
                letter.lane,
                letter.message_count,
                letter.last_error,
                f"{letter.created_at:%Y-%m-%d %H:%M}",
            )
            for letter in letters
        ],
    )


def retry_dead(
    send: OfSend = None,
    batch: Annotated[list[int] | None, typer.Option("--batch", help="Only these batches.")] = None,
) -> None:
    """Queue dead letters again, all of them or some."""
    stores = open_stores()
    with stores.ledger() as ledger:
        count = dispatch.retry_dead(ledger, actor=actor(), send_id=send, batch_ids=batch or None)
    out.print(f"{count:,} messages are queued again; `comms up` sends them")


def set_quota(
    scope: Scope,
    period: Annotated[str, typer.Argument(help="`hour` or `day` (UTC).")],
    messages: Annotated[int, typer.Argument(help="At most so many messages; -1 lifts the quota.")],
) -> None:
    """Limit how many messages an organisation or a lane may send per hour or day; the rest waits."""
    if not re.fullmatch(r"(?:lane|organisation):[a-z0-9:-]+", scope):
        raise NotPossible(scope, "quotas are of lanes and organisations", "Write organisation:NAME")
    if period not in ("hour", "day"):
        raise NotPossible(period, "there is no such period", "Write hour or day")
    stores = open_stores()
    with stores.ledger() as ledger, ledger.transaction():
        limits.put_quota(ledger, scope, period, None if messages < 0 else messages)
        operations.audit(ledger, actor(), "quota", scope, period=period, messages=messages)
    out.print(f"{scope}: " + ("no quota" if messages < 0 else f"{messages:,} messages per {period}"))


def list_quotas() -> None:
    """Quotas, and what is used of them."""
    stores = open_stores()
    with stores.ledger() as ledger:
        found = limits.quotas(ledger)
    table(
        None,
        ["scope", "period", "allowed", "used"],
        [(each.scope, each.period, each.allowed, each.used) for each in found],
    )


def worker(
    every: Annotated[
        bool, typer.Option("--all", help="Bulk sends too, not only transactional and emergency messages.")
    ] = False,
) -> None:
    """Send what cannot wait for a Dagster run, the moment it is queued. Ctrl-C finishes what is under way."""
    from comms_pipeline.dispatch.worker import Worker
    from comms_pipeline.ledger.batches import LEAST_PRIORITY
    from comms_pipeline.providers.registry import Providers

    stores = open_stores()
    lanes = [lane for lane in stores.providers.lanes if stores.providers.is_configured(lane)]
    if not lanes:
        raise NotPossible("worker", "no provider is configured", "See docs/configuration.md")

    async def serve() -> None:
        running = Worker(
            connect=stores.ledger,
            conninfo=stores.server.conninfo(),
            providers=lambda: Providers(stores.settings),
            lanes=lanes,
            least_priority=LEAST_PRIORITY if every else _URGENT,
            warming_up=stores.settings.warm_up,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, running.stop)
        await running.run()

    out.print(f"The worker serves {', '.join(lanes)}")
    asyncio.run(serve())


def _require_scope(scope: str) -> None:
    if not _SCOPE.fullmatch(scope):
        raise NotPossible(f"scope '{scope[:80]}'", "there is none of this form", f"Use {_SCOPE_HELP}")


def _not_possible(send: sends.Send, wanted: str) -> NotPossible:
    return NotPossible(
        f"send {send.send_id}", f"it is {send.status} and cannot be {wanted}", "See `comms sends list`"
    )

"""`comms status` and `comms doctor`: how things stand, and what is wrong. Changes nothing it can avoid."""

import stat
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import typer

from comms_pipeline.cli.console import out, table
from comms_pipeline.cli.installation import dagster_home
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.ledger import feeds, migrate, operations, sends
from comms_pipeline.ledger.feeds import Feed
from comms_pipeline.ledger.server import connect
from comms_pipeline.loader.watermarks import read_watermark
from comms_pipeline.settings import GENERATED_FILE, load_settings
from comms_pipeline.stores import Stores, find_server

_SENDS_SHOWN = 20


def status() -> None:
    """The latest sends, the queue, and what waits to be loaded."""
    stores = open_stores()
    with stores.ledger() as ledger, stores.lake.reader() as cursor:
        latest = sends.sends(ledger, _SENDS_SHOWN)
        queue = operations.queue(ledger)
        stops = operations.stops(ledger)
        waiting = {feed: feeds.waiting(ledger, feed, read_watermark(cursor, feed)) for feed in Feed}
    table(
        "Sends",
        ["send", "status", "due", "completed"],
        [
            (
                s.send_id,
                s.status,
                f"{s.due_at:%Y-%m-%d %H:%M}",
                f"{s.completed_at:%Y-%m-%d %H:%M}" if s.completed_at else "",
            )
            for s in latest
        ],
    )
    if queue:
        table(
            "Queue",
            ["lane", "status", "batches", "messages", "oldest, seconds"],
            [(q.lane, q.status, q.batches, q.messages, round(q.oldest_seconds)) for q in queue],
        )
    else:
        out.print("The queue is empty.")
    for stop in stops:
        out.print(f"Stopped: {stop.scope} since {stop.stopped_at:%Y-%m-%d %H:%M} ({stop.reason})")
    out.print(
        f"Waiting to be loaded: {waiting[Feed.LANDINGS]:,} webhooks, {waiting[Feed.OUTCOMES]:,} outcomes"
    )


@dataclass(frozen=True, kw_only=True)
class _Check:
    name: str
    run: Callable[[], str]
    is_required: bool = True


def doctor() -> None:
    """Check settings, database, lake, providers and services; exit code 1 when something required is wrong."""
    settings = load_settings()
    stores = Stores(settings)
    checks = [
        _Check(name="home", run=lambda: _home(stores)),
        _Check(name="secret key", run=lambda: f"{len(stores.secret)} characters"),
        _Check(name="Postgres", run=lambda: find_server(settings).address),
        _Check(name="ledger", run=lambda: _ledger(stores)),
        _Check(name="lake", run=lambda: _lake(stores)),
        _Check(name="Dagster home", run=lambda: _dagster(stores)),
        *(
            _Check(
                name=f"lane {lane}",
                run=partial(_lane, stores, lane),
                is_required=lane in stores.providers.needed_lanes,
            )
            for lane in stores.providers.lanes
        ),
        _Check(name="webhook key", run=lambda: _webhook_key(stores)),
        _Check(name="web app", run=lambda: _answers(f"{settings.public_url}/health"), is_required=False),
    ]
    if settings.sandbox:
        url = f"{settings.sandbox_url}/_sandbox/health"
        checks.append(_Check(name="sandbox", run=lambda: _answers(url), is_required=False))
    rows, is_well = [], True
    for check in checks:
        try:
            rows.append((check.name, "ok", check.run()))
        except CommsError as error:
            is_well = is_well and not check.is_required
            rows.append((check.name, "wrong" if check.is_required else "off", str(error)))
    _report(rows)
    raise typer.Exit(0 if is_well else 1)


_STYLES = {"ok": "green", "wrong": "red", "off": "yellow"}


def _report(rows: list[tuple[str, str, str]]) -> None:
    for name, verdict, detail in rows:
        out.print(f"{verdict:6}", style=_STYLES[verdict], end="")
        out.print(f"{name:22}", end="")
        out.print(detail, markup=False, soft_wrap=True)


def _home(stores: Stores) -> str:
    home = stores.settings.home
    if not (home / GENERATED_FILE).exists():
        raise CommsError(str(home), "it has not been initialised", "Run `comms init`")
    if stat.S_IMODE(home.stat().st_mode) & 0o077:
        raise CommsError(str(home), "others can read it", f"Run chmod 700 {home}")
    return str(home)


def _ledger(stores: Stores) -> str:
    with connect(stores.server, autocommit=True) as connection:
        pending = migrate.pending(connection)
    if pending:
        raise CommsError("ledger", f"{len(pending)} migrations are not applied", "Run `comms init`")
    return "migrations are up to date"


def _lake(stores: Stores) -> str:
    with stores.lake_read_only.reader() as cursor:
        row = cursor.execute("select count(*) from core.contacts").fetchone()
    return f"{row[0] if row else 0:,} contacts"


def _dagster(stores: Stores) -> str:
    path = dagster_home(stores.settings) / "dagster.yaml"
    if not path.exists():
        raise CommsError(str(path), "it does not exist", "Run `comms init`")
    return str(path.parent)


def _lane(stores: Stores, lane: str) -> str:
    stores.providers.for_lane(lane)
    return "sandbox" if stores.settings.sandbox else "configured"


def _webhook_key(stores: Stores) -> str:
    if not stores.settings.sendgrid_webhook_key:
        raise CommsError(
            "COMMS_SENDGRID_WEBHOOK_KEY", "it is not set", "Copy it from SendGrid's Signed Event Webhook"
        )
    return "set"


def _answers(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=3) as response:  # noqa: S310 - a validated http(s) address
            return f"answers {response.status}"
    except urllib.error.HTTPError as error:
        raise CommsError(url, f"it answers {error.code}", "Read what it says there") from None
    except (urllib.error.URLError, OSError):
        raise CommsError(url, "nobody answers", "Start everything with `comms up`") from None

"""How an installation stands, and what is wrong with it (`comms doctor`). Changes nothing it can avoid."""

import stat
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import typer

from comms_pipeline.cli.console import out, table
from comms_pipeline.cli.installation import dagster_home
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.ledger import feeds, migrate, operations, sends
from comms_pipeline.ledger.feeds import Feed
from comms_pipeline.ledger.operations import QueueRow, Stop
from comms_pipeline.ledger.sends import Send
from comms_pipeline.ledger.server import connect
from comms_pipeline.loader.watermarks import read_watermark
from comms_pipeline.settings import GENERATED_FILE, load_settings
from comms_pipeline.stores import Stores, find_server


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How an installation stands. `waiting`: what is not loaded yet, by feed."""

    sends: Sequence[Send]
    queue: Sequence[QueueRow]
    stops: Sequence[Stop]
    waiting: Mapping[str, int]


def standing(stores: Stores, limit: int) -> Standing:
    """The latest sends (at most `limit`), the queue, what is stopped, and what waits to be loaded."""
    with stores.ledger() as ledger, stores.lake.reader() as cursor:
        return Standing(
            sends=sends.sends(ledger, limit),
            queue=operations.queue(ledger),
            stops=operations.stops(ledger),
            waiting={str(feed): feeds.waiting(ledger, feed, read_watermark(cursor, feed)) for feed in Feed},
        )


def print_standing(told: Standing) -> None:
    """The same as tables."""
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
            for s in told.sends
        ],
    )
    if told.queue:
        table(
            "Queue",
            ["lane", "status", "batches", "messages", "oldest, seconds"],
            [(q.lane, q.status, q.batches, q.messages, round(q.oldest_seconds)) for q in told.queue],
        )
    else:
        out.print("The queue is empty.")
    for stop in told.stops:
        out.print(f"Stopped: {stop.scope} since {stop.stopped_at:%Y-%m-%d %H:%M} ({stop.reason})")
    waiting = told.waiting
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
        *_webhook_checks(stores),
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


def _webhook_checks(stores: Stores) -> list[_Check]:
    """Without its key a receiver refuses every event; it matters for the providers that are in use."""
    settings, providers = stores.settings, stores.providers
    keys = [
        ("sendgrid", "COMMS_SENDGRID_WEBHOOK_KEY", settings.sendgrid_webhook_key),
        ("resend", "COMMS_RESEND_WEBHOOK_SECRET", settings.resend_webhook_secret.get_secret_value()),
        ("mailgun", "COMMS_MAILGUN_WEBHOOK_KEY", settings.mailgun_webhook_key.get_secret_value()),
    ]
    return [
        _Check(name=f"webhooks {provider}", run=partial(_webhook_key, provider, variable, key))
        for provider, variable, key in keys
        if providers.is_configured(f"email:{provider}")
    ]


def _webhook_key(provider: str, variable: str, key: str) -> str:
    if not key:
        raise CommsError(
            variable,
            f"it is not set, so that no event of {provider}'s is taken",
            "Copy it from the settings of the webhook there",
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

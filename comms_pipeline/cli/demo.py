"""`comms demo`: the whole main job on the examples, through the real parts, against the sandbox."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from comms_pipeline.cli.campaigns import create_send, print_funnel
from comms_pipeline.cli.console import out, step
from comms_pipeline.cli.installation import dagster_home, initialise
from comms_pipeline.cli.project_files import project_file
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

_PATIENCE_SECONDS = 30.0
_EVENTS_SECONDS = 25.0


@dataclass(frozen=True, kw_only=True)
class _Example:
    folder: str
    contacts: str
    mapping: str
    campaigns: tuple[str, ...]


_EXAMPLES = (
    _Example(
        folder="wedding",
        contacts="guests.csv",
        mapping="guests.map.yaml",
        campaigns=("wedding-invitation", "wedding-rsvp-reminder"),
    ),
    _Example(
        folder="sponsor", contacts="leads.csv", mapping="leads.map.yaml", campaigns=("sponsor-prospectus",)
    ),
    _Example(
        folder="billing",
        contacts="customers.csv",
        mapping="customers.map.yaml",
        campaigns=("billing-invoice",),
    ),
)


class DemoNeedsSandbox(CommsError):
    """The demo never sends to real providers."""


def demo() -> None:
    """Run the whole main job on the examples: import, plan, send to the sandbox, events back, marts, report.

    Running it again sends nothing twice.
    """
    # Events follow within seconds here, so that there is something to see at the end.
    os.environ.setdefault("COMMS_SANDBOX_DELAY_SECONDS", "0.3")
    with step("Preparing Postgres, keys and the lake"):
        stores = initialise(load_settings())
    if not stores.settings.sandbox:
        raise DemoNeedsSandbox(
            "comms demo", "COMMS_SANDBOX is off", "Unset it: the demo sends to the sandbox only"
        )
    with _services(stores), _runs(stores) as runs:
        before = _accepted(stores)
        send_ids = _run_examples(stores, runs)
        with step("Events come back") as progress:
            _wait_for_events(stores, progress)
            runs.run("load_events")
        with step("Reports"):
            for send_id in send_ids:
                runs.run("refresh_report", send_id=send_id)
        sent = _accepted(stores) - before
    out.print()
    print_funnel(stores, send_ids)
    out.print(f"The sandbox accepted {sent:,} messages in this run.")
    out.print("Reports:")
    for send_id in send_ids:
        out.print(f"  {stores.settings.reports_path / f'{send_id}.html'}", soft_wrap=True)
    out.print("Next: `make up` shows it all in Dagster; or ask the warehouse:")
    # In a checkout the command is not on everybody's path.
    program = "comms" if shutil.which("comms") else sys.argv[0]
    query = "select send_id, channel, accepted, delivered, clicked from mart.campaign_performance"
    out.print(f'  {program} query "{query}"', markup=False, soft_wrap=True)


def _run_examples(stores: Stores, runs: Any) -> list[str]:
    from comms_pipeline.planning.applying import apply_folder

    send_ids = []
    for example in _EXAMPLES:
        folder = project_file("examples") / example.folder
        with step(f"Importing {example.folder}/{example.contacts}"):
            apply_folder(stores, folder)
            config = {"path": str(folder / example.contacts), "mapping": str(folder / example.mapping)}
            runs.run("import_contacts", config={"ops": {"core__contacts": {"config": config}}})
        for campaign in example.campaigns:
            with step(f"Sending {campaign}"):
                send_id = create_send(stores, campaign).send_id
                runs.run("send_campaign", send_id=send_id)
                send_ids.append(send_id)
    return send_ids


@contextmanager
def _runs(stores: Stores) -> Iterator[Any]:
    with step("Loading Dagster"):
        from comms_pipeline.cli.runs import Runs
    with Runs.recorded_in(stores, dagster_home(stores.settings)) as runs:
        yield runs


@contextmanager
def _services(stores: Stores) -> Iterator[None]:
    """Web app and sandbox, those that do not run yet, for as long as the block lasts."""
    wanted = {
        "web": f"http://127.0.0.1:{stores.settings.web_port}/health",
        "sandbox": f"{stores.settings.sandbox_url}/_sandbox/health",
    }
    started = {}
    try:
        with step("Starting web app and sandbox"):
            for name, url in wanted.items():
                if not _answers(url):
                    started[name] = _start(stores, name)
            for name, url in wanted.items():
                _wait_until_up(name, url, started.get(name))
        yield
    finally:
        for process in started.values():
            process.terminate()
        for process in started.values():
            process.wait(timeout=15)


def _start(stores: Stores, name: str) -> "subprocess.Popen[bytes]":
    log = (stores.settings.home / f"{name}.log").open("ab")
    with log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "comms_pipeline.cli", "serve", name],
            env={**os.environ, "COMMS_HOME": str(stores.settings.home)},
            stdout=log,
            stderr=log,
        )


def _wait_until_up(name: str, url: str, process: "subprocess.Popen[bytes] | None") -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _answers(url):
        if process is not None and process.poll() is not None:
            raise CommsError(
                f"comms serve {name}", "it ended at once", f"Run `comms serve {name}` to see why"
            )
        if time.monotonic() > deadline:
            raise CommsError(
                f"comms serve {name}", "it does not answer", f"Run `comms serve {name}` to see why"
            )
        time.sleep(0.1)


def _wait_for_events(stores: Stores, progress: Any) -> None:
    """Until the sandbox owes no event, or long enough for most."""
    deadline = time.monotonic() + _EVENTS_SECONDS
    while time.monotonic() < deadline:
        summary = _sandbox(stores)["webhooks"]
        progress.update(
            progress.task_ids[0], note=f"{summary['posted']:,} posted, {summary['owed']:,} to come"
        )
        if not summary["owed"]:
            return
        time.sleep(0.5)


def _accepted(stores: Stores) -> int:
    return sum(provider["accepted"] for provider in _sandbox(stores)["providers"].values())


def _sandbox(stores: Stores) -> Any:
    with urllib.request.urlopen(f"{stores.settings.sandbox_url}/_sandbox/summary", timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - an address on this machine
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False

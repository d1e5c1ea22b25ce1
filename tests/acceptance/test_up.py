"""`comms up`: everything runs, a campaign whose time has come goes out by itself, and Ctrl-C leaves nothing behind."""

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from acceptance_support import PATIENCE_SECONDS, Installation, wait_until_up

from comms_pipeline.ledger import launcher

pytestmark = pytest.mark.xdist_group("up")

FILES = {
    "organisation.yaml": "{id: gallery, name: The Gallery, postal_address: 1 Main Street}",
    "open-day.yaml": """
id: open-day
organisation: gallery
audience: {everyone: true}
channels: [email]
sender: {from_email: office@gallery.example, from_name: The Gallery}
templates: {email: {subject: "Open day, {{ name }}", html: open-day.html}}
""",
    "open-day.html": "<p>Dear {{ name }}, come!</p> {{ unsubscribe_url }} {{ postal_address }}",
    "visitors.csv": "email,name\nada@x.example,Ada\nben@x.example,Ben\n",
}


def wait_until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def processes_of(home: Path) -> list[str]:
    """Command lines of whatever runs with this home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("COMMS_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_due_campaign_is_sent_by_itself_and_ctrl_c_stops_everything(
    installation: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "gallery"
    folder.mkdir()
    due = f"schedule: {{at: {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}}}"
    for name, text in FILES.items():
        text = f"{text}{due}\n" if name == "open-day.yaml" else text
        (folder / name).write_text(text, encoding="utf-8")
    installation.comms("init")
    installation.comms("campaigns", "apply", str(folder))
    options = ("--organisation", "gallery", "--consent", "guest book", "--consent-kind", "express")
    installation.comms("import", "contacts", str(folder / "visitors.csv"), *options)
    installation.comms("db", "stop")

    with installation.start("up") as up:
        for url in (f"{installation.web_url}/health", installation.sandbox_url, installation.dagster_url):
            wait_until_up(url, up)
        wait_until(
            "the sensor's run sends", lambda: installation.ledger("select status from send") == [("sent",)]
        )
        assert set(installation.sandbox_record().values()) == {1}
        assert len(installation.sandbox_record()) == 2
        up.send_signal(signal.SIGINT)
        printed, _ = up.communicate(timeout=PATIENCE_SECONDS)
    assert up.returncode == 0, printed
    assert f"Dagster  {installation.dagster_url}" in printed
    assert f"Web app  {installation.web_url}" in printed
    # Dagster's own may be in the middle of launching a run.
    ours = [line for line in printed.splitlines() if "daemon" not in line and "dagster" not in line]
    assert "Traceback" not in "\n".join(ours)
    assert processes_of(installation.home) == []
    assert launcher.running(installation.home) is None

"""Time and memory of planning and enqueueing a send to 1,000,000 contacts, on a real Postgres and a real lake.

One e-mail of 8 KB with ten variables, in two variants. Each stage runs in a fresh process: seconds are wall time of
the stage alone, the rate is by the processor time of all its threads (Postgres' own not counted), memory is the peak
of the process. Promised: each stage under 1,000 MB whatever the audience, and a million contacts a minute.
Run: python benchmarks/planning.py [contacts]
"""

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from _offer import LINKED_HTML, contacts
from _report import peak_megabytes, report

from comms_pipeline.cli.installation import initialise
from comms_pipeline.ledger import launcher, sends
from comms_pipeline.planning import stages
from comms_pipeline.planning.applying import apply_folder
from comms_pipeline.planning.context import SendContext
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

T = TypeVar("T")
CONTACTS = 1_000_000
PROMISED_MEGABYTES, PROMISED_RATE = 1_000.0, CONTACTS / 60
PART = 50_000
CAMPAIGN: dict[str, Any] = {
    "id": "offer",
    "organisation": "club",
    "audience": {"everyone": True},
    "channels": ["email"],
    "sender": {"from_email": "club@lakeside.example", "from_name": "The Club"},
    "templates": {"email": {"subject": "{{ subject_line|title }}", "html": "offer.html"}},
    "variants": [
        {"name": "plain"},
        {
            "name": "named",
            "templates": {"email": {"subject": "{{ first_name|default('You', true) }}, {{ subject_line }}"}},
        },
    ],
}
DUE = datetime(2026, 12, 1, 9, tzinfo=UTC)
STAGES: dict[str, Callable[[Stores, SendContext], object]] = {
    "audience": stages.write_audience,
    "decisions": stages.write_decisions,
    "messages": stages.write_messages,
    "enqueue": stages.enqueue_plan,
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a stage took."""

    seconds: float
    processor_seconds: float
    megabytes: float


def prepare(home: Path, count: int) -> None:
    """Make the installation, its contacts and the send."""
    stores = initialise(load_settings(home))
    for start in range(0, count, PART):
        with stores.lake.writer() as writer:
            writer.append("core.contacts", contact_rows(start, min(PART, count - start)))
    stores.lake.close()
    folder = home / "campaign"
    folder.mkdir()
    organisation = {"id": "club", "name": "The Club", "postal_address": "1 Harbor Lane, Portland"}
    (folder / "offer.html").write_text(LINKED_HTML, encoding="utf-8")
    # JSON is YAML.
    (folder / "organisation.yaml").write_text(json.dumps(organisation), encoding="utf-8")
    (folder / "campaign.yaml").write_text(json.dumps(CAMPAIGN), encoding="utf-8")
    apply_folder(stores, folder)
    with stores.ledger() as ledger:
        version = sends.get_campaign(ledger, "offer").version
        sends.create_send(ledger, send_id="offer", campaign_id="offer", version=version, due_at=DUE)


def contact_rows(start: int, count: int) -> pl.DataFrame:
    """Rows of `core.contacts`, in no order of their ids, as imports leave them."""
    numbers = range(start, start + count)
    people = contacts(count)
    attributes = people.drop("language").with_columns(
        pl.col("joined").cast(pl.String), pl.col("balance").cast(pl.Float64)
    )
    now = datetime.now(UTC)
    return pl.DataFrame(
        {
            "contact_id": [hashlib.md5(str(number).encode()).hexdigest() for number in numbers],
            "organisation_id": ["club"] * count,
            "email": [f"person.{number}@mail{number % 997}.example.com" for number in numbers],
            "name": people["first_name"],
            "language": people["language"],
            "attributes": attributes.select(pl.struct(pl.all()).struct.json_encode()).to_series(),
        }
    ).with_columns(
        consent_source=pl.lit("form"), is_erased=pl.lit(False), created_at=pl.lit(now), updated_at=pl.lit(now)
    )


def run_stage(home: Path, name: str) -> Run:
    """Run one stage of the send in this process."""
    stores = Stores(load_settings(home))
    context = stages.context_of(stores, "offer")
    started, started_processor = time.perf_counter(), time.process_time()
    STAGES[name](stores, context)
    run = Run(
        seconds=time.perf_counter() - started,
        processor_seconds=time.process_time() - started_processor,
        megabytes=peak_megabytes(),
    )
    stores.lake.close()
    return run


def funnel(home: Path) -> stages.Funnel:
    """Where everybody of the send stands."""
    stores = Stores(load_settings(home))
    with stores.lake.reader() as cursor:
        found = stages.funnel(cursor, "offer")
    stores.lake.close()
    return found


def fresh(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main(count: int) -> int:
    """Run every stage, print the figures; 1 if anybody is missing from the plan."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            fresh(prepare, home, count)
            for name in STAGES:
                run = fresh(run_stage, home, name)
                promised_seconds = count / PROMISED_RATE
                report(f"planning_{name}_seconds", run.seconds, "s", promised_seconds, is_more_better=False)
                rate = count / run.processor_seconds
                report(f"planning_{name}_rate", rate, "contacts/s", PROMISED_RATE)
                report(
                    f"planning_{name}_peak_memory",
                    run.megabytes,
                    "MB",
                    PROMISED_MEGABYTES,
                    is_more_better=False,
                )
            planned = fresh(funnel, home)
        finally:
            launcher.remove(home)
    if (planned.audience, planned.messages) != (count, count):
        print(f"error: {planned.messages} messages for {count} contacts", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else CONTACTS))

"""Memory of the process that sends: its peak for 100,000 and for 1,000,000 recipients, 1,000 per request, 8 KB each.

Each send runs in a fresh process, the whole engine with its ledger on an embedded Postgres, to a sink that only
counts. The batches of 100,000 recipients are prepared as planning queues them and repeated to make up the rest, so
message ids repeat; the engine looks at a batch at a time and cannot tell. Promised: 400 MB at most, and flat.
Run: python benchmarks/dispatch_memory.py [recipients, a multiple of 100,000]
"""

import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from _report import peak_megabytes, report
from _sink import Sink
from bulk_lane import fill_ledger, run_engine
from single_messages import open_ledger

from comms_pipeline.ledger import launcher, sends
from comms_pipeline.ledger.server import Server, connect

T = TypeVar("T")
RECIPIENTS = 1_000_000
PREPARED = 100_000
PROMISED_MEGABYTES = 400.0
REPEAT = """
insert into batch (send_id, organisation_id, generation, lane, channel, content_id, priority, message_count, payload,
                   due_at)
select %(to)s, organisation_id, generation, lane, channel, content_id, priority, message_count, payload, due_at
from batch cross join generate_series(1, %(times)s)
where send_id = %(from)s
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What sending took."""

    seconds: float
    megabytes: float


def repeat(server: Server, source: str, send_id: str, times: int) -> None:
    """Queue what another send has queued, so many times."""
    with connect(server, autocommit=True) as connection, connection.transaction():
        sends.create_send(
            connection, send_id=send_id, campaign_id="benchmark", version=1, due_at=datetime.now(UTC)
        )
        assert sends.start_send(connection, send_id)
        connection.execute(REPEAT, {"from": source, "to": send_id, "times": times})


def run(server: Server, url: str, send_id: str, count: int) -> Run:
    """Send in this process."""
    started = perf_counter()
    run_engine(server, url, send_id, count)
    return Run(seconds=perf_counter() - started, megabytes=peak_megabytes())


def fresh(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main(count: int) -> int:
    """Prints the figures; 1 if the sink counted anything but what was sent."""
    with tempfile.TemporaryDirectory() as folder, Sink() as sink:
        server = open_ledger(Path(folder))
        try:
            # First the copy: what is sent loses its payload.
            fresh(fill_ledger, server, "some", PREPARED)
            repeat(server, "some", "many", count // PREPARED)
            some = fresh(run, server, sink.url, "some", PREPARED)
            many = fresh(run, server, sink.url, "many", count)
        finally:
            launcher.remove(Path(folder))
        if (counted := sink.counts().messages) != count + PREPARED:
            print(f"error: the sink counted {counted}, not {count + PREPARED}", file=sys.stderr)
            return 1
    for name, megabytes, baseline in (
        (f"dispatch_memory_{PREPARED}", some.megabytes, PROMISED_MEGABYTES),
        (f"dispatch_memory_{count}", many.megabytes, PROMISED_MEGABYTES),
        ("dispatch_memory_beside_fewer", many.megabytes, some.megabytes),
    ):
        report(name, megabytes, "MB", baseline, is_more_better=False)
    report("dispatch_memory_speed", count / many.seconds, "recipients/s", PREPARED / some.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else RECIPIENTS))

"""A sender for the chaos harness to kill: the product's own engine, with leases of seconds instead of minutes.

`python chaos_sender.py HOME SEND lane|worker`. No tests.
"""

import asyncio
import sys
import time
from pathlib import Path

from comms_pipeline.dispatch.leases import Leases
from comms_pipeline.dispatch.send import run_lane, settle
from comms_pipeline.dispatch.worker import Worker
from comms_pipeline.ledger.batches import LEAST_PRIORITY, lanes_of_send
from comms_pipeline.providers.registry import Providers
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

LEASES = Leases(claim_seconds=2.0, sending_seconds=3.0)
RECONCILE_AFTER_SECONDS = 5.0
"""Longer than the sandbox may still be busy with a request whose sender is dead."""
_PAUSE_SECONDS = 0.2


def send_in_runs(stores: Stores, send_id: str) -> None:
    """What runs of the send do, one after the other, until it is complete."""
    while True:
        with stores.ledger() as connection:
            lanes = lanes_of_send(connection, send_id)
        for lane in lanes:
            run_lane(
                stores.ledger,
                stores.providers,
                lane=lane,
                send_id=send_id,
                linger_seconds=0.0,
                leases=LEASES,
            )
        if is_settled(stores, send_id):
            return
        time.sleep(_PAUSE_SECONDS)


def is_settled(stores: Stores, send_id: str) -> bool:
    """Take over, ask the provider, close: whether the send is complete."""
    return settle(
        stores.ledger,
        stores.providers,
        send_id=send_id,
        now=stores.now(),
        reconcile_after_seconds=RECONCILE_AFTER_SECONDS,
    ).is_complete


def serve(stores: Stores, _send_id: str) -> None:
    """What `comms worker --all` does, until it is killed."""
    worker = Worker(
        connect=stores.ledger,
        conninfo=stores.server.conninfo(),
        providers=lambda: Providers(stores.settings),
        lanes=[lane for lane in stores.providers.lanes if stores.providers.is_configured(lane)],
        least_priority=LEAST_PRIORITY,
        leases=LEASES,
    )
    asyncio.run(worker.run())


KINDS = {"lane": send_in_runs, "worker": serve}

if __name__ == "__main__":
    home, send, kind = sys.argv[1:]
    KINDS[kind](Stores(load_settings(Path(home))), send)

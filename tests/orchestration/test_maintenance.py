"""The job `maintain_stores`: what the lake holds may leave the ledger, and nothing else."""

from running import Dagster

from comms_pipeline.ledger.landing import land
from comms_pipeline.loader.events import load_provider_events


def test_only_old_rows_that_the_lake_holds_are_purged(gallery: Dagster) -> None:
    with gallery.stores.ledger() as ledger:
        loaded, fresh = (land(ledger, provider="sendgrid", kind="events", query="", body=b"[]") for _ in "ab")
        assert load_provider_events(gallery.stores).webhooks == 2
        waiting = land(ledger, provider="sendgrid", kind="events", query="", body=b"[]")
    gallery.ledger(
        "update landing set received_at = now() - interval '31 days' where landing_id <> %s", fresh
    )
    assert gallery.run("maintain_stores").success
    assert gallery.ledger("select landing_id from landing order by 1") == [(fresh,), (waiting,)]
    assert loaded < fresh < waiting
    assert load_provider_events(gallery.stores).webhooks == 1
    assert gallery.lake("select count(*) from core.contacts").item() == 4

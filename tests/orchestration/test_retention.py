"""The jobs `apply_retention` and `erase_at_providers`: each class by its own term, nothing sooner."""

import os
from datetime import timedelta
from typing import Any

import dagster as dg
from running import Dagster

from comms_pipeline.ops.retention import provider_erasure_job, retention_job
from comms_pipeline.privacy import provider_calls
from comms_pipeline.privacy.home_files import exports_folder


def run(gallery: Dagster, job: dg.JobDefinition, step: str) -> dict[str, Any]:
    """The metadata of a job's one step."""
    result = job.execute_in_process(instance=gallery.instance, resources={"stores": gallery.stores})
    assert result.success
    (event,) = [event for event in result.events_for_node(step) if event.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def consent(gallery: Dagster, subject: int, state: str, days: int) -> None:
    gallery.ledger(
        "insert into consent (organisation_id, subject, channel, kind, state, at, source) "
        "values ('gallery', %s, 'email', 'express', %s, now() - make_interval(days => %s), 'form')",
        bytes([subject]) * 16,
        state,
        days,
    )


def test_everything_goes_after_its_own_term_and_not_before(gallery: Dagster) -> None:
    # 1: withdrawn long ago. 2: withdrawn lately. 3: given long ago, still holds. 4: given again after it was withdrawn.
    for subject, state, days in (
        (1, "given", 3000),
        (1, "withdrawn", 1827),
        (2, "given", 3000),
        (2, "withdrawn", 1825),
        (3, "given", 3000),
        (4, "withdrawn", 2000),
        (4, "given", 1999),
    ):
        consent(gallery, subject, state, days)
    gallery.ledger("delete from audit")
    for days in (2558, 2556):
        gallery.ledger(
            "insert into audit (at, actor, action, subject) values (now() - make_interval(days => %s), 'a', 'b', 'c')",
            days,
        )
    imported = gallery.lake("select import_id from raw.contact_imports")["import_id"][0]
    gallery.spoil(
        "insert into raw.contact_imports values ('old', 'gallery', 'old.csv', 1, 0, 1, now() - interval '91 days')"
    )
    for import_id in ("old", imported):
        gallery.spoil(
            f"insert into raw.contact_rejects values ('{import_id}', 1, 'email', 'not valid', 'row')"
        )
    exports = exports_folder(gallery.stores.settings)
    exports.mkdir(parents=True)
    for name, days in (("old.zip", 31), ("new.zip", 29)):
        (exports / name).write_bytes(b"")
        made = (gallery.stores.now() - timedelta(days=days)).timestamp()
        os.utime(exports / name, (made, made))
    metadata = run(gallery, retention_job, "delete_expired")
    assert {name: count for name, count in metadata.items() if name.startswith("deleted_")} == {
        "deleted_consents": 2,
        "deleted_audit": 1,
        "deleted_provider_erasures": 0,
        "deleted_contact_rejects": 1,
        "deleted_exports": 1,
    }
    assert metadata["keep_days_consents"] == 1826
    subjects = gallery.ledger(
        "select get_byte(subject, 0), count(*) from consent where source = 'form' group by 1 order by 1"
    )
    assert subjects == [(2, 2), (3, 1), (4, 2)]
    assert [path.name for path in exports.iterdir()] == ["new.zip"]
    assert gallery.lake("select import_id from raw.contact_rejects")["import_id"].to_list() == [imported]
    again = run(gallery, retention_job, "delete_expired")
    assert sum(count for name, count in again.items() if name.startswith("deleted_")) == 0


def test_queued_erasures_are_carried_out_by_their_job(gallery: Dagster) -> None:
    queued = [("sendgrid", "ada@x.example"), ("twilio", "SM" + "0" * 32)]
    assert provider_calls.queue(gallery.stores, queued) == 2
    assert provider_calls.queue(gallery.stores, queued) == 0
    references = gallery.ledger("select reference from provider_erasure")
    assert not any("ada" in reference or "SM0" in reference for (reference,) in references)
    # Twilio does not know such a message: it is as good as deleted.
    assert run(gallery, provider_erasure_job, "ask_providers") == {
        "erasures_done": 2,
        "erasures_failed": 0,
        "erasures_waiting": 0,
    }
    assert gallery.ledger("select distinct reference from provider_erasure") == [("",)]

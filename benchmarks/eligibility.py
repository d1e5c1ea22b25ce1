"""Time and memory of all compliance rules over 1,000,000 contacts by e-mail and SMS, on a real Postgres and lake.

Contacts live in twelve places (declared zone, address, or only a phone number), with every kind of consent; one in
fifty is suppressed, one in fifty has chosen on the preferences page. The stage runs in a fresh process, for a tenth
of the audience and for the whole, to show whether memory grows. Promised: the whole in 15 seconds.
Run: python benchmarks/eligibility.py [contacts]
"""

import hashlib
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from _report import report
from planning import fresh, run_stage

from comms_pipeline.cli.installation import initialise
from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import launcher, sends
from comms_pipeline.planning import stages
from comms_pipeline.planning.applying import apply_folder
from comms_pipeline.settings import load_settings
from comms_pipeline.stores import Stores

CONTACTS = 1_000_000
PROMISED_SECONDS, PROMISED_GROWTH_MEGABYTES = 15.0, 400.0
PART = 50_000
DUE = datetime(2026, 12, 5, 3, tzinfo=UTC)
CAMPAIGN: dict[str, Any] = {
    "id": "offer",
    "organisation": "club",
    "audience": {"everyone": True},
    "channels": ["email", "sms"],
    "sender": {"from_email": "club@lakeside.example", "from_name": "The Club", "sms_from": "+12025550100"},
    "templates": {
        "email": {"subject": "Hello", "html": "offer.html"},
        "sms": {"text": "offer.txt"},
    },
}
# Zone, country, region, postcode and the beginning of a number, as imports have them: rarely all.
PLACES = [
    ("America/New_York", "US", "NY", "10001", "+1212"),
    (None, "US", "TX", "75201", "+1214"),
    (None, "US", "FL", "32501", "+1850"),
    (None, None, None, None, "+1270"),
    (None, "US", "IN", None, "+1574"),
    (None, None, None, None, "+4420"),
    ("Europe/Berlin", "DE", None, "10115", "+4930"),
    (None, "CA", "QC", None, "+1514"),
    (None, "FR", None, None, "+331"),
    ("Australia/Lord_Howe", "AU", "NSW", None, "+612"),
    (None, None, None, None, None),
    (None, "US", "Oklahoma", None, "+1405"),
]
KINDS = ["express", "written", "double-opt-in", "implied-purchase", "implied", "unstated"]


def contact_rows(start: int, count: int) -> pl.DataFrame:
    """Rows of `core.contacts`, in no order of their ids, as imports leave them."""
    numbers = range(start, start + count)
    now = datetime.now(UTC)
    places = [PLACES[number % len(PLACES)] for number in numbers]
    return pl.DataFrame(
        {
            "contact_id": [hashlib.md5(str(number).encode()).hexdigest() for number in numbers],
            "organisation_id": ["club"] * count,
            "email": [f"person.{number % 990_000}@mail{number % 997}.example.com" for number in numbers],
            "phone": [
                f"{place[4]}{number:07d}" if place[4] else None
                for number, place in zip(numbers, places, strict=True)
            ],
            "time_zone": [place[0] for place in places],
            "country": [place[1] for place in places],
            "region": [place[2] for place in places],
            "postcode": [place[3] for place in places],
            "consent_kind": [KINDS[number % len(KINDS)] for number in numbers],
        },
        schema_overrides=dict.fromkeys(("time_zone", "country", "region", "postcode", "phone"), pl.String),
    ).with_columns(
        attributes=pl.lit("{}"),
        consent_source=pl.lit("form"),
        consent_at=pl.lit(datetime(2026, 1, 1, tzinfo=UTC)),
        is_erased=pl.lit(False),
        created_at=pl.lit(now),
        updated_at=pl.lit(now),
    )


def prepare(home: Path, count: int) -> None:
    """Make the installation, its contacts, what they chose, and the send with its audience."""
    stores = initialise(load_settings(home))
    with stores.ledger() as ledger:
        for start in range(0, count, PART):
            rows = contact_rows(start, min(PART, count - start))
            with stores.lake.writer() as writer:
                writer.append("core.contacts", rows)
            some = rows.gather_every(50)
            keys = address_keys(some["email"], Channel.EMAIL, stores.secret)
            with ledger.cursor() as cursor:
                with cursor.copy(
                    "copy suppression (organisation_id, channel, address_key, reason, scope, source) from stdin"
                ) as copy:
                    for key in keys.unique().to_list():
                        copy.write_row(("club", "email", key, "unsubscribed", "marketing", "bench"))
                with cursor.copy(
                    "copy preference (organisation_id, subject, channel, topic, is_wanted, source) from stdin"
                ) as copy:
                    for contact_id in rows["contact_id"].gather_every(50, 7).to_list():
                        copy.write_row(("club", bytes.fromhex(contact_id), "email", "*", False, "bench"))
        ledger.execute("analyze")
    folder = home / "campaign"
    folder.mkdir()
    organisation = {"id": "club", "name": "The Club", "postal_address": "1 Harbor Lane, Portland"}
    # JSON is YAML.
    (folder / "offer.html").write_text(
        '<p>{{ postal_address }} <a href="{{ unsubscribe_url }}">Unsubscribe</a></p>', encoding="utf-8"
    )
    (folder / "offer.txt").write_text("The Club: hello. Reply STOP to stop.", encoding="utf-8")
    (folder / "organisation.yaml").write_text(json.dumps(organisation), encoding="utf-8")
    (folder / "campaign.yaml").write_text(json.dumps(CAMPAIGN), encoding="utf-8")
    apply_folder(stores, folder)
    with stores.ledger() as ledger:
        version = sends.get_campaign(ledger, "offer").version
        sends.create_send(ledger, send_id="offer", campaign_id="offer", version=version, due_at=DUE)
    stages.write_audience(stores, stages.context_of(stores, "offer"))
    stores.lake.close()


def decisions(home: Path) -> dict[str, int]:
    """Contacts and channels by decision."""
    stores = Stores(load_settings(home))
    with stores.lake.reader() as cursor:
        found = cursor.execute("select decision, count(*) from campaign.decisions group by all").fetchall()
    stores.lake.close()
    return dict(found)


def main(count: int) -> int:
    """Decide for a tenth and for all, print the figures; 1 if anybody was left out."""
    peaks = []
    for size in (count // 10, count):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "home"
            try:
                fresh(prepare, home, size)
                run = fresh(run_stage, home, "decisions")
                found = fresh(decisions, home)
            finally:
                launcher.remove(home)
        print(f"{size:,} contacts: {found}", file=sys.stderr)
        if sum(found.values()) != 2 * size:
            print(f"error: {found} for {size} contacts and two channels", file=sys.stderr)
            return 1
        peaks.append(run.megabytes)
    report("eligibility_seconds", run.seconds, "s", PROMISED_SECONDS, is_more_better=False)
    report("eligibility_rate", count / run.seconds, "contacts/s", CONTACTS / PROMISED_SECONDS)
    report(
        "eligibility_peak_memory", peaks[1], "MB", peaks[0] + PROMISED_GROWTH_MEGABYTES, is_more_better=False
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else CONTACTS))

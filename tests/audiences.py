"""What tests of plans share: organisations with contacts and a campaign, side by side in one installation. No tests."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from comms_pipeline.dispatch.payload import unpack
from comms_pipeline.domain.content import Content
from comms_pipeline.ledger import sends
from comms_pipeline.ledger.sends import Organisation
from comms_pipeline.loader.contacts import ImportReport, import_contacts
from comms_pipeline.planning import stages
from comms_pipeline.planning.applying import apply_folder
from comms_pipeline.planning.context import SendContext
from comms_pipeline.stores import Stores

DUE = datetime(2026, 12, 1, 9, tzinfo=UTC)
Row = dict[str, object]


def people(count: int, **columns: object) -> list[Row]:
    """Rows of a contact file: p0@…, p1@… with names."""
    return [{"email": f"p{n}@people.example", "name": f"Person {n}", **columns} for n in range(count)]


@dataclass(frozen=True, kw_only=True)
class Club:
    """An organisation of one test's own, with one campaign, its id both of them."""

    stores: Stores
    folder: Path
    id: str

    @classmethod
    def founded(cls, stores: Stores, folder: Path) -> "Club":
        """A club nobody else knows; `folder` takes its files."""
        club = cls(stores=stores, folder=folder, id=f"club-{uuid4().hex[:12]}")
        with stores.ledger() as ledger:
            organisation = Organisation(organisation_id=club.id, name="Founding", postal_address="")
            sends.put_organisation(ledger, organisation)
        return club

    def enrol(self, rows: Sequence[Row], **mapping: Any) -> ImportReport:
        """Import contacts from a CSV file."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        path = self.folder / f"{uuid4().hex}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        return self.enrol_file(path, **mapping)

    def enrol_file(self, path: Path, **mapping: Any) -> ImportReport:
        """Import contacts from a file that is there already."""
        described = {"organisation": self.id, "consent": {"source": "form", "kind": "written"}} | mapping
        mapped = self.folder / f"{uuid4().hex}.map.yaml"
        mapped.write_text(json.dumps(described), encoding="utf-8")
        return import_contacts(self.stores, path, mapped)

    def announce(self, files: dict[str, str] | None = None, **changes: Any) -> None:
        """Apply the club's campaign: an e-mail of `news.html`, unless changed."""
        folder = self.folder / "campaign"
        folder.mkdir(exist_ok=True)
        organisation = {"id": self.id, "name": "The Club", "postal_address": "1 Harbor Lane"}
        campaign = {
            "id": self.id,
            "organisation": self.id,
            "audience": {"everyone": True},
            "channels": ["email"],
            "sender": {"from_email": "club@lakeside.example", "from_name": "The Club"},
            "templates": {"email": {"subject": "News", "html": "news.html"}},
            # What messages say is compared to the letter.
            "trap_link": False,
        } | changes
        texts = {"news.html": "<p>Dear {{ name }}, {{ unsubscribe_url }} {{ postal_address }}</p>"}
        for name, text in (texts | (files or {})).items():
            (folder / name).write_text(text, encoding="utf-8")
        # JSON is YAML.
        (folder / "organisation.yaml").write_text(json.dumps(organisation), encoding="utf-8")
        (folder / "campaign.yaml").write_text(json.dumps(campaign), encoding="utf-8")
        apply_folder(self.stores, folder)

    def send(self) -> SendContext:
        """The send of the campaign's latest version; created unless it exists."""
        with self.stores.ledger() as ledger, ledger.transaction():
            version = sends.get_campaign(ledger, self.id).version
            sends.create_send(ledger, send_id=self.id, campaign_id=self.id, version=version, due_at=DUE)
        return stages.context_of(self.stores, self.id)

    def plan(self) -> int:
        """Run every stage up to the plan; returns the messages added."""
        context = self.send()
        stages.write_audience(self.stores, context)
        stages.write_decisions(self.stores, context)
        return stages.write_messages(self.stores, context).messages

    def enqueue(self) -> int:
        """Queue what is planned; returns the messages added."""
        return stages.enqueue_plan(self.stores, self.send())

    def funnel(self) -> stages.Funnel:
        """Where everybody stands, in the lake."""
        with self.stores.lake.reader() as cursor:
            return stages.funnel(cursor, self.id)

    def exclusions(self) -> dict[str, int]:
        """Contacts excluded, by rule."""
        with self.stores.lake.reader() as cursor:
            found = stages.exclusions(cursor, self.id)
        return dict(found.select("rule_id", "contacts").iter_rows())

    def rows(self, query: str, **parameters: object) -> list[tuple[Any, ...]]:
        """Rows of the lake; `$id` is the club's id."""
        with self.stores.lake.reader() as cursor:
            return cursor.execute(query, ({"id": self.id} if "$id" in query else {}) | parameters).fetchall()

    def queued(self) -> list[tuple[Content, pl.DataFrame]]:
        """The batches in the ledger: what each says, and to whom."""
        query = (
            "select c.body, b.payload, b.message_count from batch b join content c using (content_id) "
            "where b.send_id = %s order by b.batch_id"
        )
        with self.stores.ledger() as ledger:
            found = ledger.execute(query, (self.id,)).fetchall()
        batches = [(Content.from_dict(body), unpack(bytes(payload))) for body, payload, _ in found]
        assert [count for _, _, count in found] == [payload.height for _, payload in batches]
        return batches

"""What tests of runs share: our definitions on an installation of the test's own, and a small campaign. No tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from comms_pipeline.definitions import build_definitions
from comms_pipeline.domain.consent import ConsentKind
from comms_pipeline.ledger import sends
from comms_pipeline.loader.contacts import import_contacts
from comms_pipeline.partitions import SENDS
from comms_pipeline.planning.applying import apply_folder
from comms_pipeline.settings import GENERATED_FILE, Settings, load_settings
from comms_pipeline.stores import Stores

GALLERY = {
    "organisation.yaml": "{id: gallery, name: The Gallery, postal_address: 1 Main Street}",
    "open-day.yaml": """
id: open-day
organisation: gallery
class: transactional
audience: {everyone: true}
channels: [email, sms]
sender: {from_email: office@gallery.example, from_name: The Gallery}
templates:
  email: {subject: "Open day, {{ name }}", html: open-day.html}
  sms: {text: open-day.txt}
fallbacks: {name: friend}
""",
    "weekly.yaml": """
id: weekly
organisation: gallery
audience: {everyone: true}
channels: [email]
sender: {from_email: office@gallery.example, from_name: The Gallery}
templates: {email: {subject: This week, html: open-day.html}}
fallbacks: {name: friend}
schedule: {cron: "0 9 * * *", time_zone: Europe/Vienna}
""",
    "open-day.html": '<p>Dear {{ name }}, come!</p><a href="{{ unsubscribe_url }}">No more</a> {{ postal_address }}',
    "open-day.txt": "{{ name }}, come to our open day! Reply STOP to stop",
}
VISITORS = """email,phone,name
quiet.ada@x.example,+12025550101,Ada
quiet.ben@x.example,,Ben
quiet.cleo@x.example,,Cleo
,+12025550008,Dan
"""
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, kw_only=True)
class Dagster:
    """Our definitions on these stores, and an instance that remembers what ran."""

    stores: Stores
    instance: dg.DagsterInstance

    @property
    def definitions(self) -> dg.Definitions:
        return build_definitions(self.stores.settings, {"stores": self.stores})

    def run(self, job: str, send_id: str | None = None, **config: Any) -> dg.ExecuteInProcessResult:
        """Run a job to its end, whatever becomes of it."""
        if send_id is not None:
            self.instance.add_dynamic_partitions(str(SENDS.name), [send_id])
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=send_id, run_config=_QUIET | config, raise_on_error=False
        )

    def create_send(self, campaign_id: str) -> str:
        """A send of the campaign's latest version that is due now; its id."""
        with self.stores.ledger() as ledger:
            sends.create_send(
                ledger,
                send_id=campaign_id,
                campaign_id=campaign_id,
                version=sends.get_campaign(ledger, campaign_id).version,
                due_at=self.stores.now(),
            )
        return campaign_id

    def ledger(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run SQL on the ledger, also against the state machine; its rows, if it has any."""
        with self.stores.ledger() as connection, connection.transaction():
            connection.execute("set local session_replication_role = replica")
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def lake(self, query: str) -> pl.DataFrame:
        """What a query of the lake finds."""
        with self.stores.lake.reader() as cursor:
            return cursor.execute(query).pl()

    def spoil(self, statement: str) -> None:
        """Change the lake behind everybody's back."""
        with self.stores.lake.writer() as writer:
            writer.cursor.execute(statement)

    def message_ids(self) -> pl.Series:
        """Every message of every plan."""
        return self.lake("select message_id from campaign.messages")["message_id"]

    def import_visitors(self, folder: Path, rows: str) -> None:
        """Import rows (CSV with a header) as contacts of the gallery."""
        path = folder / "visitors.csv"
        path.write_text(rows, encoding="utf-8")
        import_contacts(
            self.stores,
            path,
            organisation="gallery",
            consent_source="guest book",
            consent_kind=ConsentKind.EXPRESS,
        )

    def apply_gallery(self, folder: Path) -> None:
        """Write the gallery's campaigns into a folder and apply them."""
        for name, text in GALLERY.items():
            (folder / name).write_text(text, encoding="utf-8")
        apply_folder(self.stores, folder)


def write_settings(settings: Settings, **changes: str) -> None:
    """Write what an operator would have in the home's `settings.env`, with changes (by field name)."""
    names = ("database_url", "secret_key", "sandbox_port", "sendgrid_api_key", "twilio_account_sid")
    names += ("twilio_auth_token", "twilio_from", "public_url")
    values = {name: getattr(settings, name) for name in names} | changes
    lines = (
        f"COMMS_{name.upper()}={getattr(value, 'get_secret_value', lambda value=value: value)()}\n"
        for name, value in values.items()
    )
    (settings.home / GENERATED_FILE).write_text("".join(lines), encoding="utf-8")


def send_campaign_of(home: str, _after: str) -> dg.JobDefinition:
    """The job of the installation in this home, its settings read anew: what a re-execution runs."""
    settings = load_settings(Path(home))
    return build_definitions(settings).resolve_job_def("send_campaign")


def first_error(result: dg.ExecuteInProcessResult) -> str:
    """The message of the first failed step's innermost cause."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            return error.message if error else ""
    return ""

"""A send whose process is killed in the middle: nobody is left out, nobody gets it twice."""

from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from command_line import CommandLine
from sending import ACCOUNT_SID, API_KEY, AUTH_TOKEN, SENDER, SandboxProcess, wait_until

from comms_pipeline.ledger.server import Database, Server, connect

pytestmark = pytest.mark.xdist_group("command_line")

CONTACTS = 600
FILES = {
    "organisation.yaml": "{id: gallery, name: The Gallery, postal_address: 1 Main Street}",
    "open-day.yaml": """
id: open-day
organisation: gallery
audience: {everyone: true}
channels: [email]
sender: {from_email: office@gallery.example, from_name: The Gallery}
templates: {email: {subject: "Open day, {{ name }}", html: open-day.html}}
batch_size: 10
""",
    "open-day.html": "<p>Dear {{ name }}, come!</p> {{ unsubscribe_url }} {{ postal_address }}",
}


@pytest.fixture
def comms(database: Server, sandbox: SandboxProcess, tmp_path: Path) -> CommandLine:
    """`comms` that sends to the shared sandbox, with a campaign for 600 contacts in batches of 10."""
    command = CommandLine(
        home=tmp_path / "home",
        variables={
            "COMMS_DATABASE_URL": database.url(),
            "COMMS_SANDBOX_PORT": str(sandbox.port),
            "COMMS_SENDGRID_API_KEY": API_KEY,
            "COMMS_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "COMMS_TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "COMMS_TWILIO_FROM": SENDER,
        },
    )
    folder = tmp_path / "gallery"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    visitors = tmp_path / "visitors.csv"
    rows = pl.select(number=pl.int_range(CONTACTS)).select(
        email=pl.format("quiet.{}@x.example", "number"), name=pl.format("Visitor {}", "number")
    )
    rows.write_csv(visitors)
    command.ok("init")
    command.ok("campaigns", "apply", str(folder))
    options = ("--organisation", "gallery", "--consent", "guest book", "--consent-kind", "express")
    command.ok("import", "contacts", str(visitors), *options)
    return command


def planned(comms: CommandLine) -> pl.Series:
    """The ids of all messages of the plan."""
    with comms.stores.lake.reader() as lake:
        return lake.execute("select message_id from campaign.messages").pl()["message_id"]


def test_killed_send_loses_nobody_and_repeats_nobody(comms: CommandLine, sandbox: SandboxProcess) -> None:
    def batches() -> dict[str, int]:
        with comms.stores.ledger() as ledger:
            return dict(ledger.execute("select status, count(*) from batch group by status").fetchall())

    # Some requests are accepted and never answered, the others take their time: both are under way at the end.
    unanswered = {"kind": "timeout_after_accept", "count": 6, "seconds": 8}
    slow = {"kind": "slow", "seconds": 0.4}
    sandbox.break_things(*({"provider": "sendgrid", **rule} for rule in (unanswered, slow)))
    with comms.start("send", "open-day") as process:
        try:
            wait_until(lambda: batches().get("settled", 0) >= 10)
        finally:
            process.kill()
    left = batches()
    assert left["planned"] > 0
    assert left["sending"] > 0, "killed with requests under way"
    sandbox.mend()
    assert len(sandbox.accepted(planned(comms))) > 10 * left["settled"], "accepted, and nobody here knows"

    with comms.stores.ledger() as ledger:
        # The leases run out, and the provider's own record is complete.
        ledger.execute(
            "update batch set lease_until = now() - interval '1 second' where lease_until is not null"
        )
        ledger.execute("update batch set sending_at = sending_at - interval '10 minutes'")
    for _ in range(2):
        # The first asks about what was under way and sends the rest; the second, what had not arrived.
        comms.ok("send", "open-day")
    assert set(batches()) == {"settled"}
    with closing(connect(comms.stores.server, Database.DAGSTER)) as dagster:
        runs = dagster.execute("select status from runs order by id").fetchall()
        held = dagster.execute("select count(*) from concurrency_slots where run_id is not null").fetchall()
    assert runs == [("FAILURE",), ("SUCCESS",), ("SUCCESS",)], "the killed run stands in nobody's way"
    assert held == [(0,)]
    with comms.stores.ledger() as ledger:
        assert ledger.execute("select status from send").fetchall() == [("sent",)]
    with comms.stores.lake.reader() as lake:
        accepted = lake.execute(
            "select message_id from core.outcomes group by 1 having arg_max(status, outcome_id) = 'accepted'"
        ).pl()["message_id"]
    everybody = planned(comms)
    comms.stores.lake.close()
    assert everybody.n_unique() == CONTACTS
    assert set(accepted) == set(everybody)
    record = sandbox.accepted(everybody)
    assert set(record) == set(everybody)
    assert {found.times for found in record.values()} == {1}

"""`comms privacy export` and `erase` as people use them: everything about one person, nothing about anybody else."""

import csv
import io
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from erasing import ADA, ADA_PHONE, BEN, LONGER, Gallery, open_gallery, queue_closing, send_opening
from running import write_settings
from sending import SandboxProcess
from typer.testing import CliRunner, Result

from comms_pipeline.cli import privacy
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.ledger.server import Server
from comms_pipeline.privacy.erase import erase
from comms_pipeline.privacy.export import ExportExists, collect, write
from comms_pipeline.privacy.home_files import exports_folder
from comms_pipeline.privacy.people import find_contact
from comms_pipeline.settings import Settings
from comms_pipeline.stores import Stores

TABLES = {
    "contact",
    "imports",
    "audiences",
    "decisions",
    "messages",
    "outcomes",
    "events",
    "provider_events",
    "message_status",
    "business_events",
    "conversions",
    "contact_scores",
    "channel_affinity",
    "send_hours",
    "preferences",
    "limits",
    "consents",
    "suppressions",
    "recent_messages",
    "last_inbound",
    "audit",
    "queued",
}


@pytest.fixture
def gallery(
    database: Server,
    lay_tables: Callable[[Settings], None],
    sandbox: SandboxProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Gallery]:
    home = tmp_path / "home"
    stores = Stores(
        sandbox.settings(
            home=home, database_url=database.url(), secret_key="a secret for tests only", sandbox=True
        )
    )
    lay_tables(stores.settings)
    write_settings(stores.settings)
    monkeypatch.setenv("COMMS_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    opened = open_gallery(stores, tmp_path / "gallery")
    send_opening(opened)
    queue_closing(opened)
    yield opened
    stores.lake.close()


def comms(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("export")(privacy.export)
    app.command("erase")(privacy.erase)
    return CliRunner().invoke(app, list(arguments))


def test_export_holds_every_table_and_only_the_person(gallery: Gallery, tmp_path: Path) -> None:
    result = comms("export", ADA, "--out", str(tmp_path / "ada.zip"), "--actor", "anna")
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile(tmp_path / "ada.zip") as archive:
        assert set(archive.namelist()) == {"contact.json"} | {f"{name}.csv" for name in TABLES}
        document = json.loads(archive.read("contact.json"))
        everything = b"".join(archive.read(name) for name in archive.namelist())
        decisions = list(csv.DictReader(io.StringIO(archive.read("decisions.csv").decode())))
    assert document["format"] == "comms-pipeline/contact-export/1"
    assert document["contact_id"] == gallery.ids["Ada"]
    tables = document["tables"]
    assert set(tables) == TABLES
    (contact,) = tables["contact"]
    assert (contact["email"], contact["phone"], contact["external_id"]) == (ADA, ADA_PHONE, "G-7")
    assert [row["source_name"] for row in tables["imports"]] == ["guests.csv"]
    assert {
        name: len(tables[name]) for name in ("messages", "outcomes", "events", "contact_scores", "send_hours")
    } == {
        "messages": 4,
        "outcomes": 2,
        "events": 1,
        "contact_scores": 1,
        "send_hours": 1,
    }
    assert sorted(row["address"] for row in tables["queued"]) == [ADA_PHONE, ADA]
    assert json.loads(decisions[0]["rules"]) == [{"rule_id": "none", "version": 1, "evidence": ""}]
    assert [(row["actor"], row["action"]) for row in tables["audit"]] == [("anna", "pii-access")]
    for other in (BEN, LONGER, gallery.ids["Ben"], "Mada"):
        assert other.encode() not in everything


def test_consents_come_with_their_wording(gallery: Gallery) -> None:
    gallery.ledger("insert into consent_text values ('gallery', '2026-01', 'Yes, write to me')")
    gallery.ledger(
        "insert into consent (organisation_id, subject, channel, kind, state, at, source, text_version, ip_address) "
        "values ('gallery', %s, 'email', 'express', 'given', now(), 'form', '2026-01', '192.0.2.7')",
        gallery.key(ADA),
    )
    contact = find_contact(gallery.stores, ADA, actor="anna", purpose="export")
    assert contact is not None
    (consent,) = [row for row in collect(gallery.stores, contact, ADA)["consents"] if row["source"] == "form"]
    assert (consent["wording"], consent["ip_address"]) == ("Yes, write to me", "192.0.2.7")


def test_export_goes_into_the_home_and_is_private_and_goes_with_the_person(gallery: Gallery) -> None:
    assert comms("export", ADA).exit_code == 0
    (path,) = exports_folder(gallery.stores.settings).iterdir()
    assert path.name.startswith(gallery.ids["Ada"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    contact = find_contact(gallery.stores, ADA, actor="anna", purpose="erase")
    erase(gallery.stores, contact, ADA, organisation=None, actor="anna")
    assert not path.exists()


def test_export_never_overwrites(gallery: Gallery, tmp_path: Path) -> None:
    folder = tmp_path / "ada"
    assert comms("export", ADA, "--out", str(folder)).exit_code == 0
    before = (folder / "contact.json").read_bytes()
    assert isinstance(comms("export", ADA, "--out", str(folder)).exception, ExportExists)
    assert (folder / "contact.json").read_bytes() == before
    with pytest.raises(ExportExists, match="it exists already"):
        write({}, gallery.ids["Ada"], folder, now=gallery.stores.now())


def test_who_is_not_known_is_an_error_that_does_not_repeat_the_address(gallery: Gallery) -> None:
    for arguments in (["export", "nobody@x.example"], ["export", "G-7"], ["erase", "G-7", "--yes"]):
        error = comms(*arguments).exception
        assert isinstance(error, CommsError)
        assert error.problem == "nobody is known by this"
        assert "nobody@" not in str(error)


def test_erase_asks_first(gallery: Gallery) -> None:
    result = CliRunner().invoke(_erase_only(), [ADA], input="n\n")
    assert result.exit_code == 1
    assert ADA not in result.output
    assert gallery.lake(f"select count(*) from core.contacts where email = '{ADA}'") == [(1,)]


def _erase_only() -> typer.Typer:
    app = typer.Typer()
    app.command("erase")(privacy.erase)
    return app


def test_erase_prints_what_became_of_every_store_and_the_proof(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    previews = tmp_path / "temporary"
    hers, theirs = previews / "comms-preview-1", previews / "comms-preview-2"
    for folder, address in ((hers, ADA), (theirs, BEN)):
        folder.mkdir(parents=True)
        (folder / "preview.html").write_text(f"<p>{address}</p>", encoding="utf-8")
    monkeypatch.setattr("tempfile.tempdir", str(previews))
    result = comms("erase", ADA, "--yes")
    assert result.exit_code == 0, result.output
    printed = " ".join(result.output.split())
    assert "for the address in every spelling: 0 found" in printed
    assert "Providers: 2 erasures carried out, 0 failed and due again, 0 waiting" in printed
    assert ADA not in result.output
    assert not hers.exists()
    assert theirs.exists()


def test_erase_fails_while_the_address_is_kept_somewhere(gallery: Gallery) -> None:
    (gallery.stores.settings.home / "notes.txt").write_text(f"call {ADA}", encoding="utf-8")
    result = comms("erase", ADA, "--yes")
    assert result.exit_code == 1
    assert "notes.txt" in result.output
    assert "the address is still kept" in result.output

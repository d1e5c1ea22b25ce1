"""`comms templates`: list, check and preview as typed, with a real contact and a real browser."""

import os
import shutil
import stat
from html import escape
from pathlib import Path

import pytest
from command_line import EXAMPLES, CommandLine

from comms_pipeline.ledger import sends
from comms_pipeline.previews.pictures import BROWSERS

pytestmark = pytest.mark.xdist_group("command_line")

WEDDING = EXAMPLES / "wedding"
needs_browser = pytest.mark.skipif(
    not any(map(shutil.which, BROWSERS)), reason="there is no Chromium to take pictures with"
)


@pytest.fixture
def guest(comms: CommandLine) -> str:
    """The id of Aisha Garcia, confirmed, of the colleagues, halal."""
    with comms.stores.lake_read_only.reader() as cursor:
        row = cursor.execute(
            "select contact_id from core.contacts where email = 'aisha.garcia@oakfield.example'"
        ).fetchone()
    assert row
    return str(row[0])


def test_list_needs_no_installation(tmp_path: Path) -> None:
    printed = CommandLine(home=tmp_path / "none", variables={}).ok("templates", "list")
    assert "business/invoice" in printed
    assert "email, sms, whatsapp, messenger" in printed
    assert not (tmp_path / "none").exists()


def test_check_of_the_built_in_ones_finds_nothing(comms: CommandLine) -> None:
    printed = comms.ok("templates", "check")
    assert "30 messages, 0 errors, 0 warnings" in printed
    assert "113 characters, 1 segment (gsm7)" in printed


def test_check_of_a_campaign_folder(comms: CommandLine) -> None:
    assert "0 errors" in comms.ok("templates", "check", str(WEDDING))


def test_check_fails_where_there_are_errors(comms: CommandLine, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text('<p>{{ name }}</p>\n<a href="/x">x</a>', encoding="utf-8")
    printed = comms("templates", "check", str(page))
    assert printed.code == 1
    assert f"error: {page}:2:1: the link '/x' is not absolute and https. Write the whole" in printed.err
    assert "1 message, 1 error, 4 warnings" in printed.out


def test_preview_with_example_values(comms: CommandLine, tmp_path: Path) -> None:
    printed = comms.ok("templates", "preview", "business/invoice", "--out", str(tmp_path))
    assert printed.splitlines()[0] == "business/invoice: Invoice NS-2026-1001: $365.38, due December 8, 2026"
    assert {each.name for each in tmp_path.iterdir()} == {
        "preview.html",
        "preview.txt",
        "preview.sms.txt",
        "preview.whatsapp.txt",
        "preview.messenger.txt",
    }


def test_preview_of_a_contact_prints_nothing_about_them(
    comms: CommandLine, guest: str, tmp_path: Path
) -> None:
    before = comms.state()
    printed = comms.ok(
        *("templates", "preview", "--campaign", "wedding-week-of-details"),
        *("--contact", guest, "--out", str(tmp_path)),
    )
    page = (tmp_path / "preview.html").read_text(encoding="utf-8")
    text = (tmp_path / "preview.txt").read_text(encoding="utf-8")
    assert "Dear Aisha Garcia" in page
    assert "the colleagues" in page
    assert "Rather not hear about it? Just reply." in page
    assert text.startswith("Subject: See you on Saturday, Aisha Garcia\n\nDear Aisha Garcia,")
    assert "Aisha" not in printed
    assert comms.state() == before


def test_preview_of_a_built_in_template_fills_gaps_by_its_fallbacks(
    comms: CommandLine, guest: str, tmp_path: Path
) -> None:
    page = tmp_path / "own.html"
    page.write_text(
        '{% extends "builtin/news/layout.html" %}'
        "{% block content %}Hi {{ name }}, {{ dietary_requirements }}{% endblock %}",
        encoding="utf-8",
    )
    comms.ok("templates", "preview", str(page), "--contact", guest, "--out", str(tmp_path / "out"))
    written = (tmp_path / "out/preview.html").read_text(encoding="utf-8")
    assert "Hi Aisha Garcia, halal" in written
    with comms.stores.ledger() as ledger:
        organisation = sends.get_organisation(ledger, "lakeside-weddings")
    assert organisation.postal_address
    assert escape(organisation.postal_address) in written


def test_what_no_contact_has_is_named(comms: CommandLine, guest: str) -> None:
    printed = comms("templates", "preview", "business/invoice", "--contact", guest)
    assert printed.code == 1
    assert printed.err.startswith(
        "error: variable 'amount_due': no contact has it, and business/invoice reads it."
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "nothing is named"),
        (["business/invoce"], "Did you mean 'business/invoice'?"),
        (["business/invoice", "--contact", "nobody"], "there is no such contact"),
        (["--campaign", "nothing"], "nothing"),
    ],
)
def test_bad_input_is_one_line(comms: CommandLine, arguments: list[str], problem: str) -> None:
    printed = comms("templates", "preview", *arguments)
    assert printed.code == 1
    assert printed.err.startswith("error: ")
    assert problem in printed.err
    assert printed.err.count("\n") == 1


def test_without_a_folder_only_the_owner_can_read_it(comms: CommandLine, guest: str) -> None:
    printed = comms.ok("templates", "preview", "--campaign", "wedding-invitation", "--contact", guest)
    page = Path(printed.splitlines()[0])
    assert page.is_file()
    assert stat.S_IMODE(os.stat(page.parent).st_mode) == 0o700
    shutil.rmtree(page.parent)


@needs_browser
def test_a_picture_shows_the_whole_page(comms: CommandLine, tmp_path: Path) -> None:
    printed = comms.ok("templates", "preview", "business/invoice", "--out", str(tmp_path), "--png", "--dark")
    picture = (tmp_path / "preview.png").read_bytes()
    assert str(tmp_path / "preview.png") in printed
    assert picture.startswith(b"\x89PNG")
    width, height = (int.from_bytes(picture[at : at + 4]) for at in (16, 20))
    assert width == 680
    assert 700 < height < 1_400


def test_without_a_browser_the_fix_is_named(comms: CommandLine, tmp_path: Path) -> None:
    printed = comms("templates", "preview", "business/invoice", "--out", str(tmp_path), "--png", PATH="")
    assert printed.code == 1
    assert (
        printed.err
        == "error: --png: there is no Chromium on the PATH. Install chromium, or open the HTML file\n"
    )
    assert (tmp_path / "preview.html").is_file()

"""`comms reports`: writes reports, says where they are, and answers mistakes in one line."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from audiences import Club, people
from command_line import CommandLine

from comms_pipeline.ledger.server import Server


@pytest.fixture(scope="module")
def comms(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """An installation without any campaign."""
    server = replace(postgres, database="reports_command")
    home = tmp_path_factory.mktemp("reports") / "home"
    comms = CommandLine(home=home, variables={"COMMS_DATABASE_URL": server.url()})
    comms.ok("init")
    yield comms
    comms.stores.lake.close()


@pytest.fixture
def club(comms: CommandLine, tmp_path) -> Club:
    """A club with a planned send."""
    club = Club.founded(comms.stores, tmp_path)
    club.enrol(people(3))
    club.announce()
    club.plan()
    return club


def test_a_report_is_written_where_it_says(comms: CommandLine, club: Club) -> None:
    path = comms.home / "reports" / f"{club.id}.html"

    assert comms.ok("reports", "write", club.id).split() == [str(path)]
    assert comms.ok("reports", "path", club.id).split() == [str(path)]
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not path.with_suffix(".pdf").exists()


def test_a_pdf_is_written_on_demand(comms: CommandLine, club: Club) -> None:
    page, pdf = comms.ok("reports", "write", club.id, "--pdf").split()

    assert pdf == page.replace(".html", ".pdf")
    assert (comms.home / "reports" / f"{club.id}.pdf").read_bytes().startswith(b"%PDF-")


def test_a_digest_is_of_the_week_asked_for(comms: CommandLine, club: Club) -> None:
    path = comms.home / "reports" / "weekly" / f"{club.id}-2026-W49.html"
    asked = ("--weekly", club.id, "--week", "2026-W49")

    assert comms.ok("reports", "write", *asked, "--pdf").split() == [str(path), str(path.with_suffix(".pdf"))]
    assert comms.ok("reports", "path", *asked).split() == [str(path)]


def test_a_report_that_is_not_there_is_one_line(comms: CommandLine, club: Club) -> None:
    for missing in (club.id, "../home", "../../etc/passwd"):
        printed = comms("reports", "path", missing)
        assert printed.code == 1
        assert printed.err == (
            f"error: report of {missing}: it was not written yet. Run `comms reports write {missing}`\n"
        )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("write", "nowhere"), "error: send nowhere: it was never planned. See `comms status`\n"),
        (("write", "--weekly", "nobody"), "error: organisation nobody: it is not known. "),
        (
            ("write", "--weekly", "nobody", "--week", "2026-W99"),
            "error: week 2026-W99: there is no such week. Write it like 2026-W47\n",
        ),
    ],
)
def test_what_does_not_exist_is_one_line(
    comms: CommandLine, arguments: tuple[str, ...], problem: str
) -> None:
    printed = comms("reports", *arguments)

    assert printed.code == 1
    assert printed.err.startswith(problem)
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [("write",), ("write", "a", "--weekly", "b"), ("write", "a", "--week", "2026-W49"), ("path",)],
)
def test_half_a_question_is_a_mistake_of_usage(comms: CommandLine, arguments: tuple[str, ...]) -> None:
    printed = comms("reports", *arguments)

    assert printed.code == 2
    assert "--weekly" in printed.err

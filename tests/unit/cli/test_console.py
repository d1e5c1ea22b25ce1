"""How the command line prints: numbers readable, data as it is, errors on one line."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from comms_pipeline.cli import console


def cells(printed: str) -> list[list[str]]:
    """The rows of a printed table, cell by cell."""
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234567, "1,234,567"),
        (0.25, "0.25"),
        (1234.5, "1,234.5"),
        (3.0, "3"),
        (None, ""),
        (True, "yes"),
        (False, "no"),
        ("[red]:x:[/red]", "[red]:x:[/red]"),
        (Decimal("1.50"), "1.50"),
        (datetime(2026, 12, 1, 9, tzinfo=UTC), "2026-12-01 09:00:00+00:00"),
    ],
)
def test_values_are_shown_as_people_read_them(
    capsys: pytest.CaptureFixture[str], value: object, shown: str
) -> None:
    console.table(None, ["value"], [[value]])
    assert cells(capsys.readouterr().out) == [[shown]]


def test_numbers_stand_to_the_right_also_beside_missing_ones(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(None, ["n", "word"], [[1, "a"], [1000, "b"], [None, "c"]])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert lines == ["│     1 │ a    │", "│ 1,000 │ b    │", "│       │ c    │"]


def test_title_longer_than_its_table_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("a title of several words [bold]", ["n"], [[1]])
    assert capsys.readouterr().out.splitlines()[0] == "a title of several words [bold]"


def test_errors_are_never_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    console.err.print("word " * 100)
    assert capsys.readouterr().err.count("\n") == 1


def test_step_is_ticked_when_done_and_not_when_it_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with console.step("Counting"):
        pass
    assert capsys.readouterr().out.startswith("✓ Counting")
    with pytest.raises(ZeroDivisionError), console.step("Dividing"):
        raise ZeroDivisionError
    assert "✓ Dividing" not in capsys.readouterr().out

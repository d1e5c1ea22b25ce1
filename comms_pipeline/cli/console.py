"""How the command line talks: tables, progress, one-line errors. No logic, no stores."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

# Piped or redirected there is no window to fit: wide enough that tables keep their rows on one line.
_WIDE = None if sys.stdout.isatty() else 200
# Data may hold what looks like an emoji's name (":x:"): it is printed as it is.
out = Console(highlight=False, emoji=False, width=_WIDE)
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows; numbers to the right, with thousands separators."""
    rows = [list(row) for row in rows]
    if title:
        # As the table's own title it would be wrapped to the table's width.
        out.print(title, style="italic", markup=False)
    view = Table(header_style="bold")
    for position, name in enumerate(columns):
        is_number = rows != [] and all(
            isinstance(row[position], int | float | None) and not isinstance(row[position], bool)
            for row in rows
        )
        view.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        view.add_row(*(_cell(value) for value in row))
    out.print(view)


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return escape(str(value))


@contextmanager
def step(description: str) -> Iterator[Progress]:
    """A line with a spinner while something takes its time; afterwards a tick and how long it took."""
    progress = Progress(
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=out,
    )
    with progress:
        task = progress.add_task(description, total=None, note="")
        yield progress
        progress.update(task, total=1, completed=1)

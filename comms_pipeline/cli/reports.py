"""Writes reports, and says where they are. What they say is found out in `reports`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comms_pipeline.cli.console import out
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.errors import NotFound

if TYPE_CHECKING:
    from comms_pipeline.reports.weeks import Week
    from comms_pipeline.stores import Stores

Send = Annotated[str, typer.Argument(help="The send's id.")]
Weekly = Annotated[str, typer.Option("--weekly", help="The digest of this organisation's week instead.")]
InWeek = Annotated[str, typer.Option("--week", help="Such as 2026-W47; by default the last that is over.")]


def write(
    send: Send = "",
    weekly: Weekly = "",
    week: InWeek = "",
    pdf: Annotated[bool, typer.Option("--pdf", help="As a PDF too.")] = False,
) -> None:
    """Write the report of a send, or an organisation's weekly digest, and print where it is."""
    from comms_pipeline.reports.campaign import write_report
    from comms_pipeline.reports.digest import write_digest

    _require_one(send, weekly, week)
    stores = open_stores()
    if weekly:
        written = write_digest(stores, weekly, _week(stores, week), with_pdf=pdf)
    else:
        written = write_report(stores, send, with_pdf=pdf)
    for path in filter(None, (written.html, written.pdf)):
        _print(path)


def show_path(send: Send = "", weekly: Weekly = "", week: InWeek = "") -> None:
    """Print where a report is: open "$(comms reports path SEND)"."""
    from comms_pipeline.reports.campaign import report_path
    from comms_pipeline.reports.digest import digest_path

    _require_one(send, weekly, week)
    stores = open_stores()
    path = digest_path(stores, weekly, _week(stores, week)) if weekly else report_path(stores, send)
    if path.parent.resolve() != _folder(stores, is_weekly=bool(weekly)) or not path.exists():
        option = f"--weekly {weekly}" if weekly else send
        raise NotFound(
            f"report of {weekly or send}", "it was not written yet", f"Run `comms reports write {option}`"
        )
    _print(path)


def _folder(stores: "Stores", *, is_weekly: bool) -> Path:
    folder = stores.settings.reports_path.resolve()
    return folder / "weekly" if is_weekly else folder


def _require_one(send: str, weekly: str, week: str) -> None:
    if bool(send) == bool(weekly):
        raise typer.BadParameter("give SEND, or --weekly ORGANISATION")
    if week and not weekly:
        raise typer.BadParameter("--week goes with --weekly ORGANISATION")


def _week(stores: "Stores", text: str) -> "Week":
    from comms_pipeline.reports.weeks import parse_week, week_before

    return parse_week(text) if text else week_before(stores.now())


def _print(path: Path) -> None:
    out.print(str(path), markup=False, soft_wrap=True)

"""`comms import events` and `comms events`: business events of files, who opened and clicked, what messages brought."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from comms_pipeline.cli.console import err, out, step, table
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.business_event import MAX_EVENTS, BusinessEvent, read_event, unknown_organisation
from comms_pipeline.domain.errors import CommsError
from comms_pipeline.domain.validation import Fault

_REJECTS_SHOWN = 20
_SOURCE = "file"


class InvalidEventFile(CommsError):
    """A file of business events cannot be read; nothing was imported."""


def import_events(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8 with a heading, or NDJSON (an object a line).")],
    organisation: Annotated[
        str | None, typer.Option(help="Whose events these are, where they do not say so themselves.")
    ] = None,
) -> None:
    """Import business events: the valid ones, each once; the others are told by their line."""
    from comms_pipeline.ledger.landing import land
    from comms_pipeline.providers import business_events

    stores = open_stores()
    rejects: list[tuple[int, str, str, str]] = []
    accepted = 0
    with step(f"Importing {file.name}") as progress, stores.ledger() as ledger, ledger.transaction():
        known: dict[str, bool] = {}
        told = _told(file, organisation)
        while part := list(islice(told, MAX_EVENTS)):
            events: list[BusinessEvent] = []
            for line, item in part:
                found = item if isinstance(item, Fault) else read_event(item, datetime.now(UTC))
                if isinstance(found, BusinessEvent):
                    found = _of_known_organisation(ledger, found, known)
                if isinstance(found, Fault):
                    rejects.append((line, _field(found), found.problem, found.fix))
                else:
                    events.append(found)
            if events:
                body = business_events.body_of(events, source=_SOURCE, secret=stores.secret)
                land(ledger, business_events.PROVIDER, business_events.KIND, "", body)
            accepted += len(events)
            progress.update(progress.task_ids[0], note=f"{accepted:,} events")
    out.print(f"{accepted:,} events landed for loading, {len(rejects):,} rejected")
    if rejects:
        shown = rejects[:_REJECTS_SHOWN]
        table("Rejected", ["line", "field", "problem", "fix"], shown)
        if len(shown) < len(rejects):
            err.print(f"… and {len(rejects) - len(shown):,} more")
        err.print("Correct these lines and import the file again: what is imported already stays as it is.")
        raise typer.Exit(1)


def show_verdicts() -> None:
    """Opens and clicks by who did them, and the rules that spoke."""
    sql, stores = _queries("lake/queries/verdicts.sql"), open_stores()
    with stores.lake.reader() as cursor:
        table(
            None,
            ["kind", "by", "events", "messages", "mean score"],
            cursor.execute(sql["verdicts_by_kind"]).fetchall(),
        )
        table("By rule", ["kind", "rule", "events"], cursor.execute(sql["reasons_by_rule"]).fetchall())


def rescore() -> None:
    """Judge opens and clicks again that other rules than those of now judged, day by day."""
    from comms_pipeline.loader.verdicts import rescore_outdated

    stores = open_stores()
    judged = 0

    def show(done: int, days: int) -> None:
        nonlocal judged
        judged = done
        progress.update(progress.task_ids[0], note=f"{done:,} of {days:,} days")

    with step("Judging again") as progress:
        changed = rescore_outdated(stores, show)
    out.print(f"{judged:,} days, {changed:,} events changed")


def show_conversions(
    organisation: Annotated[str | None, typer.Option(help="Of this organisation only.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Credit everything anew first.")] = False,
) -> None:
    """What messages brought, by campaign."""
    from comms_pipeline.loader.conversions import rebuild_conversions

    stores = open_stores()
    if rebuild:
        out.print(f"{rebuild_conversions(stores):,} conversions changed")
    with stores.lake.reader() as cursor:
        found = cursor.execute(
            _queries("lake/queries/conversions.sql")["by_campaign"], {"organisation": organisation}
        )
        table(
            None,
            ["campaign", "channel", "type", "touch", "currency", "conversions", "contacts", "value"],
            found.fetchall(),
        )


def _queries(path: str) -> dict[str, str]:
    from comms_pipeline.sqlfiles import named_queries

    return named_queries(path)


def _told(file: Path, organisation: str | None) -> Iterator[tuple[int, dict[str, Any] | Fault]]:
    """The events of the file with their lines; a fault for a line that holds none."""
    is_csv = file.suffix.lower() == ".csv"
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for line, item in _csv_rows(lines) if is_csv else _json_lines(lines):
                if isinstance(item, dict) and organisation is not None:
                    item.setdefault("organisation", organisation)
                yield line, item
    except OSError as error:
        raise InvalidEventFile(file.name, error.strerror or "it cannot be read", "Check the path") from None
    except UnicodeDecodeError:
        raise InvalidEventFile(file.name, "it is not UTF-8 text", "Save it as UTF-8") from None


def _json_lines(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any] | Fault]]:
    import orjson

    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = orjson.loads(line)
        except orjson.JSONDecodeError:
            item = None
        is_object = isinstance(item, dict)
        yield (
            number,
            item if is_object else _no_event("it is no JSON object", "Write one object on each line"),
        )


def _csv_rows(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any] | Fault]]:
    """Columns are fields, or `properties.NAME`; what is empty was not told."""
    import csv

    reader = csv.DictReader(lines, strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error:
            yield reader.line_num, _no_event("its quotes do not match", "Double a quote inside quotes")
            continue
        if row is None:
            return
        if None in row or None in row.values():
            yield (
                reader.line_num,
                _no_event("it has more or fewer values than the heading", "Correct the line"),
            )
            continue
        item: dict[str, Any] = {}
        properties: dict[str, str] = {}
        for name, value in row.items():
            if value.strip():
                place, _, prop = name.partition(".")
                if place == "properties" and prop:
                    properties[prop] = value.strip()
                else:
                    item[name] = value.strip()
        yield reader.line_num, item | ({"properties": properties} if properties else {})


def _of_known_organisation(
    ledger: psycopg.Connection[Any], event: BusinessEvent, known: dict[str, bool]
) -> BusinessEvent | Fault:
    from comms_pipeline.domain.errors import NotFound
    from comms_pipeline.ledger.sends import get_organisation

    if event.organisation_id not in known:
        try:
            get_organisation(ledger, event.organisation_id)
            known[event.organisation_id] = True
        except NotFound:
            known[event.organisation_id] = False
    return event if known[event.organisation_id] else unknown_organisation(event)


def _no_event(problem: str, fix: str) -> Fault:
    return Fault(path=(), problem=problem, fix=fix)


def _field(found: Fault) -> str:
    return ".".join(str(part) for part in found.path)

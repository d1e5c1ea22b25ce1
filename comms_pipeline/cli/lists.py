"""`comms suppressions`, `comms consents`, `comms do-not-call`: the lists that decide whom we must not reach.

Files are read and checked by `list_files`. An import is one transaction: all of a file, or nothing.
"""

import csv
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

import polars as pl
import psycopg
import typer

from comms_pipeline.cli.actor import actor
from comms_pipeline.cli.console import err, out, table
from comms_pipeline.cli.list_files import (
    Checked,
    InvalidListFile,
    NumberFile,
    checked_suppressions,
    consents_in,
    suppressions_in,
)
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.consent import ConsentState
from comms_pipeline.domain.errors import NotFound
from comms_pipeline.domain.event import SuppressionReason, SuppressionScope
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import consents, do_not_call, sends, suppressions
from comms_pipeline.ledger.consents import Consent
from comms_pipeline.ledger.suppressions import EVERY_ORGANISATION, Suppression

_BAD_ROWS_SHOWN = 20
_ROWS_AT_ONCE = 50_000
_OLDEST_DAYS = 31
"""47 CFR 64.1200(c)(2)(i)(D): a registry is asked in a version no older than this."""
_LIST_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
_Row = TypeVar("_Row")
_COLUMNS = ("address_key", "channel", "reason", "scope")

OrganisationOption = Annotated[
    str, typer.Option("--organisation", help="Whose list; `*` is the one that holds for every organisation.")
]
OneOrganisation = Annotated[str, typer.Option("--organisation", help="Who was given the consents.")]
Address = Annotated[str, typer.Argument(help="E-mail address, or phone number with + and country code.")]
ListFile = Annotated[Path, typer.Argument(help="CSV in UTF-8 with a heading.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Import the valid rows and count the others.")]


def list_suppressions(
    organisation: OrganisationOption,
    channel: Annotated[Channel | None, typer.Option(help="Of this channel only.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many rows.", min=1)] = 50,
) -> None:
    """Whom an organisation must not reach, by keyed hash: the addresses themselves are not kept."""
    stores = open_stores()
    with stores.ledger() as ledger, ledger.transaction():
        _require_organisation(ledger, organisation)
        found = list(suppressions.listed(ledger, organisation, channel=channel, limit=limit + 1))
    table(
        None,
        ["channel", "key", "reason", "scope", "source", "since"],
        [
            (
                row.channel,
                row.address_key.hex(),
                row.reason,
                row.scope,
                row.source,
                f"{row.created_at:%Y-%m-%d %H:%M}",
            )
            for row in found[:limit]
        ],
    )
    if len(found) > limit:
        err.print(f"The first {limit:,} rows; `comms suppressions export` writes all.")


def add_suppression(
    address: Address,
    organisation: OrganisationOption,
    channel: Annotated[Channel, typer.Option(help="On which channel.")],
    reason: Annotated[SuppressionReason, typer.Option(help="Why.")] = SuppressionReason.MANUAL,
    scope: Annotated[SuppressionScope, typer.Option(help="Against which messages.")] = SuppressionScope.ALL,
) -> None:
    """Never reach an address again, from now on and also in sends that are under way."""
    stores = open_stores()
    key = _key(address, channel, stores.secret)
    row = _suppression(organisation, channel, key, reason, scope)
    with stores.ledger() as ledger, ledger.transaction():
        _require_organisation(ledger, organisation)
        changed = suppressions.suppress(ledger, [row])
    out.print("It is suppressed from now on" if changed else "It was suppressed already")


def lift_suppression(
    address: Address,
    organisation: OrganisationOption,
    channel: Annotated[Channel, typer.Option(help="On which channel.")],
    reason: Annotated[
        SuppressionReason, typer.Option(help="Lift it only if this is why it is suppressed.")
    ] = SuppressionReason.MANUAL,
) -> None:
    """Take a suppression back. What somebody asked for themselves is only lifted by naming the reason."""
    stores = open_stores()
    key = _key(address, channel, stores.secret)
    with stores.ledger() as ledger, ledger.transaction():
        lifted = suppressions.lift(
            ledger,
            organisation_id=organisation,
            channel=channel,
            address_keys=[key],
            reasons=[reason],
            actor=actor(),
        )
        standing = suppressions.standing(ledger, organisation, channel, key)
    if not lifted:
        others = " and ".join(f"{row.reason} for {row.organisation_id}" for row in standing)
        raise NotFound(
            f"suppression '{reason}' on {channel}",
            f"the address has none of {organisation}" + (f", but {others}" if others else ""),
            "Name it with --reason and --organisation" if others else "Check the address and the channel",
        )
    out.print("It is lifted" + ("; another one holds for every organisation" if standing else ""))


def import_suppressions(file: ListFile, organisation: OrganisationOption, skip_bad: SkipBad = False) -> None:
    """Add a list: columns `address` or `address_key` (hex), `channel`, `reason`, and `scope` (all when empty)."""
    stores = open_stores()
    checked = suppressions_in(file, stores.secret)
    _require_valid(file, checked, skip_bad=skip_bad)
    rows = (
        _suppression(
            organisation,
            Channel(row["channel"]),
            row["address_key"],
            SuppressionReason(row["reason"]),
            SuppressionScope(row["scope"]),
        )
        for row in checked.good.iter_rows(named=True)
    )
    with stores.ledger() as ledger, ledger.transaction():
        _require_organisation(ledger, organisation)
        changed = _in_parts(rows, lambda part: suppressions.suppress(ledger, part))
    out.print(_summary(checked, changed, "suppressions"))


def export_suppressions(
    file: Annotated[Path, typer.Argument(help="CSV to write; must not exist.")],
    organisation: OrganisationOption,
) -> None:
    """Write the whole list as CSV: keys in hex, no addresses. It can be imported where the secret key is the same."""
    stores = open_stores()
    with stores.ledger() as ledger, ledger.transaction():
        _require_organisation(ledger, organisation)
        count = 0
        try:
            with file.open("x", encoding="utf-8", newline="") as opened:
                writer = csv.writer(opened)
                writer.writerow(_COLUMNS)
                for row in suppressions.listed(ledger, organisation):
                    writer.writerow((row.address_key.hex(), row.channel, row.reason, row.scope))
                    count += 1
        except OSError as error:
            raise InvalidListFile(
                str(file), error.strerror or "it cannot be written", "Name a new file in a folder of yours"
            ) from None
    out.print(f"{count:,} suppressions are in {file}")


def import_consents(file: ListFile, organisation: OneOrganisation, skip_bad: SkipBad = False) -> None:
    """Add consents: columns `address,channel,kind,state,at,source`, and `purpose,text_version,ip` where known.

    Importing a file again changes nothing, and no old consent undoes a later withdrawal.
    """
    stores = open_stores()
    checked = consents_in(file, stores.secret, stores.now())
    _require_valid(file, checked, skip_bad=skip_bad)
    rows = (
        Consent(
            organisation_id=organisation,
            subject=row["subject"],
            channel=Channel(row["channel"]),
            purpose=row["purpose"],
            kind=row["kind"],
            state=ConsentState(row["state"]),
            at=row["at"],
            text_version=row["text_version"],
            source=row["source"],
            ip_address=row["ip_address"],
        )
        for row in checked.good.iter_rows(named=True)
    )
    with stores.ledger() as ledger, ledger.transaction():
        sends.get_organisation(ledger, organisation)
        added = _in_parts(rows, lambda part: consents.record(ledger, part, actor()))
    out.print(_summary(checked, added, "consents"))


def import_do_not_call(
    file: Annotated[Path, typer.Argument(help="A number on each line.")],
    name: Annotated[str, typer.Option("--list", help="Which registry, e.g. `us-national`.")],
    skip_bad: SkipBad = False,
) -> None:
    """Replace a do-not-call registry by a newer download. It holds for every organisation."""
    if not pl.Series([name]).str.contains(_LIST_NAME)[0]:
        raise InvalidListFile("--list", "it is no plain word", "Use a-z, 0-9 and '-', e.g. us-national")
    stores = open_stores()
    numbers = NumberFile(file=file, secret=stores.secret)
    with stores.ledger() as ledger, ledger.transaction():
        count = do_not_call.replace_list(ledger, name, numbers.keys(), actor())
        bad = pl.concat(numbers.bad) if numbers.bad else pl.DataFrame()
        _require_valid(file, Checked(good=pl.DataFrame(), bad=bad), skip_bad=skip_bad)
        if not count:
            raise InvalidListFile(file.name, "it holds no number", "Import a download that is not empty")
    out.print(f"{name} holds {count:,} numbers now" + _skipped(bad.height))


def list_do_not_call() -> None:
    """The registries and their age. They are asked for text messages of marketing."""
    stores = open_stores()
    with stores.ledger() as ledger:
        found = do_not_call.lists(ledger)
    now = stores.now()
    ages = {each.list_id: (now - each.imported_at).days for each in found}
    table(
        None,
        ["list", "numbers", "imported", "age, days"],
        [
            (each.list_id, each.numbers, f"{each.imported_at:%Y-%m-%d %H:%M}", ages[each.list_id])
            for each in found
        ],
    )
    for name, days in ages.items():
        if days > _OLDEST_DAYS:
            err.print(
                f"[yellow]warning:[/yellow] {name} is {days} days old; the law wants {_OLDEST_DAYS} at most. "
                "Import a new download"
            )


def _key(address: str, channel: Channel, secret: bytes) -> bytes:
    row = {
        "line": 1,
        "channel": channel.value,
        "reason": SuppressionReason.MANUAL.value,
        "scope": SuppressionScope.ALL.value,
        "address": address.strip() or None,
        "address_key": None,
    }
    checked = checked_suppressions(pl.DataFrame([row], schema_overrides={"address_key": pl.String}), secret)
    if checked.bad.height:
        _, problem, fix = checked.bad.row(0)
        raise InvalidListFile("address", problem, fix)
    key: bytes = checked.good["address_key"][0]
    return key


def _suppression(
    organisation: str, channel: Channel, key: bytes, reason: SuppressionReason, scope: SuppressionScope
) -> Suppression:
    return Suppression(
        organisation_id=organisation,
        channel=channel,
        address_key=key,
        reason=reason,
        scope=scope,
        source=actor(),
    )


def _require_organisation(ledger: psycopg.Connection[Any], organisation: str) -> None:
    if organisation != EVERY_ORGANISATION:
        sends.get_organisation(ledger, organisation)


def _require_valid(file: Path, checked: Checked, *, skip_bad: bool) -> None:
    """Show what is wrong with which lines, and go no further unless they are to be skipped."""
    bad = checked.bad
    if not bad.height:
        return
    if skip_bad:
        counts = bad.group_by("problem").len("rows").sort("rows", "problem", descending=[True, False])
        table("Skipped", ["problem", "rows"], counts.rows())
        return
    table(None, ["line", "problem", "fix"], bad.sort("line").head(_BAD_ROWS_SHOWN).rows())
    raise InvalidListFile(
        file.name,
        f"{bad.height:,} rows are not valid, nothing was imported",
        "Correct them, or import the others with --skip-bad",
    )


def _in_parts(rows: Iterator[_Row], write: Callable[[list[_Row]], int]) -> int:
    changed = 0
    while part := list(islice(rows, _ROWS_AT_ONCE)):
        changed += write(part)
    return changed


def _summary(checked: Checked, changed: int, what: str) -> str:
    rows = checked.good.height
    told = f"{rows:,} {what}: {changed:,} new or changed, {rows - changed:,} there already"
    return told + _skipped(checked.bad.height)


def _skipped(rows: int) -> str:
    return f"; {rows:,} rows skipped" if rows else ""

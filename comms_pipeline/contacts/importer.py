"""Contact files → batches of contacts and rejects that add up to the rows of the file. Writes no store."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl

from comms_pipeline.contacts.identity import IDENTITY, SeenContacts, with_identity
from comms_pipeline.contacts.mapping import ContactMapping, Target
from comms_pipeline.contacts.normalise import PROBLEMS, normalise
from comms_pipeline.contacts.projection import project
from comms_pipeline.contacts.reader import Source, open_source

NO_ADDRESS = "no e-mail address and no phone number"


class Severity(StrEnum):
    """What a reject costs."""

    ROW = "row"
    """The row gave no contact."""
    COLUMN = "column"
    """The contact is kept, without this value."""


_TEXTS = ("contact_id", "organisation_id", *Target, "attributes", "consent_source")

CONTACTS = pl.Schema(
    [(str(name), pl.String()) for name in _TEXTS]
    + [("consent_at", pl.Datetime("us", "UTC")), ("source_row", pl.Int64())]
)
"""One contact a row. `attributes` is a JSON object without missing values; `source_row` counts from 1."""

REJECTS = pl.Schema([*PROBLEMS.items(), ("severity", pl.String())])
"""Every lost row once with severity "row", every dropped value of a row with "column". No values: row, column
and reason suffice to mend the file. `column` is null where the row as a whole is malformed."""


@dataclass(frozen=True, kw_only=True)
class ImportBatch:
    """Some successive rows of a file, as `CONTACTS` and `REJECTS`."""

    contacts: pl.DataFrame
    rejects: pl.DataFrame


def read_contacts(
    path: Path,
    mapping: ContactMapping,
    *,
    secret: bytes,
    batch_rows: int = 250_000,
    progress: Callable[[int], None] | None = None,
) -> Iterator[ImportBatch]:
    """Read a contact file in batches of `batch_rows` rows, in file order.

    A row becomes a contact when it has a valid e-mail address or phone number. Of rows that are the same
    contact the first one stays. Contacts and rejects of severity "row" together are the rows of the file.
    `progress` is called with the number of rows just done.

    Raises `InvalidContactFile` before the first batch when the file or its mapping cannot be used, and
    `InvalidSettings` for an empty secret.
    """
    with open_source(path, mapping.delimiter) as source:
        projection = project(source, mapping)
        seen = SeenContacts()
        for start in range(0, source.rows, batch_rows):
            end = min(start + batch_rows, source.rows)
            batch = _batch(projection.rows(start, end), mapping, secret, seen)
            malformed = _malformed(source, start, end)
            yield ImportBatch(
                contacts=batch.contacts, rejects=pl.concat([malformed, batch.rejects]).sort("source_row")
            )
            if progress is not None:
                progress(end - start)


def _batch(rows: pl.DataFrame, mapping: ContactMapping, secret: bytes, seen: SeenContacts) -> ImportBatch:
    rows, problems = normalise(rows, mapping.default_region)
    has_address = pl.col(Target.EMAIL).is_not_null() | pl.col(Target.PHONE).is_not_null()
    reachable = with_identity(rows.filter(has_address), mapping.organisation, secret)
    reachable = reachable.with_columns(seen.first_rows(reachable).alias("first_row"))
    is_first = pl.col("first_row") == pl.col("source_row")
    consent = mapping.consent
    contacts = reachable.filter(is_first).with_columns(
        organisation_id=pl.lit(mapping.organisation),
        consent_source=pl.lit(consent.source),
        consent_at=pl.lit(consent.at, pl.Datetime("us", "UTC")),
    )
    rejects = [
        _lost_or_dropped(problems, lost=rows.filter(~has_address)["source_row"]),
        _same_contact(reachable.filter(~is_first)),
    ]
    return ImportBatch(contacts=contacts.select(CONTACTS.names()), rejects=pl.concat(rejects))


def _lost_or_dropped(problems: pl.DataFrame, lost: pl.Series) -> pl.DataFrame:
    """The problems as rejects, one of each `lost` row carrying the loss of the row."""
    is_lost = pl.col("source_row").is_in(lost.implode())
    is_address = pl.col("column").is_in([Target.EMAIL, Target.PHONE])
    # E-mail before phone: one of them has to speak for the row.
    ordered = problems.sort("source_row", ~is_address, "column")
    speaks = is_lost & is_address & pl.col("source_row").is_first_distinct()
    rejects = ordered.with_columns(
        severity=pl.when(speaks).then(pl.lit(Severity.ROW.value)).otherwise(pl.lit(Severity.COLUMN.value))
    )
    spoken_for = rejects.filter(pl.col("severity") == Severity.ROW)["source_row"]
    silent = lost.filter(~lost.is_in(spoken_for.implode()))
    return pl.concat([rejects, _row_rejects(silent, Target.EMAIL.value, NO_ADDRESS)])


def _same_contact(repeated: pl.DataFrame) -> pl.DataFrame:
    reason = pl.format("same contact as row {}", "first_row")
    return repeated.select(
        "source_row",
        column=IDENTITY,
        reason=reason,
        severity=pl.lit(Severity.ROW.value),
    )


def _malformed(source: Source, start: int, end: int) -> pl.DataFrame:
    found = source.malformed.filter(pl.col("source_row").is_between(start + 1, end))
    return _row_rejects(found["source_row"], None, found["reason"])


def _row_rejects(rows: pl.Series, column: str | None, reason: str | pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"source_row": rows}).select(
        "source_row",
        column=pl.lit(column, pl.String),
        reason=pl.lit(reason),
        severity=pl.lit(Severity.ROW.value),
    )

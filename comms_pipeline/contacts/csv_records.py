"""Delimited text → records, with every malformed one set aside under its row number. Opens no file.

Rows count from 1 after the header; blank lines are no rows. An unclosed quote costs its own line only:
reading resumes at the next one.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import polars as pl

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
"""What separates columns when nothing is said, and what people call it."""

BAD_QUOTE = "a quote is not closed, or closed inside a value"

_WRONG_WIDTH = "has {} values instead of {}"
_CHUNK_LINES = 50_000
_SAMPLE_ROWS = 50


MALFORMED = pl.Schema({"source_row": pl.Int64, "reason": pl.String})
"""Rows set aside: number and why."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some successive rows: the well-formed ones (number and cells as text), and the `MALFORMED` others."""

    rows: pl.DataFrame
    malformed: pl.DataFrame


def guess_delimiter(sample: str) -> str:
    """The delimiter under which the most rows of the sample agree with its header; comma in doubt."""
    best, best_score = ",", (0.0, 1)
    for delimiter in DELIMITERS:
        records = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
        rows = [row for row in islice(records, _SAMPLE_ROWS) if row]
        width = len(rows[0]) if rows else 0
        agreement = sum(len(row) == width for row in rows) / len(rows) if rows else 0.0
        if width > 1 and (agreement, width) > best_score:
            best, best_score = delimiter, (agreement, width)
    return best


def read_header(lines: Iterator[str], delimiter: str) -> list[str]:
    """The first record that is not blank, trimmed; empty when there is none. Raises `csv.Error`."""
    for record in csv.reader(lines, delimiter=delimiter, strict=True):
        if any(cell.strip() for cell in record):
            return [cell.strip() for cell in record]
    return []


def read_chunks(lines: Iterator[str], delimiter: str, columns: list[str], number: str) -> Iterator[Chunk]:
    """The records after the header, some 50,000 at a time; `number` names the column with their numbers."""
    shape = _Shape(delimiter=delimiter, columns=columns, number=number)
    first = 1
    while block := list(islice(lines, _CHUNK_LINES)):
        has_quotes = any('"' in line for line in block)
        chunk = shape.parsed(block, lines, first) if has_quotes else shape.split(block, first)
        first += chunk.rows.height + chunk.malformed.height
        yield chunk


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """What a well-formed record looks like; turns a block of lines, its first row numbered, into a chunk."""

    delimiter: str
    columns: list[str]
    number: str

    def split(self, block: list[str], first: int) -> Chunk:
        """Without quotes a record is a line, and a cell what stands between delimiters: columns do it."""
        line, width = pl.col("line"), len(self.columns)
        lines = (
            pl.DataFrame({"line": block}, schema={"line": pl.String})
            .select(line.str.strip_chars_end("\r\n"))
            .filter(line != "")
            .select(
                pl.int_range(first, first + pl.len(), dtype=pl.Int64).alias(self.number),
                line,
                found=line.str.count_matches(self.delimiter, literal=True) + 1,
            )
        )
        cells = line.str.split_exact(self.delimiter, width - 1).struct.rename_fields(self.columns)
        others = lines.filter(pl.col("found") != width)
        return Chunk(
            rows=lines.filter(pl.col("found") == width).select(self.number, cells.struct.unnest()),
            malformed=others.select(
                source_row=self.number, reason=pl.format(_WRONG_WIDTH, "found", pl.lit(width))
            ),
        )

    def parsed(self, block: list[str], more: Iterator[str], first: int) -> Chunk:
        """With quotes; takes further lines from `more` when a record goes on after the block."""
        try:
            records: list[list[str] | None] = list(csv.reader(block, delimiter=self.delimiter, strict=True))
        except csv.Error:
            # A malformed record, or one that goes on in the next block.
            records = list(_recovered(block, more, self.delimiter))
        rows, numbers, malformed = [], [], []
        for row, record in enumerate((record for record in records if record != []), first):
            if record is None:
                malformed.append((row, BAD_QUOTE))
            elif len(record) != len(self.columns):
                malformed.append((row, _WRONG_WIDTH.format(len(record), len(self.columns))))
            else:
                numbers.append(row)
                rows.append(record)
        cells = list(zip(*rows, strict=True)) or [()] * len(self.columns)
        texts = [pl.Series(name, values, pl.String) for name, values in zip(self.columns, cells, strict=True)]
        return Chunk(
            rows=pl.DataFrame([pl.Series(self.number, numbers, pl.Int64), *texts]),
            malformed=pl.DataFrame(malformed, schema=MALFORMED, orient="row"),
        )


def _recovered(block: list[str], more: Iterator[str], delimiter: str) -> Iterator[list[str] | None]:
    """The records of a block line by line; None stands for a line that no record can start at.

    Takes lines from `more` while a record at the block's end is open, as far as csv's field limit goes.
    """

    def lines_from(position: int) -> Iterator[str]:
        while True:
            if position == len(block):
                line = next(more, None)
                if line is None:
                    return
                block.append(line)
            yield block[position]
            position += 1

    position = 0
    while position < len(block):
        start, reader = position, csv.reader(lines_from(position), delimiter=delimiter, strict=True)
        try:
            while position < len(block):
                yield next(reader)
                position = start + reader.line_num
        except csv.Error:
            yield None
            position += 1

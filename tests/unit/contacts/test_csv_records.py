"""Delimited text: rows keep their numbers, malformed ones are set aside, and quotes cost no other row."""

import io
from itertools import product

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.contacts import csv_records
from comms_pipeline.contacts.csv_records import BAD_QUOTE, guess_delimiter, read_chunks, read_header

Rows = list[tuple[object, ...]]


def read(text: str, columns: int = 3, delimiter: str = ",") -> tuple[Rows, Rows]:
    """(rows, malformed) of a text without header."""
    names = [f"c{position}" for position in range(columns)]
    chunks = list(read_chunks(io.StringIO(text, newline=""), delimiter, names, "n"))
    return (
        [row for chunk in chunks for row in chunk.rows.rows()],
        [row for chunk in chunks for row in chunk.malformed.rows()],
    )


CASES = [
    ("1,2,3\n4,5,6\n", [(1, "1", "2", "3"), (2, "4", "5", "6")], []),
    ("1,2,3\r\n\r\n4,5,6", [(1, "1", "2", "3"), (2, "4", "5", "6")], []),
    ("1,2,3\r4,5,6\n7,8,9\r\n", [(1, "1", "2", "3"), (2, "4", "5", "6"), (3, "7", "8", "9")], []),
    ("1,2\n4,5,6\n7,8,9,0\n", [(2, "4", "5", "6")], [(1, 2), (3, 4)]),
    (",,\n", [(1, "", "", "")], []),
    ('1,"x,\ny",3\n4,5,6\n', [(1, "1", "x,\ny", "3"), (2, "4", "5", "6")], []),
    ('1,"say ""hi""",3\n', [(1, "1", 'say "hi"', "3")], []),
    ('1,5" pipe,3\n', [(1, "1", '5" pipe', "3")], []),
    ('1,"x,3\n4,5,6\n7,8,9\n', [(2, "4", "5", "6"), (3, "7", "8", "9")], [(1, None)]),
    ('1,"x"y,3\n4,5,6\n', [(2, "4", "5", "6")], [(1, None)]),
    ('1,2,"3', [], [(1, None)]),
    ('"a\nb",2\n4,5,6\n', [(2, "4", "5", "6")], [(1, 2)]),
]


@pytest.mark.parametrize(("text", "rows", "malformed"), CASES)
def test_each_row_is_read_or_set_aside_under_its_number(
    text: str, rows: Rows, malformed: list[tuple[int, int | None]]
) -> None:
    found, set_aside = read(text)

    assert found == rows
    assert set_aside == [
        (row, BAD_QUOTE if width is None else f"has {width} values instead of 3") for row, width in malformed
    ]


def test_an_unclosed_quote_costs_its_own_line_only() -> None:
    rows, malformed = read('1,2,3\n1,"x,3\n4,5,6\n7,"8",9\n0,0,0\n')

    assert rows == [(1, "1", "2", "3"), (3, "4", "5", "6"), (4, "7", "8", "9"), (5, "0", "0", "0")]
    assert malformed == [(2, BAD_QUOTE)]


@pytest.mark.parametrize("chunk_lines", [1, 2, 3, 5])
def test_records_that_cross_chunks_stay_whole(chunk_lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_records, "_CHUNK_LINES", chunk_lines)

    rows, malformed = read('1,"a\nb\nc\nd",3\n4,5,6\n\n7,8\n"9\n",8,7\n')

    assert rows == [(1, "1", "a\nb\nc\nd", "3"), (2, "4", "5", "6"), (4, "9\n", "8", "7")]
    assert malformed == [(3, "has 2 values instead of 3")]


@given(st.lists(st.text("ab,;|\t ", max_size=8), max_size=12), st.sampled_from([",", ";", "\t", "|"]))
def test_columns_split_as_the_parser_does(lines: list[str], delimiter: str) -> None:
    shape = csv_records._Shape(delimiter=delimiter, columns=["a", "b"], number="n")
    block = [f"{line}\n" for line in lines]

    split = shape.split(block, 1)
    parsed = shape.parsed(block, iter(()), 1)

    assert split.rows.rows() == parsed.rows.rows()
    assert split.malformed.rows() == parsed.malformed.rows()


@given(st.text('a,"\n\r', max_size=40))
def test_rows_are_numbered_without_gaps(text: str) -> None:
    rows, malformed = read(text, columns=2)
    numbers = sorted(int(str(row[0])) for row in rows + malformed)

    assert numbers == list(range(1, len(numbers) + 1))


def test_a_well_formed_record_survives_any_neighbours() -> None:
    for before, after in product(['x,"y\n', "x\n", "\n", "x,y,z\n", '"x"y,z\n'], repeat=2):
        rows, _ = read(f"{before}good,row\n{after}", columns=2)
        assert ("good", "row") in [row[1:] for row in rows]


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("email,name\na@b.example,Ada\n", ","),
        ("email;name\na@b.example;Ada, Countess\n", ";"),
        ("email\tname\n", "\t"),
        ("email|name|note\na@b.example|Ada|x,y;z\n", "|"),
        ('"a,b";c\n"1,2";3\n', ";"),
        ("email\na@b.example\n", ","),
        ("email\rname;a\r", ","),
        ("", ","),
    ],
)
def test_delimiter_is_the_one_under_which_rows_agree(sample: str, expected: str) -> None:
    assert guess_delimiter(sample) == expected


def test_header_is_the_first_line_with_something_in_it() -> None:
    lines = iter(["\n", " , \n", " e-mail , name\n", "x,y\n"])

    assert read_header(lines, ",") == ["e-mail", "name"]
    assert next(lines) == "x,y\n"
    assert read_header(iter(["\n"]), ",") == []


def test_text_cells_are_strings() -> None:
    chunk = next(read_chunks(iter(["1,2\n"]), ",", ["a", "b"], "n"))

    assert dict(chunk.rows.schema) == {"n": pl.Int64, "a": pl.String, "b": pl.String}

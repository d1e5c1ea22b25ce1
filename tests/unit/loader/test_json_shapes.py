"""A shape matches the objects that are like its first one, and nothing else."""

import polars as pl
import pytest

from comms_pipeline.loader.json_shapes import JsonShape, shape_of

FIRST = '"mail":"a@x.example","at":12,"kind":"open","tags":["a","b"],"place":{"index":0,"type":"html"},"is_on":true'


def shape(text: str) -> JsonShape | None:
    return shape_of(text, fields=("at", "kind"), hidden={"mail"})


def told(text: str) -> dict[str, str | None]:
    """What the shape of `FIRST` takes out of a text; nulls where it does not match."""
    first = shape(FIRST)
    assert first is not None
    found = pl.select(pl.lit(text).str.extract_groups(first.pattern).alias("told"))
    row: dict[str, str | None] = found["told"].item()
    return row


def test_values_are_taken_out_and_hidden_members_left_out() -> None:
    assert told(FIRST.replace("a@x.example", "b@x.example").replace("12", "99999999999")) == {
        "at": "99999999999",
        "kind": "open",
        "part0": '"at":99999999999,"kind":"open","tags":["a","b"],"place":{"index":0,"type":"html"},"is_on":true',
    }


def test_types_are_those_of_the_fields_asked_for() -> None:
    found = shape(FIRST)
    assert found is not None
    assert found.types == {"at": int, "kind": str}


@pytest.mark.parametrize(
    "same",
    [
        FIRST.replace("true", "false"),
        FIRST.replace('"open"', r'"a \"quoted\" \\ w\/rd\n"'),
        FIRST.replace('["a","b"]', '["c"]'),
        FIRST.replace('"open"', '"café 😀"'),
        FIRST.replace('"open"', '""'),
    ],
)
def test_the_same_with_other_values_matches(same: str) -> None:
    assert told(same)["part0"] is not None


@pytest.mark.parametrize(
    "other",
    [
        FIRST.replace("12", "012"),
        FIRST.replace("12", "-12"),
        FIRST.replace("12", "1.5"),
        FIRST.replace("12", '"12"'),
        FIRST.replace("12", "100000000000"),
        FIRST.replace('"open"', '"op"en"'),
        FIRST.replace('"open"', '"a\nb"'),
        FIRST.replace('"open"', r'"\ud800"'),
        FIRST.replace('"open"', r'"\x"'),
        FIRST.replace('"open"', '"open'),
        FIRST.replace(":12", ": 12"),
        FIRST.replace('["a","b"]', "[]"),
        FIRST.replace('["a","b"]', '["a",1]'),
        FIRST.replace('"kind"', '"kin"'),
        FIRST + ',"at":12',
        FIRST + "\n",
        "",
    ],
)
def test_anything_else_does_not_match(other: str) -> None:
    assert set(told(other).values()) == {None}


@pytest.mark.parametrize(
    "strange",
    [
        '"a":1,"a":2',
        '"a":{"b":1,"b":2}',
        '"a": 1',
        '"a":1.5',
        '"a":-1',
        '"a":1e5',
        '"a":[1]',
        '"a":[{}]',
        '"a":NaN',
        '"a":1,',
        '"mail":"only"',
        ",".join(f'"a{number}":1' for number in range(61)),
    ],
)
def test_what_is_not_plain_has_no_shape(strange: str) -> None:
    assert shape(strange) is None

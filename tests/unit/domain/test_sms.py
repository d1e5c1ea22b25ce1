"""How many segments a text message takes."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.sms import SmsEncoding, encoding, segments, segments_expr

CASES = [
    ("", 0),
    ("a", 1),
    ("a" * 160, 1),
    ("a" * 161, 2),
    ("a" * 306, 2),
    ("a" * 307, 3),
    ("€" * 80, 1),
    ("€" * 81, 2),
    ("a" * 152 + "€" + "a" * 152, 3),
    ("ж" * 70, 1),
    ("ж" * 71, 2),
    ("ж" * 134, 2),
    ("ж" * 135, 3),
    ("ж" * 66 + "😀" + "ж" * 66, 3),
    ("😀" * 35, 1),
    ("😀" * 36, 2),
    ("a" * 70 + "ç", 2),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_segments_are_counted_as_the_network_splits_them(text: str, expected: int) -> None:
    assert segments(text) == expected


@pytest.mark.parametrize(
    "text", ["Ç", "Straße", "[x] {y} ~ \\ ^ |", "10 €", "line\nbreak", "form\ffeed", "@£$¥"]
)
def test_characters_of_the_gsm_alphabet_stay_gsm7(text: str) -> None:
    assert encoding(text) is SmsEncoding.GSM7


@pytest.mark.parametrize("text", ["ç", "`", "\t", "\u00a0", "“quoted”", "…", "😀"])
def test_any_other_character_turns_the_message_to_ucs2(text: str) -> None:
    assert encoding(text) is SmsEncoding.UCS2


def test_a_column_counts_as_single_texts_do() -> None:
    frame = pl.DataFrame({"body": [text for text, _ in CASES] + [None]})
    counted = frame.select(segments_expr(pl.col("body")).alias("segments"))["segments"]
    assert counted.dtype == pl.UInt32
    assert counted.to_list() == [0, 1, 1, 2, 2, 3, 1, 2, 3, 1, 2, 2, 3, 3, 1, 2, 2, None]


@given(st.lists(st.text(alphabet="aZ é€[^ç\tж😀\u00a0]-\\", max_size=400), min_size=1, max_size=5))
def test_columns_and_single_texts_always_agree(texts: list[str]) -> None:
    counted = pl.DataFrame({"body": texts}).select(segments_expr(pl.col("body")))["body"]
    assert counted.to_list() == [segments(text) for text in texts]

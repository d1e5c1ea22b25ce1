"""Batches as bytes."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from comms_pipeline.dispatch.payload import pack, unpack

ROWS = st.lists(st.tuples(st.text(), st.text() | st.none(), st.binary(max_size=16)), max_size=20)


@given(ROWS)
def test_a_payload_survives_byte_for_byte(rows: list[tuple[str, str | None, bytes]]) -> None:
    schema = {"message_id": pl.String, "s0": pl.String, "address_key": pl.Binary}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    again = unpack(pack(frame))
    assert_frame_equal(again, frame)
    assert again.schema == frame.schema


def test_a_slice_packs_its_own_rows_only() -> None:
    frame = pl.DataFrame({"s0": [f"{number:0200}" for number in range(1000)]})
    part = frame.slice(10, 2)
    assert unpack(pack(part))["s0"].to_list() == [f"{10:0200}", f"{11:0200}"]
    assert len(pack(part)) < 2000


def test_a_thousand_alike_rows_are_small() -> None:
    frame = pl.DataFrame({"s0": ["the same long sentence again and again"] * 1000})
    assert len(pack(frame)) < 4000

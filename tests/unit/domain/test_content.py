"""What the messages of a batch share: its digest, and its trip through JSON."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.content import Content, variable_part

SKELETONS = st.lists(st.one_of(st.text(max_size=20), st.integers(0, 20)), max_size=6).map(tuple)
CONTENTS = st.builds(
    Content,
    campaign_id=st.text(max_size=10),
    parts=st.dictionaries(st.sampled_from(["subject", "text", "html"]), SKELETONS),
    sender=st.text(max_size=10),
    sender_name=st.text(max_size=10),
    reply_to=st.text(max_size=10),
    has_one_click=st.booleans(),
    is_tracked=st.booleans(),
    content_sid=st.sampled_from(["", "HX" + "a" * 32]),
)
WELCOME = Content(campaign_id="welcome", parts={"text": ("Hi ", 0)}, sender="a@x.example")


@given(CONTENTS)
def test_a_content_survives_the_ledgers_json(content: Content) -> None:
    again = Content.from_dict(orjson.loads(orjson.dumps(content.to_dict())))
    assert again == content
    assert again.content_id == content.content_id


def test_the_id_is_the_same_in_every_process_and_release() -> None:
    assert WELCOME.content_id == "c21f9ad6c5ad63fd068ad86952cc8db72ff789456bfdb617ff3f8099d508ccfb"


def test_the_order_of_parts_does_not_matter() -> None:
    one = Content(campaign_id="c", parts={"text": ("a",), "html": ("b",)}, sender="")
    other = Content(campaign_id="c", parts={"html": ("b",), "text": ("a",)}, sender="")
    assert one.content_id == other.content_id


def test_a_slot_and_its_number_as_text_are_different_contents() -> None:
    literal = Content(campaign_id="welcome", parts={"text": ("Hi ", "0")}, sender="a@x.example")
    assert literal.content_id != WELCOME.content_id


@given(CONTENTS, CONTENTS)
def test_different_contents_have_different_ids(one: Content, other: Content) -> None:
    assert (one.content_id == other.content_id) == (one == other)


def test_variables_come_in_the_order_of_their_numbers() -> None:
    parts = {variable_part(number): (f"{number}!",) for number in ("10", "2", "1")}
    content = Content(campaign_id="c", parts={**parts, "text": ("x",)}, sender="", content_sid="HX")
    assert list(content.variables.items()) == [("1", ("1!",)), ("2", ("2!",)), ("10", ("10!",))]

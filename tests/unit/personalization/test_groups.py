"""What a group looks like: skeletons, shared slots, folded constants, and what happens when branches explode."""

from collections.abc import Mapping

import polars as pl
import pytest

from comms_pipeline.personalization.message import RenderedGroup, TemplateSource, compile_message
from comms_pipeline.personalization.opaque import OpaqueRenderer


def _groups(
    renderer: OpaqueRenderer, frame: pl.DataFrame, parts: Mapping[str, str], *, max_groups: int = 32
) -> list[RenderedGroup]:
    sources = {
        name: TemplateSource(name=name, text=text, is_html=name == "html") for name, text in parts.items()
    }
    return compile_message(sources, max_groups=max_groups).evaluate(frame, renderer=renderer)


def test_a_template_becomes_literal_text_and_slots(renderer: OpaqueRenderer) -> None:
    (group,) = _groups(
        renderer, pl.DataFrame({"name": ["Ann", "Bob"]}), {"text": "Hi {{ name }}, {{ 1 + 1 }}!"}
    )
    assert group.parts == {"text": ("Hi ", 0, ", 2!")}
    assert group.slots.to_dict(as_series=False) == {"s0": ["Ann", "Bob"]}
    assert group.rows.to_list() == [0, 1]
    assert group.rows.dtype == pl.UInt32
    assert group.join("text").to_list() == ["Hi Ann, 2!", "Hi Bob, 2!"]


def test_parts_share_slots_with_the_same_expression_and_escaping(renderer: OpaqueRenderer) -> None:
    parts = {"subject": "{{ name }}", "html": "{{ name }}{{ name }}", "text": "{{ name }} {{ name|upper }}"}
    (group,) = _groups(renderer, pl.DataFrame({"name": ["<Ann>"]}), parts)
    assert group.parts == {"subject": (0,), "html": (1, 1), "text": (0, " ", 2)}
    assert group.slots.row(0) == ("<Ann>", "&lt;Ann&gt;", "<ANN>")


def test_a_name_set_again_is_another_slot(renderer: OpaqueRenderer) -> None:
    text = "{% set x = name %}{{ x }}{% set x = name|upper %}{{ x }}"
    (group,) = _groups(renderer, pl.DataFrame({"name": ["Ann"]}), {"text": text})
    assert group.parts == {"text": (0, 1)}
    assert group.slots.row(0) == ("Ann", "ANN")


def test_conditionals_group_recipients_by_branch(renderer: OpaqueRenderer) -> None:
    frame = pl.DataFrame({"vip": [True, False, True], "name": ["a", "b", "c"]})
    text = "{% if vip %}Dear {{ name }}{% else %}Hi{% endif %}{{ '!' if vip else '.' }}"
    groups = _groups(renderer, frame, {"text": text})
    assert [(group.rows.to_list(), group.parts["text"]) for group in groups] == [
        ([0, 2], ("Dear ", 0, "!")),
        ([1], ("Hi.",)),
    ]
    assert groups[1].slots.shape == (1, 0)
    assert groups[1].join("text").to_list() == ["Hi."]


def test_no_group_is_empty(renderer: OpaqueRenderer) -> None:
    frame = pl.DataFrame({"plan": ["a", "a"]})
    text = "{% if plan == 'a' %}A{% elif plan == 'b' %}B{% else %}C{% endif %}"
    assert [group.parts["text"] for group in _groups(renderer, frame, {"text": text})] == [("A",)]
    assert _groups(renderer, frame.clear(), {"text": text}) == []


def test_exploding_branches_become_slots(renderer: OpaqueRenderer) -> None:
    frame = pl.DataFrame({f"b{bit}": [bool(row >> bit & 1) for row in range(256)] for bit in range(8)})
    text = "".join(f"{{% if b{bit} %}}<{bit}>{{% else %}}{{{{ '-' }}}}{{% endif %}}" for bit in range(8))
    groups = _groups(renderer, frame, {"text": text})
    assert len(groups) == 32
    assert sum(len(group.rows) for group in groups) == 256
    (whole,) = _groups(renderer, frame, {"text": text}, max_groups=1)
    assert whole.parts["text"] == (0, 1, 2, 3, 4, 5, 6, 7)
    assert whole.join("text")[5] == "<0>-<2>-----"


def test_a_loop_is_rendered_once_per_distinct_input_as_one_slot(renderer: OpaqueRenderer) -> None:
    frame = pl.DataFrame({"name": ["a", "b", "c"], "tags": [["x", "y"], ["x", "y"], []]})
    text = "{{ name }}: {% for tag in tags %}{{ tag }};{% else %}none{% endfor %}"
    (group,) = _groups(renderer, frame, {"text": text})
    assert group.parts == {"text": (0, ": ", 1)}
    assert group.slots["s1"].to_list() == ["x;y;", "x;y;", "none"]


def test_a_fragment_without_inputs_is_folded(renderer: OpaqueRenderer) -> None:
    (group,) = _groups(
        renderer, pl.DataFrame({"a": [1, 2]}), {"text": "{% for i in [1, 2] %}{{ i }}{% endfor %}"}
    )
    assert group.parts == {"text": ("12",)}
    assert group.slots.shape == (2, 0)


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("{{ a.b }}{{ c[d] }}", {"a", "c", "d"}),
        ("{% set a = b %}{{ a }}", {"b"}),
        ("{{ a }}{% set a = 1 %}", {"a"}),
        ("{% if a %}{% set b = 1 %}{% endif %}{{ b }}", {"a", "b"}),
        ("{% if a %}{% set b = 1 %}{% else %}{% set b = 2 %}{% endif %}{{ b }}", {"a"}),
        ("{% for a in b %}{{ a }}{{ loop.index }}{{ c }}{% endfor %}{{ a }}", {"a", "b", "c"}),
        ("{% macro m(a, b=c) %}{{ a }}{{ b }}{{ d }}{{ varargs }}{% endmacro %}{{ m(e) }}", {"c", "d", "e"}),
        ("{% with a = b %}{{ a }}{% endwith %}{% set x %}{{ c }}{% endset %}{{ x }}", {"b", "c"}),
        ("{% call(a) m(b) %}{{ a }}{% endcall %}", {"b", "m"}),
    ],
)
def test_variables_are_the_names_read_from_a_contact(text: str, variables: set[str]) -> None:
    assert (
        compile_message({"text": TemplateSource(name="t", text=text, is_html=False)}).variables == variables
    )

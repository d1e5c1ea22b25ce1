"""Hostile templates end as a TemplateError in bounded time and memory; the parent and its child survive."""

import os
import resource
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.personalization.message import TemplateSource, compile_message
from comms_pipeline.personalization.opaque import Limits, OpaqueRenderer

_FRAME = pl.DataFrame({"name": ["aaaa", "bcd"] * 50, "numbers": [[1] * 100] * 100, "vip": [True, False] * 50})
_LOOPS = 8


@pytest.fixture(scope="module")
def strict() -> Iterator[OpaqueRenderer]:
    with OpaqueRenderer(limits=Limits(cpu_seconds=1, wall_seconds=20)) as renderer:
        yield renderer


def _failure(renderer: OpaqueRenderer, text: str) -> str:
    source = TemplateSource(name="bad.html", text=text, is_html=True)
    with pytest.raises(TemplateError) as caught:
        compile_message({"html": source}).evaluate(_FRAME, renderer=renderer)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ 'a' * 4000000000 }}", "needs more memory"),
        ("{{ name * 4000000000 }}", "needs more memory"),
        ("{{ '%999999999d'|format(1) }}", "needs more memory"),
        ("{{ '{:>999999999}'.format(1) }}", "needs more memory"),
        ("{{ 'x'|center(4000000000) }}", "needs more memory"),
        ("{{ 'a' * 2000000 }}", "writes more text"),
        ("{% set a = name %}" + "{% set a = a ~ a %}" * 39 + "{{ a }}", "needs more memory"),
        ("{% set a = name %}" + f"{{% set a = a|replace('a', '{'a' * 99}') %}}" * 9 + "{{ a }}", "needs more memory"),
        ("{% for a in numbers %}" * _LOOPS + "{% endfor %}" * _LOOPS, "takes more than 1 seconds of processor time"),
        ("{% set n = 9 %}" + "{% set n = n ** 9 %}" * 9 + "{{ n > 1 }}", "takes more than 1 seconds"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself without end"),
        ("{{ ''.__class__ }}", "the sandbox forbids"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "the sandbox forbids"),
        ("{{ name|attr('__class__') }}", "the sandbox forbids"),
        ("{{ '{0.__class__}'.format(name) }}", "the sandbox forbids"),
        ("{{ numbers.append(1) }}", "the sandbox forbids"),
        ("{{ range(10) }}", "range is undefined"),
        ("{{ lipsum() }}", "lipsum is undefined"),
        ("{{ cycler.__init__.__globals__ }}", "the sandbox forbids"),
        ("{{ self.__init__ }}", "self is not available"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nesting is deeper than 100 levels"),
        ("{{ " + "-" * 3000 + "1 }}", "nesting is deeper than 100 levels"),
        ("{{ " + "9" * 9000 + " }}", "number is too long"),
        ("{{ name }}" * 20_000, "more than 10,000 nodes"),
    ],
)  # fmt: skip
def test_hostile_template_ends_as_an_error(strict: OpaqueRenderer, text: str, problem: str) -> None:
    assert problem in _failure(strict, text)


def test_a_child_past_the_wall_limit_is_ended() -> None:
    with OpaqueRenderer(limits=Limits(cpu_seconds=60, wall_seconds=0.5)) as renderer:
        text = "{% for a in numbers %}" * _LOOPS + "{% endfor %}" * _LOOPS
        assert "runs longer than 0.5 seconds" in _failure(renderer, text)


def test_includes_that_multiply_are_refused() -> None:
    includes = {f"t{level}": f"{{% include 't{level + 1}' %}}" * 10 for level in range(9)} | {"t9": "x"}
    with pytest.raises(TemplateError, match="more than 10,000 nodes"):
        compile_message(
            {"text": TemplateSource(name="t", text="{% include 't0' %}", is_html=False)}, includes=includes
        )


def test_a_renderer_works_again_after_a_hostile_template() -> None:
    with OpaqueRenderer(limits=Limits(wall_seconds=1)) as renderer:
        _failure(renderer, "{% for a in numbers %}" * _LOOPS + "{% endfor %}" * _LOOPS)
        assert _texts(renderer, "{% for n in numbers[:2] %}{{ n }}{% endfor %}") == ["11"] * 100


def test_a_renderer_works_in_another_thread(strict: OpaqueRenderer) -> None:
    text = "{{ numbers|sum }}"
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(_texts, strict, text).result() == ["100"] * 100
    assert _texts(strict, text) == ["100"] * 100


def test_answers_too_large_for_one_frame_come_in_several(strict: OpaqueRenderer) -> None:
    frame = pl.DataFrame({"name": [f"{row:03}" for row in range(60)]})
    source = TemplateSource(name="t", text="{{ name * 50000 }}", is_html=False)
    (group,) = compile_message({"t": source}).evaluate(frame, renderer=strict)
    assert group.join("t").to_list() == [f"{row:03}" * 50_000 for row in range(60)]


def test_text_that_adds_up_to_too_much_is_refused() -> None:
    with OpaqueRenderer(limits=Limits(total_characters=150)) as renderer:
        assert "writes more text than a message may hold" in _failure(renderer, "{{ name * 50 }}")


def _texts(renderer: OpaqueRenderer, text: str) -> list[str]:
    source = TemplateSource(name="good", text=text, is_html=False)
    (group,) = compile_message({"text": source}).evaluate(_FRAME, renderer=renderer)
    return group.join("text").to_list()


def test_nested_choices_do_not_multiply_work_in_the_parent(strict: OpaqueRenderer) -> None:
    text = "{% set a = name %}" + "{% set a = (vip and a) or a %}" * 38 + "{{ a }}"
    groups = compile_message({"t": TemplateSource(name="t", text=text, is_html=False)}).evaluate(
        _FRAME, renderer=strict
    )
    assert groups[0].join("t")[0] == "aaaa"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_child_dies_with_its_renderer_and_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDGRID_API_KEY", "secret")
    others = _children()
    with OpaqueRenderer() as renderer:
        source = TemplateSource(name="t", text="{{ [1]|sum }}", is_html=False)
        compile_message({"t": source}).evaluate(pl.DataFrame({"a": [1]}), renderer=renderer)
        (child,) = _children() - others
        with open(f"/proc/{child}/environ") as environment:
            assert "secret" not in environment.read()
        assert resource.prlimit(child, resource.RLIMIT_AS)[0] == 512 << 20
    assert _children() == others


def _children() -> set[int]:
    """Our child processes that run the worker."""
    found: set[int] = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat, open(f"/proc/{name}/cmdline") as command:
                    parent = int(stat.read().rsplit(")", 1)[1].split()[1])
                    if parent == os.getpid() and "opaque_worker" in command.read():
                        found.add(int(name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return found

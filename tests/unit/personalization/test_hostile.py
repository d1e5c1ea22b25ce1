"""Hostile templates end as a TemplateError in bounded time and memory; the parent and its child survive."""

import os
import resource
import sys
from collections.abc import Iterator

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
    with pytest.raises(TemplateError) as caught:
        message = compile_message({"html": TemplateSource(name="bad.html", text=text, is_html=True)})
        message.evaluate(_FRAME, renderer=renderer)
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


def test_a_renderer_works_again_after_a_hostile_template(strict: OpaqueRenderer) -> None:
    _failure(strict, "{% for a in numbers %}" * _LOOPS + "{% endfor %}" * _LOOPS)
    source = TemplateSource(name="good", text="{% for n in numbers[:2] %}{{ n }}{% endfor %}", is_html=False)
    (group,) = compile_message({"text": source}).evaluate(_FRAME, renderer=strict)
    assert group.join("text").unique().to_list() == ["11"]


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

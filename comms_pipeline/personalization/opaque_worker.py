"""The child process that renders fragments columns cannot express: Jinja2's sandbox inside the kernel's limits.

Started by `opaque.py` with nothing inherited but its two pipes; reads requests, writes answers, knows nothing else.
Every limit is set before the first template text arrives.
"""

import ctypes
import inspect
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType, TracebackType
from typing import Any

from jinja2 import nodes
from jinja2.compiler import generate
from jinja2.environment import Template
from jinja2.exceptions import TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from comms_pipeline.personalization.environment import template_environment
from comms_pipeline.personalization.inheritance import Program, load, look_up
from comms_pipeline.personalization.locales import UnfitInput
from comms_pipeline.personalization.syntax import TemplateSource
from comms_pipeline.personalization.wire import FRAGMENT_FILE, HEADER, decode, pack, unpack

_PR_SET_PDEATHSIG = 1
_ANSWER_BYTES = 4 << 20  # an answer is cut off beyond this; the parent asks again for the rest


class OutputTooLong(Exception):  # the parent's table of problems knows it by this name
    """A fragment produced more text than one rendering may."""


class _Renderer:
    """Compiled fragments of the message loaded last."""

    def __init__(self, max_output_characters: int) -> None:
        self._max_output = max_output_characters
        self._program: Program | None = None
        self._environments: dict[bool, ImmutableSandboxedEnvironment] = {}
        self._templates: dict[str, Template] = {}
        self._filter_names = _filters_by_code()

    def load(
        self, sources: Mapping[str, Mapping[str, Any]], includes: Mapping[str, str], language: str
    ) -> None:
        parts = {part: TemplateSource(**source) for part, source in sources.items()}
        self._program = load(parts, includes, language=language)
        self._environments = {
            is_html: template_environment(is_html=is_html, includes=includes, language=language)
            for is_html in (True, False)
        }
        self._templates.clear()

    def render(
        self, fragment: Mapping[str, Any], names: list[str], rows: list[list[Any]]
    ) -> dict[str, object]:
        """Answers of as many rows as fit: `[text, null]`, or `[null, failure]`."""
        template = self._template(fragment, names)
        answers: list[object] = []
        size = 0
        for row in rows:
            if size > _ANSWER_BYTES:
                break
            values = dict(zip(names, map(decode, row), strict=True))
            try:
                text = self._render_row(template, values)
                text.encode()
            except Exception as error:
                answers.append([None, _describe(error, self._filter_names)])
            else:
                answers.append([text, None])
                size += len(text)
        return {"answers": answers}

    def _render_row(self, template: Template, values: dict[str, object]) -> str:
        pieces: list[str] = []
        size = 0
        for piece in template.root_render_func(template.new_context(values)):
            size += len(piece)
            if size > self._max_output:
                raise OutputTooLong
            pieces.append(piece)
        return "".join(pieces)

    def _template(self, fragment: Mapping[str, Any], names: list[str]) -> Template:
        key = repr((sorted(fragment.items()), names))
        if key not in self._templates:
            if self._program is None:
                raise RuntimeError("nothing is loaded")
            part = fragment["part"]
            numbered = self._program.listings[part]
            body = [look_up(names), *(numbered[number] for number in fragment["prelude"])]
            body += _statements(numbered[fragment["node"]], fragment["kind"])
            environment = self._environments[self._program.sources[part].is_html]
            tree = nodes.Template(body, lineno=1).set_environment(environment)
            source = generate(tree, environment, FRAGMENT_FILE, FRAGMENT_FILE, optimized=False)  # type: ignore[arg-type]
            code = compile(source or "", FRAGMENT_FILE, "exec")
            self._templates[key] = Template.from_code(environment, code, {})
        return self._templates[key]


def _statements(node: nodes.Node, kind: str) -> Iterator[nodes.Node]:
    if kind == "test" and isinstance(node, nodes.Expr):
        yield nodes.If(node, [nodes.Output([nodes.TemplateData("1")])], [], [], lineno=node.lineno)
    elif isinstance(node, nodes.Expr):
        yield nodes.Output([node], lineno=node.lineno)
    elif isinstance(node, nodes.Template):
        yield from node.body
    else:
        yield node


def _filters_by_code() -> dict[CodeType, str]:
    """The names of filters by the code they run, for those that are written in Python."""
    names: dict[CodeType, str] = {}
    for name, function in template_environment(is_html=False).filters.items():
        inner = inspect.unwrap(function.func if isinstance(function, partial) else function)
        if inspect.isfunction(inner):
            names.setdefault(inner.__code__, name)
    return names


def _describe(error: Exception, filter_names: Mapping[CodeType, str]) -> dict[str, object]:
    """A Failure: of the message the parent shows only the template's own words."""
    position, file, filter_name = 0, FRAGMENT_FILE, ""
    if isinstance(error, TemplateSyntaxError):
        position = error.lineno
    for trace in _traces(error):
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            position = template.get_corresponding_lineno(trace.tb_lineno)
            file = template.name or FRAGMENT_FILE
        filter_name = filter_names.get(trace.tb_frame.f_code, filter_name)
    word, fix = (error.word[:100], error.fix) if isinstance(error, UnfitInput) else ("", "")
    return {
        "kind": type(error).__name__,
        "message": str(error)[:500],
        "position": position,
        "file": file,
        "filter": filter_name,
        "word": word,
        "fix": fix,
    }


def _traces(error: Exception) -> Iterator[TracebackType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _restrict(memory_bytes: int, parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _rearm_cpu(seconds: int) -> None:
    """Grants the next request its processor time: the limit counts from the start of the process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + 1 + seconds, hard))


def _read(size: int) -> bytes:
    data = sys.stdin.buffer.read(size)
    if len(data) < size:
        sys.exit(0)  # the parent has closed the pipe
    return data


def main(memory_bytes: int, cpu_seconds: int, max_output_characters: int, parent: int) -> None:
    """Serves requests until the parent closes the pipe."""
    _restrict(memory_bytes, parent)
    renderer = _Renderer(max_output_characters)
    while True:
        (size,) = HEADER.unpack(_read(HEADER.size))
        request = unpack(_read(size))
        _rearm_cpu(cpu_seconds)
        if "sources" in request:
            renderer.load(request["sources"], request["includes"], request["language"])
            answer: dict[str, object] = {}
        else:
            answer = renderer.render(request["fragment"], request["names"], request["rows"])
        sys.stdout.buffer.write(pack(answer))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

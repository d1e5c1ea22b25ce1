"""Fragments for Jinja2 itself: the values they read, the statements that must precede them, once per distinct input.

Also turns what happens in the child into errors that name place and row count, never data.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from weakref import WeakMethod

import polars as pl
from jinja2 import nodes

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.personalization.distinct import Distinct, Input
from comms_pipeline.personalization.filter_checks import described
from comms_pipeline.personalization.inheritance import Program
from comms_pipeline.personalization.locales import UnfitInput
from comms_pipeline.personalization.opaque import Failure, Fragment, LimitExceeded, OpaqueRenderer
from comms_pipeline.personalization.rows import Binding, Scope, Slice
from comms_pipeline.personalization.syntax import File, suggestion, template_error
from comms_pipeline.personalization.values import Missing, NotColumnar, Value
from comms_pipeline.personalization.wire import FRAGMENT_FILE

_UNDEFINED = re.compile(r"'(\w+)' is undefined|has no attribute '(\w+)'")
# What a filter of Jinja2 raises for a value it is not made for.
_UNFIT_FOR_FILTER = ("TypeError", "ValueError", "AttributeError")
_CONVERT = "Guard None with default(); convert with int, float or string."
_GUARD = "Guard it with default() or `is defined`."
# What an exception in a template means to its author, and the fix.
_PROBLEMS = {
    "UndefinedError": ("a value that is not there is used", _GUARD),
    "SecurityError": ("the sandbox forbids this attribute or call", "Use filters and plain fields."),
    "TypeError": ("values of the wrong type meet", _CONVERT),
    "ZeroDivisionError": ("a number is divided by zero", "Test the divisor first."),
    "MemoryError": ("rendering needs more memory than a template may use", "Make it produce less."),
    "OutputTooLong": ("rendering writes more text than a message may hold", "Make it produce less."),
    "RecursionError": ("a macro or a loop calls itself without end", "Break the circle."),
    "UnicodeEncodeError": ("rendering produces half of a surrogate pair", "Cut text by whole characters."),
}


class WholePart(Exception):  # a signal, no error
    """All of this part needs Jinja2: its statements depend on each other in ways columns cannot follow."""

    def __init__(self, part: str) -> None:
        self.part = part
        super().__init__(part)


@dataclass(kw_only=True)
class _Inputs:
    """What a fragment needs: values by name, and the statements to run first, in order."""

    values: dict[str, Input] = field(default_factory=dict)
    prelude: list[nodes.Stmt] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)


class FragmentRunner:
    """Renders nodes of a program; `value_of` evaluates what a template has set, or raises NotColumnar."""

    def __init__(
        self, program: Program, renderer: OpaqueRenderer, value_of: Callable[[str, Binding, Slice], Value]
    ) -> None:
        self._program = program
        self._renderer = renderer
        # Its owner's method, weakly: in a circle, whole audiences would stay in memory until Python looks for one.
        self._value_of = WeakMethod(value_of)

    def render(self, kind: str, part: str, node: nodes.Node, scope: Scope, rows: Slice) -> str | pl.Series:
        """The node's text on every row; of kind `test`, "1" or "" for the truth of an expression.

        Raises TemplateError where Jinja2 raises or a limit is broken.
        """
        inputs = _Inputs()
        self._gather(inputs, part, self._program.reads(node), scope, rows)
        fragment = Fragment(
            part=part,
            prelude=tuple(self._program.numbers[id(statement)] for statement in inputs.prelude),
            node=self._program.numbers[id(node)],
            kind=kind,
        )
        groups = Distinct(inputs.values.values())
        try:
            answers = self._renderer.render(self._program, fragment, list(inputs.values), groups.rows())
        except LimitExceeded as error:
            raise self._program.error(node, f"rendering {error}", "Make it loop or produce less.") from None
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            fix = "Pass text, numbers, dates, lists and structs of them."
            raise self._program.error(
                node, "a column it reads is of a type templates cannot hold", fix
            ) from None
        failure = next((answer for answer in answers if isinstance(answer, Failure)), None)
        if failure is not None:
            alike = [isinstance(answer, Failure) and _is_alike(answer, failure) for answer in answers]
            raise self._failure(failure, node, rows, groups.count(alike, len(rows)))
        return groups.spread([answer for answer in answers if isinstance(answer, str)])

    def undefined(self, node: nodes.Node, missing: Missing, rows: Slice) -> TemplateError:
        """The error of printing something that is not there."""
        fix = f"{suggestion(missing.name, missing.near)}{_GUARD}"
        return self._program.error(node, _counted(f"{missing.name} is undefined", len(rows), rows), fix)

    def _gather(self, inputs: _Inputs, part: str, names: Iterable[str], scope: Scope, rows: Slice) -> None:
        for name in sorted(names):
            if name in inputs.seen:
                continue
            inputs.seen.add(name)
            binding = scope.get(name)
            if binding is None:
                column = rows.raw_column(name)
                if column is not None:
                    inputs.values[name] = column
                continue
            try:
                value_of = self._value_of()
                assert value_of is not None, "the owner is what calls"
                value = value_of(part, binding, rows)
            except NotColumnar:
                value = Missing(name=name)
            if isinstance(value, Missing):
                self._precede(inputs, part, binding, scope, rows)
            else:
                inputs.values[name] = value

    def _precede(self, inputs: _Inputs, part: str, binding: Binding, scope: Scope, rows: Slice) -> None:
        """Puts the statement that sets a name, and what it rests on, before the fragment."""
        if any(binding.statement is statement for statement in inputs.prelude):
            return
        names = self._program.reads(binding.statement)
        for name in names:
            then, now = binding.scope.get(name), scope.get(name)
            if (then.number if then else 0) != (now.number if now else 0):
                raise WholePart(part)  # it was set again since: one prelude cannot hold both values
        self._gather(inputs, part, names, scope, rows)
        inputs.prelude.append(binding.statement)

    def _failure(self, answer: Failure, node: nodes.Node, rows: Slice, count: int) -> TemplateError:
        problem, fix = _explained(answer, self._program.files)
        match = _UNDEFINED.search(answer.message) if answer.kind == "UndefinedError" else None
        name = (match[1] or match[2]) if match else ""
        if name and _is_written(name, self._program.files):
            problem, fix = f"{name} is undefined", f"{suggestion(name, rows.names())}{_GUARD}"
        problem = _counted(problem, count, rows)
        if answer.file != FRAGMENT_FILE:
            return TemplateError(f"{answer.file}:{answer.position}", problem, fix)
        return template_error(self._program.files, answer.position or node.lineno, problem, fix)


def _is_alike(answer: Failure, other: Failure) -> bool:
    """Whether two failures are one problem to the template's author."""
    is_unfit = answer.kind == UnfitInput.__name__
    return (answer.kind, answer.filter) == (other.kind, other.filter) and (
        not is_unfit or answer.message == other.message
    )


def _explained(answer: Failure, files: list[File]) -> tuple[str, str]:
    """The problem and the fix, without a word that could be data."""
    if answer.kind == UnfitInput.__name__:
        word = answer.word if answer.word and _is_written(answer.word, files) else ""
        return described(answer.filter, answer.message, word), answer.fix
    if answer.filter and answer.kind in _UNFIT_FOR_FILTER:
        return f"filter {answer.filter} gets a value of the wrong type", _CONVERT
    unknown = (f"it raises {answer.kind}", "Check it against the values it receives.")
    return _PROBLEMS.get(answer.kind, unknown)


def _is_written(name: str, files: list[File]) -> bool:
    """Whether a word is the templates' own, so that an error may repeat it: any other word may be data."""
    return any(re.search(rf"\b{re.escape(name)}\b", file.text) for file in files)


def _counted(problem: str, count: int, rows: Slice) -> str:
    return f"{problem} for {count:,} of {rows.total:,} recipients"

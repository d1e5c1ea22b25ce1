"""Fragments for Jinja2 itself: the values they read, the statements that must precede them, once per distinct input.

Also turns what happens in the child into errors that name place and row count, never data.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import polars as pl
from jinja2 import nodes
from markupsafe import Markup

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.personalization.inheritance import Program
from comms_pipeline.personalization.opaque import Failure, Fragment, LimitExceeded, OpaqueRenderer
from comms_pipeline.personalization.rows import Binding, Scope, Slice
from comms_pipeline.personalization.syntax import File, suggestion, template_error
from comms_pipeline.personalization.values import Column, Const, Missing, NotColumnar, Value
from comms_pipeline.personalization.wire import FRAGMENT_FILE

_UNDEFINED = re.compile(r"'(\w+)' is undefined|has no attribute '(\w+)'")
_GUARD = "Guard it with default() or `is defined`."
# What an exception in a template means to its author, and the fix.
_PROBLEMS = {
    "UndefinedError": ("a value that is not there is used", _GUARD),
    "SecurityError": ("the sandbox forbids this attribute or call", "Use filters and plain fields."),
    "TypeError": (
        "values of the wrong type meet",
        "Guard None with default(); convert with int, float or string.",
    ),
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

    values: dict[str, Const | pl.Series | Column] = field(default_factory=dict)
    prelude: list[nodes.Stmt] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)


class FragmentRunner:
    """Renders nodes of a program; `value_of` evaluates what a template has set, or raises NotColumnar."""

    def __init__(
        self, program: Program, renderer: OpaqueRenderer, value_of: Callable[[str, Binding, Slice], Value]
    ) -> None:
        self._program = program
        self._renderer = renderer
        self._value_of = value_of

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
        groups = _Distinct(inputs.values)
        try:
            answers = self._renderer.render(
                self._program.sources, self._program.includes, fragment, list(inputs.values), groups.rows()
            )
        except LimitExceeded as error:
            raise self._program.error(node, f"rendering {error}", "Make it loop or produce less.") from None
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            fix = "Pass text, numbers, dates, lists and structs of them."
            raise self._program.error(
                node, "a column it reads is of a type templates cannot hold", fix
            ) from None
        failures = [isinstance(answer, Failure) for answer in answers]
        if any(failures):
            count = groups.count(failures, len(rows))
            raise self._failure(answers[failures.index(True)], node, rows, count)
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
                value = self._value_of(part, binding, rows)
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

    def _failure(self, answer: str | Failure, node: nodes.Node, rows: Slice, count: int) -> TemplateError:
        if isinstance(answer, str):
            raise TypeError("a text is no failure")
        unknown = (f"it raises {answer.kind}", "Check it against the values it receives.")
        problem, fix = _PROBLEMS.get(answer.kind, unknown)
        match = _UNDEFINED.search(answer.message) if answer.kind == "UndefinedError" else None
        name = (match[1] or match[2]) if match else ""
        if name and _is_written(name, self._program.files):
            problem, fix = f"{name} is undefined", f"{suggestion(name, rows.names())}{_GUARD}"
        problem = _counted(problem, count, rows)
        if answer.file != FRAGMENT_FILE:
            return TemplateError(f"{answer.file}:{answer.position}", problem, fix)
        return template_error(self._program.files, answer.position or node.lineno, problem, fix)


class _Distinct:
    """The distinct tuples of some inputs, and which of them each row has."""

    def __init__(self, values: dict[str, Const | pl.Series | Column]) -> None:
        self._values = values
        series = [_series(value) for value in values.values() if not isinstance(value, Const)]
        self._groups: pl.DataFrame | None = None
        if series:
            keys = pl.DataFrame([_key(item).alias(f"key{i}") for i, item in enumerate(series)])
            grouped = keys.with_row_index("row").group_by(keys.columns, maintain_order=True)
            self._groups = grouped.agg("row").select("row").with_row_index("group")

    def rows(self) -> list[list[object]]:
        """The values of every distinct tuple."""
        if self._groups is None:
            return [[value.value for value in self._values.values() if isinstance(value, Const)]]
        first = self._groups["row"].list.first()
        columns = [_cells(value, first) for value in self._values.values()]
        return [list(row) for row in zip(*columns, strict=True)]

    def spread(self, texts: list[str]) -> str | pl.Series:
        """One text per row, from one per tuple."""
        if self._groups is None:
            return texts[0]
        group = self._groups.explode("row").sort("row")["group"]
        return pl.Series(texts, dtype=pl.String).gather(group)

    def count(self, chosen: list[bool], rows: int) -> int:
        """How many rows have a chosen tuple."""
        if self._groups is None:
            return rows
        return int(self._groups.filter(pl.Series(chosen))["row"].list.len().sum())


def _series(value: Const | pl.Series | Column) -> pl.Series:
    if isinstance(value, Const):
        raise TypeError("a constant is no column")
    return value.series if isinstance(value, Column) else value


def _cells(value: Const | pl.Series | Column, positions: pl.Series) -> list[object]:
    if isinstance(value, Const):
        return [value.value] * len(positions)
    cells = _series(value).gather(positions).to_list()
    if isinstance(value, Column) and value.is_markup:
        return [None if cell is None else Markup(cell) for cell in cells]  # noqa: S704  # escaped already
    return cells


def _key(series: pl.Series) -> pl.Series:
    """Equal where Python values would print alike: Polars takes 0.0 and -0.0 for one."""
    if series.dtype.is_float():
        return series.cast(pl.String)
    if series.dtype.is_nested() and "Float" in str(series.dtype):
        return pl.Series([repr(value) for value in series.to_list()], dtype=pl.String)
    return series


def _is_written(name: str, files: list[File]) -> bool:
    """Whether a word is the templates' own, so that an error may repeat it: any other word may be data."""
    return any(re.search(rf"\b{re.escape(name)}\b", file.text) for file in files)


def _counted(problem: str, count: int, rows: Slice) -> str:
    return f"{problem} for {count:,} of {rows.total:,} recipients"

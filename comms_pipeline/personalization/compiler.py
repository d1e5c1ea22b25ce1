"""The statements of a message run over all recipients at once: paths, and the steps that print along them.

Recipients who take the same branches form a path. Expressions are noted while paths are found and evaluated
when these are final, each on its own rows. Output is columns (`expressions.py`) or, where there is no exact column
form, a fragment rendered by Jinja2 itself (`fragments.py`). The law of all this: the text equals Jinja2's own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeGuard, TypeVar, cast

import polars as pl
from jinja2 import nodes
from markupsafe import Markup

from comms_pipeline.personalization.expressions import evaluate, evaluate_truth
from comms_pipeline.personalization.fragments import FragmentRunner, WholePart
from comms_pipeline.personalization.inheritance import Program
from comms_pipeline.personalization.locale_filters import LocaleFilters
from comms_pipeline.personalization.names import assigned_names
from comms_pipeline.personalization.opaque import OpaqueRenderer
from comms_pipeline.personalization.rows import Binding, Scope, Slice
from comms_pipeline.personalization.values import (
    Column,
    Const,
    Missing,
    NotColumnar,
    Value,
    concat,
    output,
    repeated,
    scatter,
)

_MAX_CHAIN = 40  # bindings resting on bindings: each costs stack
_MAX_SUBSETS = 3_000  # `and`, `or` and inline ifs, nested on purpose, could ask for exponentially many
_Answer = TypeVar("_Answer")
_DEFINITIONS = nodes.Assign | nodes.AssignBlock | nodes.Macro | nodes.Import | nodes.FromImport


class StepKind(Enum):
    """What a step does on the rows of its path."""

    PRINT = "print"  # an expression
    RENDER = "render"  # a statement only Jinja2 can run
    CHOOSE = "choose"  # an if whose branches did not become paths
    CHECK = "check"  # a set statement, which may raise and prints nothing


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something printed that differs between recipients."""

    kind: StepKind
    part: str
    node: nodes.Node
    scope: Scope


@dataclass(frozen=True, kw_only=True)
class Path:
    """Recipients who took the same branches, the names set on the way, and what is printed in which part."""

    rows: Slice
    scope: Scope
    steps: tuple[tuple[str, str | Step], ...] = ()

    def then(self, part: str, step: str | Step) -> "Path":
        return replace(self, steps=(*self.steps, (part, step)))


class Interpreter:
    """One run of a program over a frame; `opaque_parts` are rendered by Jinja2 as a whole."""

    def __init__(
        self,
        program: Program,
        frame: pl.DataFrame,
        renderer: OpaqueRenderer,
        *,
        max_groups: int,
        opaque_parts: frozenset[str],
    ) -> None:
        self._program = program
        self._frame = frame
        self._max_groups = max_groups
        self._opaque_parts = opaque_parts
        self._fragments = FragmentRunner(program, renderer, self.value_of)
        self._numbers: dict[object, int] = {}
        self._subsets = 0

    def paths(self) -> list[Path]:
        """All paths through all parts, at most `max_groups`; none is empty."""
        paths = [Path(rows=Slice(self._frame), scope={})]
        for part, tree in self._program.trees.items():
            paths = [replace(path, scope={}) for path in paths]
            if part in self._opaque_parts:
                whole = Step(kind=StepKind.RENDER, part=part, node=tree, scope={})
                paths = [path.then(part, whole) for path in paths]
            else:
                paths = self._run(part, tree.body, paths, self._max_groups)
        return paths

    def text(self, step: Step, rows: Slice) -> str | pl.Series:
        """What a step prints on these rows. Raises TemplateError where Jinja2 raises."""
        return self._remember(rows, "text", self.number(step), lambda: self._text(step, rows))

    def number(self, step: Step) -> int:
        """Equal for steps that print the same on the same rows."""
        return self._number(step.part, step.node, step.scope)

    # Statements: which paths there are.

    def _run(self, part: str, body: Iterable[nodes.Node], paths: list[Path], budget: int) -> list[Path]:
        """The paths after `body`, at most `budget`. A bare expression in a body is printed."""
        for node in _flat(body):
            done: list[Path] = []
            for index, path in enumerate(paths):
                others = len(done) + len(paths) - index - 1
                done += self._statement(part, node, path, budget - others)
            paths = done
        return paths

    def _statement(self, part: str, node: nodes.Node, path: Path, budget: int) -> list[Path]:
        if isinstance(node, nodes.TemplateData):
            return [path.then(part, node.data)]
        if isinstance(node, nodes.ExprStmt):
            return [path]  # only there for the code generator
        if isinstance(node, nodes.If):
            return self._branch(part, node, _branches(node), path, budget)
        if isinstance(node, nodes.CondExpr):
            # Without an else Jinja2 prints nothing, even though undefined is strict.
            branches: list[_Branch] = [(node.test, [node.expr1]), (None, [node.expr2] if node.expr2 else [])]
            return self._branch(part, node, branches, path, budget)
        if isinstance(node, _DEFINITIONS):
            return [self._define(part, node, path)]
        if isinstance(node, nodes.Scope):
            return [replace(inner, scope=path.scope) for inner in self._run(part, node.body, [path], budget)]
        kind = StepKind.PRINT if isinstance(node, nodes.Expr) else StepKind.RENDER
        return [path.then(part, Step(kind=kind, part=part, node=node, scope=path.scope))]

    def _branch(
        self, part: str, node: nodes.Node, branches: "list[_Branch]", path: Path, budget: int
    ) -> list[Path]:
        """Splits a path by the branch its recipients take; beyond the budget the choice becomes one step."""
        taken = self._taken(part, branches, path.scope, path.rows)
        if len(taken) > budget:
            if assigned_names(node):
                raise WholePart(part)
            kind = StepKind.PRINT if isinstance(node, nodes.Expr) else StepKind.CHOOSE
            return [path.then(part, Step(kind=kind, part=part, node=node, scope=path.scope))]
        results: list[Path] = []
        for index, (rows, body) in enumerate(taken):
            others = len(results) + len(taken) - index - 1
            results += self._run(part, body, [replace(path, rows=rows)], budget - others)
        return results

    def _taken(
        self, part: str, branches: "list[_Branch]", scope: Scope, rows: Slice
    ) -> list[tuple[Slice, list[nodes.Node]]]:
        """The branches that any of the rows take, with their rows."""
        taken: list[tuple[Slice, list[nodes.Node]]] = []
        for test, body in branches:
            holds = True if test is None else self._truth(part, test, scope, rows)
            if isinstance(holds, pl.Series) and holds.all():
                holds = True
            if holds is True:
                return [*taken, (rows, body)]
            if isinstance(holds, pl.Series) and holds.any():
                taken.append((rows.where(holds), body))
                rows = rows.where(~holds)
        return [*taken, (rows, [])]

    def _define(self, part: str, node: nodes.Stmt, path: Path) -> Path:
        """Binds the names a statement sets. What it sets is evaluated once, used or not: it may raise."""
        expression = _assigned_expression(node)
        read = [path.scope[name].depth for name in self._program.reads(node) if name in path.scope]
        binding = Binding(
            statement=node,
            scope=path.scope,
            number=self._number(part, expression or node, path.scope),
            expression=expression,
            depth=1 + max(read, default=0),
        )
        if binding.depth > _MAX_CHAIN:
            raise WholePart(part)
        scope = {**path.scope, **dict.fromkeys(assigned_names(node), binding)}
        if not isinstance(node, nodes.Macro):
            path = path.then(part, Step(kind=StepKind.CHECK, part=part, node=node, scope=path.scope))
        return replace(path, scope=scope)

    # Steps: what is printed on the rows of a path.

    def _text(self, step: Step, rows: Slice) -> str | pl.Series:
        if step.kind is StepKind.CHOOSE and isinstance(step.node, nodes.If):
            return self._chosen(step, step.node, rows)
        if step.kind is StepKind.CHECK:
            self._check(step, rows)
            return ""
        if step.kind is StepKind.PRINT and isinstance(step.node, nodes.Expr):
            try:
                value = self._value(step.part, step.node, step.scope, rows)
            except NotColumnar:
                value = None
            if isinstance(value, Missing):
                raise self._fragments.undefined(step.node, value, rows)
            if value is not None:
                return output(value, autoescape=self._is_html(step.part))
        return self._fragments.render("text", step.part, step.node, step.scope, rows)

    def _check(self, step: Step, rows: Slice) -> None:
        node = step.node
        try:
            if _is_plain_block(node):
                self._block(step.part, node, step.scope, rows)
            else:
                self._value(step.part, _assigned_expression(node), step.scope, rows)
        except NotColumnar:
            self._fragments.render("text", step.part, node, step.scope, rows)

    def _chosen(self, step: Step, node: nodes.If, rows: Slice) -> str | pl.Series:
        """The text of an if as one column, each branch run on its own rows."""
        taken = self._taken(step.part, _branches(node), step.scope, rows)
        texts = [self._body_text(step.part, body, step.scope, inner) for inner, body in taken]
        if len(taken) == 1:
            return texts[0]
        pieces = [repeated(text, len(inner)) if isinstance(text, str) else text
                  for text, (inner, _) in zip(texts, taken, strict=True)]  # fmt: skip
        return scatter(pieces, [inner.positions for inner, _ in taken])

    def _body_text(self, part: str, body: Iterable[nodes.Node], scope: Scope, rows: Slice) -> str | pl.Series:
        """Statements as one text per row."""
        (path,) = self._run(part, body, [Path(rows=rows, scope=scope)], 1)
        try:
            return concat(
                [step if isinstance(step, str) else self.text(step, rows) for _, step in path.steps]
            )
        except NotColumnar:
            raise WholePart(part) from None

    def _block(self, part: str, node: nodes.AssignBlock, scope: Scope, rows: Slice) -> Value:
        """What `{% set x %}…{% endset %}` sets."""
        number = self._number(part, node, scope)
        text = self._remember(
            rows, f"block {number}", number, lambda: self._body_text(part, node.body, scope, rows)
        )
        is_markup = self._is_html(part)
        if isinstance(text, str):
            return Const(value=Markup(text) if is_markup else text)  # noqa: S704  # as Jinja2 does
        return Column(series=text, is_markup=is_markup)

    # Expressions.

    def value_of(self, part: str, binding: Binding, rows: Slice) -> Value:
        """What a bound name is worth on these rows. Raises NotColumnar where only Jinja2 can hold it."""
        if _is_plain_block(binding.statement):
            return self._block(part, binding.statement, binding.scope, rows)
        return self._value(part, binding.expression, binding.scope, rows)

    def _value(self, part: str, node: nodes.Expr | None, scope: Scope, rows: Slice) -> Value:
        if node is None:
            raise NotColumnar
        number = self._number(part, node, scope)
        view = _View(self, part, scope, rows)

        def compute() -> Value | None:
            try:
                return evaluate(node, view, self._filters(part))
            except NotColumnar:
                return None

        value = self._remember(rows, "value", number, compute)
        if value is None:
            raise NotColumnar
        return value

    def _truth(self, part: str, node: nodes.Expr, scope: Scope, rows: Slice) -> bool | pl.Series:
        """Whether an expression holds on each row, or on all. Raises TemplateError where Jinja2 raises."""
        try:
            return evaluate_truth(node, _View(self, part, scope, rows), self._filters(part))
        except NotColumnar:
            answer = self._fragments.render("test", part, node, scope, rows)
            return answer == "1"

    def subset(self, rows: Slice, mask: pl.Series) -> Slice:
        """Some of the rows, for an operand evaluated on these only."""
        self._subsets += 1
        if self._subsets > _MAX_SUBSETS:
            raise NotColumnar
        return rows.where(mask)

    def _number(self, part: str, node: nodes.Node, scope: Scope) -> int:
        """The same for expressions that read the same and whose names mean the same."""
        reads = tuple(
            (name, scope[name].number) for name in sorted(self._program.reads(node)) if name in scope
        )
        key = (self._program.source(node), self._is_html(part), reads)
        return self._numbers.setdefault(key, len(self._numbers) + 1)

    def _remember(self, rows: Slice, what: str, number: int, compute: Callable[[], _Answer]) -> _Answer:
        key = (what, number)
        if key not in rows.memo:
            rows.memo[key] = compute()
        return rows.memo[key]  # type: ignore[return-value]  # one question, one type of answer

    def _is_html(self, part: str) -> bool:
        return self._program.sources[part].is_html

    def _filters(self, part: str) -> LocaleFilters:
        return LocaleFilters(language=self._program.language, is_html=self._is_html(part))


class _View:
    """`Rows` for an expression in a scope."""

    def __init__(self, interpreter: Interpreter, part: str, scope: Scope, rows: Slice) -> None:
        self._interpreter = interpreter
        self._part = part
        self._scope = scope
        self._rows = rows

    def lookup(self, name: str) -> Value:
        binding = self._scope.get(name)
        if binding is None:
            return self._rows.column(name)
        return self._interpreter.value_of(self._part, binding, self._rows)

    def where(self, mask: pl.Series) -> "_View":
        return _View(self._interpreter, self._part, self._scope, self._interpreter.subset(self._rows, mask))


_Branch = tuple[nodes.Expr | None, list[nodes.Node]]


def _branches(node: nodes.If) -> list[_Branch]:
    """The tests of an if in order with what they guard; the last has no test."""
    guarded: list[_Branch] = [(cast(nodes.Expr, branch.test), branch.body) for branch in [node, *node.elif_]]
    return [*guarded, (None, node.else_)]


def _flat(body: Iterable[nodes.Node]) -> Iterator[nodes.Node]:
    for node in body:
        if isinstance(node, nodes.Output):
            yield from node.nodes
        else:
            yield node


def _assigned_expression(node: nodes.Node) -> nodes.Expr | None:
    """What a set statement of one name sets it to."""
    if not isinstance(node, nodes.Assign) or not isinstance(node.target, nodes.Name):
        return None
    return node.node if isinstance(node.node, nodes.Expr) else None


def _is_plain_block(node: nodes.Node) -> TypeGuard[nodes.AssignBlock]:
    return isinstance(node, nodes.AssignBlock) and isinstance(node.target, nodes.Name) and node.filter is None

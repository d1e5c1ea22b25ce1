"""Jinja2 expressions evaluated over columns: one method per kind of node, exact or NotColumnar.

Evaluation is eager, on exactly the rows that reach the expression, so what the data rules out (a null, an overflow,
an empty list) need not be feared: each form looks before it computes. Statements and rendering live elsewhere.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import polars as pl
from jinja2 import nodes
from markupsafe import Markup

from comms_pipeline.personalization.distinct import Distinct
from comms_pipeline.personalization.filter_columns import FilterCall, fixed_point
from comms_pipeline.personalization.filters import FILTERS, FilterForms
from comms_pipeline.personalization.locale_filters import LocaleFilters
from comms_pipeline.personalization.operators import (
    arithmetic,
    compare,
    contains,
    is_one_of,
    negated,
)
from comms_pipeline.personalization.value_tests import VALUE_TESTS
from comms_pipeline.personalization.values import (
    Column,
    Const,
    Missing,
    NotColumnar,
    Scalar,
    Value,
    column,
    concat,
    merge,
    repeated,
    scatter,
    split,
    truth,
)

_ARITHMETIC = {
    nodes.Add: "+",
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Mod: "%",
}
_COMPARING_TESTS = {
    "eq": "eq", "equalto": "eq", "==": "eq", "ne": "ne", "!=": "ne", "lt": "lt", "lessthan": "lt", "<": "lt",
    "le": "lteq", "<=": "lteq", "gt": "gt", "greaterthan": "gt", ">": "gt", "ge": "gteq", ">=": "gteq",
}  # fmt: skip


class Rows(Protocol):
    """The rows an expression is evaluated on, and what names mean there."""

    def lookup(self, name: str) -> Value:
        """The value of a name on these rows."""
        ...

    def where(self, mask: pl.Series) -> "Rows":
        """Those of the rows for which the mask holds."""
        ...


def evaluate(node: nodes.Expr, rows: Rows, filters: LocaleFilters) -> Value:
    """The value of an expression on rows; `filters` are those of its part.

    Raises NotColumnar where only Jinja2 itself knows the answer.
    """
    try:
        return _Evaluator(rows, filters).value(node)
    except (pl.exceptions.PolarsError, OverflowError):
        raise NotColumnar from None


def evaluate_truth(node: nodes.Expr, rows: Rows, filters: LocaleFilters) -> bool | pl.Series:
    """Whether an expression holds, per row or for all rows. Raises NotColumnar as `evaluate` does."""
    try:
        return _Evaluator(rows, filters).truth(node)
    except (pl.exceptions.PolarsError, OverflowError):
        raise NotColumnar from None


class _Evaluator:
    def __init__(self, rows: Rows, filters: LocaleFilters) -> None:
        self._rows = rows
        self._filters = filters

    def value(self, node: nodes.Expr) -> Value:
        form = _FORMS.get(type(node))
        if form is None:
            raise NotColumnar
        return form(self, node)

    def truth(self, node: nodes.Expr) -> bool | pl.Series:
        """Truth without the detour over the operands' values, which `and` and `or` would return."""
        if isinstance(node, nodes.Not):
            inner = self.truth(node.node)
            return ~inner if isinstance(inner, pl.Series) else not inner
        if not isinstance(node, nodes.And | nodes.Or):
            return truth(self.value(node))
        first = self.truth(node.left)
        decides = isinstance(node, nodes.Or)
        if isinstance(first, bool):
            return first if first is decides else self.truth(node.right)
        open_rows = ~first if decides else first
        if not open_rows.any():
            return first
        second = _Evaluator(self._rows.where(open_rows), self._filters).truth(node.right)
        positions = split(open_rows)
        if isinstance(second, bool):
            second = repeated(second, len(positions[0]))
        return scatter([second, repeated(decides, len(positions[1]))], positions)

    def _choose(self, condition: bool | pl.Series, yes: nodes.Expr, no: nodes.Expr | None) -> Value:
        """`yes` on the rows where the condition holds, `no` elsewhere, each evaluated on its own rows only."""
        if isinstance(condition, pl.Series) and not condition.any():
            condition = False
        elif isinstance(condition, pl.Series) and condition.all():
            condition = True
        if condition is True:
            return self.value(yes)
        if no is None:
            raise NotColumnar
        if condition is False:
            return self.value(no)
        sides = [
            _Evaluator(self._rows.where(mask), self._filters).value(node)
            for mask, node in ((condition, yes), (~condition, no))
        ]
        return merge(condition, sides[0], sides[1])

    def constant(self, node: nodes.Const) -> Value:
        if not isinstance(node.value, str | int | float | bool | None):
            raise NotColumnar
        return Const(value=node.value)

    def name(self, node: nodes.Name) -> Value:
        return self._rows.lookup(node.name)

    def attribute(self, node: nodes.Getattr) -> Value:
        return self._field(self.value(node.node), node.attr)

    def item(self, node: nodes.Getitem) -> Value:
        owner = self.value(node.node)
        if isinstance(node.arg, nodes.Slice):
            return self._slice(owner, node.arg)
        if not isinstance(node.arg, nodes.Const):
            raise NotColumnar
        position = node.arg.value
        if isinstance(position, str):
            return self._field(owner, position)
        if type(position) is not int or not isinstance(owner, Column) or owner.has_nulls or owner.is_markup:
            raise NotColumnar
        is_list = isinstance(owner.series.dtype, pl.List)
        if not is_list and not owner.is_text:
            raise NotColumnar
        sizes = owner.series.list.len() if is_list else owner.series.str.len_chars()
        if not (sizes > (position if position >= 0 else -position - 1)).all():
            raise NotColumnar
        if is_list:
            return column(owner.series.list.get(position))
        return Column(series=owner.series.str.slice(position, 1))

    def _field(self, owner: Value, name: str) -> Value:
        # A dict's own attributes (items, keys …) come before its keys, and None has no fields.
        if not isinstance(owner, Column) or owner.has_nulls or hasattr(dict, name):
            raise NotColumnar
        dtype = owner.series.dtype
        if not isinstance(dtype, pl.Struct):
            raise NotColumnar
        names = tuple(field.name for field in dtype.fields)
        return column(owner.series.struct.field(name)) if name in names else Missing(name=name, near=names)

    def _slice(self, owner: Value, cut: nodes.Slice) -> Value:
        start, stop = (_slice_bound(bound) for bound in (cut.start, cut.stop))
        if not isinstance(owner, Column) or not owner.is_plain_text or cut.step is not None:
            raise NotColumnar
        return Column(
            series=owner.series.str.slice(start or 0, None if stop is None else max(stop - (start or 0), 0))
        )

    def choice(self, node: nodes.CondExpr) -> Value:
        return self._choose(self.truth(node.test), node.expr1, node.expr2)

    def and_(self, node: nodes.And) -> Value:
        return self._choose(truth(self.value(node.left)), node.right, node.left)

    def or_(self, node: nodes.Or) -> Value:
        return self._choose(truth(self.value(node.left)), node.left, node.right)

    def not_(self, node: nodes.Not) -> Value:
        inner = self.truth(node)
        return Column(series=inner) if isinstance(inner, pl.Series) else Const(value=inner)

    def arithmetic(self, node: nodes.BinExpr) -> Value:
        return arithmetic(_ARITHMETIC[type(node)], self.value(node.left), self.value(node.right))

    def negation(self, node: nodes.Neg) -> Value:
        return negated(self.value(node.node))

    def compare(self, node: nodes.Compare) -> Value:
        if len(node.ops) != 1:
            raise NotColumnar
        operation, left = node.ops[0], self.value(node.expr)
        if operation.op not in ("in", "notin"):
            return compare(operation.op, left, self.value(operation.expr))
        found = self._contains(left, operation.expr)
        if operation.op == "in":
            return found
        return Column(series=~found.series) if isinstance(found, Column) else Const(value=not truth(found))

    def _contains(self, needle: Value, haystack: nodes.Expr) -> Value:
        if isinstance(haystack, nodes.List | nodes.Tuple):
            if not all(isinstance(item, nodes.Const) for item in haystack.items):
                raise NotColumnar
            return is_one_of(needle, [item.value for item in haystack.items if isinstance(item, nodes.Const)])
        return contains(needle, self.value(haystack))

    def concatenation(self, node: nodes.Concat) -> Value:
        values = [self.value(child) for child in node.nodes]
        pieces: list[str | pl.Series] = []
        for value in values:
            if isinstance(value, Missing):
                raise NotColumnar
            pieces.append(str(value.value) if isinstance(value, Const) else value.text())
        is_markup = any(value.is_markup for value in values if not isinstance(value, Missing))
        if is_markup:
            # Markup joined to text escapes the text, in HTML parts only.
            raise NotColumnar
        joined = concat(pieces)
        return Const(value=joined) if isinstance(joined, str) else Column(series=joined)

    def filter(self, node: nodes.Filter) -> Value:
        if node.node is None or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise NotColumnar
        value = self.value(node.node)
        arguments = [self.value(argument) for argument in node.args]
        named = {str(pair.key): self.value(pair.value) for pair in node.kwargs}
        if node.name in ("default", "d"):
            return self._default(value, arguments, named)
        filled = arguments[0] if node.name == "format" and len(arguments) == 1 else None
        if isinstance(value, Const) and isinstance(filled, Column) and not named:
            return _required(fixed_point(value.value, filled))
        forms = FILTERS.get(node.name)
        if forms is None or isinstance(value, Missing):
            raise NotColumnar
        if forms.localized is not None:
            return _mapped(partial(forms.localized, self._filters), [value, *arguments], named)
        return _by_column(forms, value, arguments, named)

    def _default(self, value: Value, arguments: list[Value], named: dict[str, Value]) -> Value:
        given = {**dict(zip(("default_value", "boolean"), arguments, strict=False)), **named}
        fallback = given.pop("default_value", Const(value=""))
        is_boolean = given.pop("boolean", Const(value=False))
        if given or len(arguments) > 2 or not isinstance(is_boolean, Const):
            raise NotColumnar
        if isinstance(value, Missing):
            return fallback
        holds = truth(value) if is_boolean.value else True
        if isinstance(holds, bool):
            return value if holds else fallback
        if holds.all():
            return value
        if isinstance(fallback, Missing):
            raise NotColumnar
        return merge(holds, _filtered(value, holds), _filtered(fallback, ~holds))

    def test(self, node: nodes.Test) -> Value:
        if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise NotColumnar
        value = self.value(node.node)
        if node.name in _COMPARING_TESTS and len(node.args) == 1:
            return compare(_COMPARING_TESTS[node.name], value, self.value(node.args[0]))
        if node.name == "in" and len(node.args) == 1:
            return self._contains(value, node.args[0])
        if node.name == "divisibleby" and len(node.args) == 1:
            return compare("eq", arithmetic("%", value, self.value(node.args[0])), Const(value=0))
        form = VALUE_TESTS.get(node.name)
        if form is None or node.args:
            raise NotColumnar
        return form(value)


def _slice_bound(node: nodes.Expr | None) -> int | None:
    if node is None:
        return None
    if not isinstance(node, nodes.Const) or type(node.value) is not int or node.value < 0:
        raise NotColumnar
    return node.value


def _required(value: Value | None) -> Value:
    if value is None:
        raise NotColumnar
    return value


def _by_column(
    forms: FilterForms, value: Const | Column, arguments: list[Value], named: dict[str, Value]
) -> Value:
    if forms.columns is None:
        raise NotColumnar
    call = FilterCall(
        value=_lifted(value),
        arguments=tuple(_scalar(argument) for argument in arguments),
        named={name: _scalar(argument) for name, argument in named.items()},
    )
    result = _required(forms.columns(call))
    return result if isinstance(value, Column) else _lowered(result)


def _mapped(function: Callable[..., str], arguments: list[Value], named: dict[str, Value]) -> Value:
    """The very function Jinja2 would call, once for each distinct combination of its inputs."""
    given = [*arguments, *named.values()]
    inputs = [value for value in given if not isinstance(value, Missing) and not value.is_markup]
    if len(inputs) < len(given):
        raise NotColumnar
    groups = Distinct(inputs)
    try:
        texts = [
            function(*row[: len(arguments)], **dict(zip(named, row[len(arguments) :], strict=True)))
            for row in groups.rows()
        ]
    except Exception:
        raise NotColumnar from None  # Jinja2 will raise the same, and the renderer reports it
    text = groups.spread(texts)
    return Const(value=text) if isinstance(text, str) else Column(series=text)


def _scalar(value: Value) -> Scalar:
    if not isinstance(value, Const):
        raise NotColumnar
    return value.value


def _lifted(value: Const | Column) -> Column:
    """A constant as a column of one row, so that filters know columns only."""
    if isinstance(value, Column):
        return value
    lifted = column(pl.Series([str(value.value) if isinstance(value.value, str) else value.value]))
    if not isinstance(lifted, Column):
        raise NotColumnar
    return Column(series=lifted.series, is_markup=value.is_markup)


def _lowered(value: Value) -> Value:
    """The inverse of `_lifted`."""
    if not isinstance(value, Column):
        return value
    scalar = value.series[0]
    if not isinstance(scalar, str | int | float | bool | None):
        raise NotColumnar
    return Const(value=Markup(scalar) if value.is_markup else scalar)  # noqa: S704  # escaped already


def _filtered(value: Const | Column, mask: pl.Series) -> Value:
    return (
        Column(series=value.series.filter(mask), is_markup=value.is_markup)
        if isinstance(value, Column)
        else value
    )


_FORMS: dict[type[nodes.Node], Callable[..., Value]] = {
    nodes.Const: _Evaluator.constant,
    nodes.Name: _Evaluator.name,
    nodes.Getattr: _Evaluator.attribute,
    nodes.Getitem: _Evaluator.item,
    nodes.CondExpr: _Evaluator.choice,
    nodes.And: _Evaluator.and_,
    nodes.Or: _Evaluator.or_,
    nodes.Not: _Evaluator.not_,
    nodes.Neg: _Evaluator.negation,
    nodes.Compare: _Evaluator.compare,
    nodes.Concat: _Evaluator.concatenation,
    nodes.Filter: _Evaluator.filter,
    nodes.Test: _Evaluator.test,
    **dict.fromkeys(_ARITHMETIC, _Evaluator.arithmetic),
}

"""The tests of Jinja2 (`x is number`) that look at one value alone, over columns. Those that compare are operators."""

from collections.abc import Callable

import polars as pl

from comms_pipeline.personalization.operators import arithmetic, compare
from comms_pipeline.personalization.values import Column, Const, Missing, Value


def _test_none(value: Value) -> Value:
    if isinstance(value, Column):
        return Column(series=value.series.is_null())
    return Const(value=isinstance(value, Const) and value.value is None)


def _kind_test(
    is_kind: Callable[[pl.DataType], bool], python: Callable[[object], bool]
) -> Callable[[Value], Value]:
    """A test that depends on the type alone, which None does not pass."""

    def test(value: Value) -> Value:
        if isinstance(value, Missing):
            return Const(value=False)
        if isinstance(value, Const):
            return Const(value=python(value.value))
        if not is_kind(value.series.dtype):
            return Const(value=False)
        return Column(series=value.series.is_not_null())

    return test


def _parity_test(remainder: int) -> Callable[[Value], Value]:
    return lambda value: compare("eq", arithmetic("%", value, Const(value=2)), Const(value=remainder))


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


VALUE_TESTS: dict[str, Callable[[Value], Value]] = {
    "defined": lambda value: Const(value=not isinstance(value, Missing)),
    "undefined": lambda value: Const(value=isinstance(value, Missing)),
    "none": _test_none,
    "even": _parity_test(0),
    "odd": _parity_test(1),
    "string": _kind_test(lambda dtype: dtype == pl.String, lambda value: isinstance(value, str)),
    "number": _kind_test(
        lambda dtype: dtype.is_numeric() or dtype == pl.Boolean, lambda value: isinstance(value, int | float)
    ),
    "integer": _kind_test(lambda dtype: dtype.is_integer(), _is_integer),
    "float": _kind_test(lambda dtype: dtype.is_float(), lambda value: isinstance(value, float)),
    "boolean": _kind_test(lambda dtype: dtype == pl.Boolean, lambda value: isinstance(value, bool)),
    "mapping": _kind_test(lambda dtype: isinstance(dtype, pl.Struct), lambda value: isinstance(value, dict)),
}

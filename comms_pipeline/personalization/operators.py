"""Arithmetic, comparison and membership of values, in columns, exactly as Python does them or not at all.

Polars differs from Python on overflow, on mixed int and float, on NaN, on division by zero and on null; each
operation first proves that none of these occurs in the data at hand and raises NotColumnar otherwise.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from markupsafe import Markup

from comms_pipeline.personalization.values import (
    Column,
    Const,
    Missing,
    NotColumnar,
    Scalar,
    Value,
    as_int64,
    concat,
    const_dtype,
)

_EXACT_INTEGER = 1 << 53  # a float holds every whole number up to here
_MAX_INT64 = (1 << 63) - 1
_MAX_DECIMAL_DIGITS = 38

_COMPARISONS: dict[str, Callable[[Any, Any], object]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], object]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def compare(name: str, left: Value, right: Value) -> Value:
    """`left name right`, `name` one of _COMPARISONS."""
    if isinstance(left, Missing) or isinstance(right, Missing):
        raise NotColumnar
    operation = _COMPARISONS[name]
    if isinstance(left, Const) and isinstance(right, Const):
        try:
            return Const(value=bool(operation(left.value, right.value)))
        except TypeError:
            raise NotColumnar from None
    if name in ("eq", "ne"):
        equal = _equal(left, right)
        return Column(series=equal if name == "eq" else ~equal)
    pair = _comparable(left, right)
    if pair is None or pair[0].null_count() or pair[1].null_count():
        raise NotColumnar
    return Column(series=_series(operation(*pair)))


def contains(needle: Value, haystack: Value) -> Value:
    """`needle in haystack`: text in text, or a scalar in a list column."""
    if isinstance(needle, Missing) or isinstance(haystack, Missing):
        raise NotColumnar
    if isinstance(needle, Const) and isinstance(haystack, Const):
        if isinstance(needle.value, str) and isinstance(haystack.value, str):
            return Const(value=needle.value in haystack.value)
        raise NotColumnar
    frame, (small, large) = _broadcast(needle, haystack)
    if large.dtype == pl.String and small.dtype == pl.String:
        if small.null_count() or large.null_count():
            raise NotColumnar
        found = frame.select(pl.col("right").str.contains(pl.col("left"), literal=True))
        return Column(series=found.to_series())
    if (
        isinstance(large.dtype, pl.List)
        and large.dtype.inner == small.dtype
        and small.dtype in (pl.String, pl.Int64)
    ):
        if small.null_count() or large.null_count():
            raise NotColumnar
        found = frame.select(pl.col("right").list.contains(pl.col("left")).fill_null(False))
        return Column(series=found.to_series())
    raise NotColumnar


def is_one_of(needle: Value, choices: Sequence[Scalar]) -> Value:
    """`needle in ["a", "b"]` with a list of constants of one type."""
    if isinstance(needle, Missing):
        raise NotColumnar
    if isinstance(needle, Const):
        return Const(value=needle.value in choices)
    dtypes = {const_dtype(Const(value=choice)) for choice in choices}
    needle_dtype = pl.Int64() if needle.series.dtype.is_integer() else needle.series.dtype
    if dtypes != {needle_dtype} or needle_dtype not in (pl.String, pl.Int64):
        raise NotColumnar
    series = as_int64(needle.series) if needle_dtype == pl.Int64 else needle.series
    return Column(
        series=series.is_in(pl.Series(list(choices), dtype=needle_dtype).implode()).fill_null(False)
    )


def arithmetic(sign: str, left: Value, right: Value) -> Value:
    """`left sign right` of numbers, or `+` of plain texts."""
    operation = _ARITHMETIC.get(sign)
    if operation is None or isinstance(left, Missing) or isinstance(right, Missing):
        raise NotColumnar
    if isinstance(left, Const) and isinstance(right, Const):
        return _constant_arithmetic(sign, left.value, right.value)
    if sign == "+" and _is_plain_text(left) and _is_plain_text(right):
        pieces = [side.value if isinstance(side, Const) else side.series for side in (left, right)]
        joined = concat([piece for piece in pieces if isinstance(piece, str | pl.Series)])
        return Column(series=_series(joined))
    _, (first, second) = _broadcast(left, right)
    if first.null_count() or second.null_count():
        raise NotColumnar
    if first.dtype.is_integer() and second.dtype.is_integer():
        return _integers(sign, as_int64(first), as_int64(second))
    if {first.dtype, second.dtype} <= {pl.Float64(), pl.Int64()} and sign in ("+", "-", "*", "/"):
        floats = _as_floats(first), _as_floats(second)
        if sign == "/" and (floats[1] == 0).any():
            raise NotColumnar
        return Column(series=_series(operation(*floats)))
    raise NotColumnar


def negated(value: Value) -> Value:
    """`-value`."""
    return arithmetic("*", value, Const(value=-1)) if _is_integral(value) else _negated_float(value)


def _negated_float(value: Value) -> Value:
    if isinstance(value, Const) and isinstance(value.value, float):
        return Const(value=-value.value)
    if isinstance(value, Column) and value.series.dtype == pl.Float64 and not value.has_nulls:
        return Column(series=-value.series)
    raise NotColumnar


def _is_integral(value: Value) -> bool:
    if isinstance(value, Const):
        return isinstance(value.value, int) and not isinstance(value.value, bool)
    return isinstance(value, Column) and value.series.dtype.is_integer()


def _is_plain_text(value: Const | Column) -> bool:
    if isinstance(value, Const):
        return isinstance(value.value, str) and not isinstance(value.value, Markup)
    return value.is_plain_text


def _constant_arithmetic(sign: str, left: Scalar, right: Scalar) -> Value:
    """Numbers only, within 64 bits: nothing a template writes can make it slow or large."""
    if not (isinstance(left, int | float) and isinstance(right, int | float)):
        raise NotColumnar
    if any(isinstance(side, int) and abs(side) > _MAX_INT64 for side in (left, right)):
        raise NotColumnar
    try:
        result = _ARITHMETIC[sign](left, right)
    except (ArithmeticError, ValueError):
        raise NotColumnar from None
    if not isinstance(result, int | float):
        raise NotColumnar
    return Const(value=result)


def _integers(sign: str, left: pl.Series, right: pl.Series) -> Value:
    if len(left) == 0:
        raise NotColumnar
    bounds = [_bounds(left), _bounds(right)]
    if sign in ("//", "%") and bounds[0][0] >= 0 and bounds[1][0] > 0:
        # Without negatives every convention of rounding agrees.
        return Column(series=left // right if sign == "//" else left % right)
    if sign == "/":
        if max(abs(bound) for pair in bounds for bound in pair) > _EXACT_INTEGER or (right == 0).any():
            raise NotColumnar
        return Column(series=left.cast(pl.Float64) / right.cast(pl.Float64))
    if sign not in ("+", "-", "*"):
        raise NotColumnar
    corners = [_ARITHMETIC[sign](first, second) for first in bounds[0] for second in bounds[1]]
    if any(not isinstance(corner, int) or abs(corner) > _MAX_INT64 for corner in corners):
        raise NotColumnar
    return Column(series=_series(_ARITHMETIC[sign](left, right)))


def _bounds(series: pl.Series) -> tuple[int, int]:
    low, high = series.min(), series.max()
    if not (isinstance(low, int) and isinstance(high, int)):
        raise NotColumnar
    return low, high


def _as_floats(series: pl.Series) -> pl.Series:
    if series.dtype == pl.Float64:
        return series
    if (series.abs() > _EXACT_INTEGER).any():
        raise NotColumnar
    return series.cast(pl.Float64)


def _equal(left: Const | Column, right: Const | Column) -> pl.Series:
    pair = _comparable(left, right)
    if pair is not None:
        return pair[0].eq_missing(pair[1])
    # Values of different kinds are never equal, but None is None.
    _, (first, second) = _broadcast(left, right)
    return first.is_null() & second.is_null()


def _comparable(left: Const | Column, right: Const | Column) -> tuple[pl.Series, pl.Series] | None:
    """Both sides in one dtype whose comparison is Python's, or None where the kinds differ."""
    _, (first, second) = _broadcast(left, right)
    kinds = [_kind(series.dtype) for series in (first, second)]
    if pl.Null() in (first.dtype, second.dtype) or kinds[0] != kinds[1]:
        return None
    if kinds[0] != "number":
        if first.dtype != second.dtype:
            raise NotColumnar
        return first, second
    return _comparable_numbers(first, second)


def _comparable_numbers(first: pl.Series, second: pl.Series) -> tuple[pl.Series, pl.Series]:
    sides = [series.cast(pl.Int64) if series.dtype == pl.Boolean else series for series in (first, second)]
    sides = [as_int64(series) if series.dtype.is_integer() else series for series in sides]
    dtypes = [series.dtype for series in sides]
    if dtypes[0] == dtypes[1] and dtypes[0] != pl.Float64:
        return sides[0], sides[1]
    if all(dtype in (pl.Int64, pl.Float64) for dtype in dtypes):
        floats = [_as_floats(series) for series in sides]
        if any(series.is_nan().any() for series in floats):
            raise NotColumnar
        return floats[0], floats[1]
    decimal = next((dtype for dtype in dtypes if isinstance(dtype, pl.Decimal)), None)
    if decimal is None or pl.Int64() not in dtypes:
        raise NotColumnar
    largest = 10 ** min(_MAX_DECIMAL_DIGITS - decimal.scale, 18)
    whole = next(series for series in sides if series.dtype == pl.Int64)
    if (whole.abs() >= largest).any():
        raise NotColumnar
    wide = pl.Decimal(_MAX_DECIMAL_DIGITS, decimal.scale)
    return sides[0].cast(wide), sides[1].cast(wide)


def _kind(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean or dtype.is_numeric():
        return "number"
    if dtype == pl.String or dtype == pl.Null:
        return str(dtype)
    if isinstance(dtype, pl.Date | pl.Datetime):
        return "moment"
    raise NotColumnar


def _broadcast(
    left: Const | Column, right: Const | Column
) -> tuple[pl.DataFrame, tuple[pl.Series, pl.Series]]:
    """Both sides as columns of the same length."""
    length = max(len(side.series) for side in (left, right) if isinstance(side, Column))
    sides = []
    for name, side in (("left", left), ("right", right)):
        if isinstance(side, Column):
            sides.append(side.series.alias(name))
        else:
            plain = str(side.value) if isinstance(side.value, str) else side.value
            sides.append(pl.Series(name, [plain], dtype=const_dtype(side)).new_from_index(0, length))
    return pl.DataFrame(sides), (sides[0], sides[1])


def _series(result: object) -> pl.Series:
    if not isinstance(result, pl.Series):
        raise NotColumnar
    return result

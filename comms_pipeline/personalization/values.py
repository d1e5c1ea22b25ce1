"""What an expression is worth over many rows: a constant, a column, or nothing (undefined).

Holds the exact column forms of what Python does to every value: `str()`, truth, escaping, joining branches. Nothing
here knows templates. What cannot be had exactly raises NotColumnar, and the caller renders the fragment instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup, escape

Scalar = str | int | float | bool | None

MAX_CELL_BYTES = 1 << 20
MAX_COLUMN_BYTES = 1 << 28
_MAX_INT64 = (1 << 63) - 1
_EXACT_DECIMAL_SCALE = 6  # beyond it str(Decimal) may write an exponent
_ESCAPES = {"&": "&amp;", ">": "&gt;", "<": "&lt;", "'": "&#39;", '"': "&#34;"}


class NotColumnar(Exception):  # a signal, no error
    """This value or operation has no column form that equals Python's exactly."""


@dataclass(frozen=True, kw_only=True)
class Const:
    """The same scalar in every row; a `Markup` is text already escaped."""

    value: Scalar

    @property
    def is_markup(self) -> bool:
        return isinstance(self.value, Markup)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One value per row; null is None. `is_markup`: the text is already escaped."""

    series: pl.Series
    is_markup: bool = False

    @property
    def is_text(self) -> bool:
        return self.series.dtype == pl.String

    @property
    def is_plain_text(self) -> bool:
        """Strings only: no None, no Markup."""
        return self.is_text and not self.is_markup and not self.has_nulls

    @property
    def has_nulls(self) -> bool:
        return self.series.null_count() > 0

    def text(self) -> pl.Series:
        """`str()` of every row."""
        return text_of(self.series)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Undefined in every row: a variable without a column, a field a struct lacks. `near`: the names there are."""

    name: str
    near: tuple[str, ...] = ()


Value = Const | Column | Missing


def column(series: pl.Series) -> Value:
    """A column as a value. NotColumnar for dtypes that templates may not see."""
    dtype = series.dtype
    if dtype == pl.Null:
        return Const(value=None)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return Column(series=series.cast(pl.String))
    if dtype == pl.Float32:
        return Column(series=series.cast(pl.Float64))
    if isinstance(dtype, pl.Binary | pl.Object):
        raise NotColumnar
    return Column(series=series)


def text_of(series: pl.Series) -> pl.Series:
    """Python's `str()` of every value; null is "None"."""
    dtype = series.dtype
    if dtype == pl.String:
        text = series
    elif dtype.is_integer() or dtype == pl.Date or _prints_plainly(series):
        text = series.cast(pl.String)
    elif dtype == pl.Boolean:
        text = choose(series, "True", "False")
    elif isinstance(dtype, pl.Datetime) and dtype.time_zone is None and dtype.time_unit != "ns":
        text = _datetime_text(series)
    else:
        text = map_each(series, str, pl.String)
    return text.fill_null("None")


def choose(condition: pl.Series, when_true: Scalar, when_false: Scalar) -> pl.Series:
    """One of two constants per row; null stays null."""
    picked = pl.when(condition).then(pl.lit(when_true)).when(~condition).then(pl.lit(when_false))
    return pl.select(picked.alias(condition.name)).to_series()


def map_each(
    series: pl.Series, function: Callable[..., object], dtype: pl.DataType | type[pl.DataType]
) -> pl.Series:
    """A Python function of every value that is not null, once per distinct value where that is exact."""
    values = series
    # Polars takes 0.0 and -0.0 for one value, Python's str does not.
    is_distinct = not series.dtype.is_nested() and not series.dtype.is_float()
    if is_distinct:
        values = series.unique().drop_nulls()
    try:
        results = pl.Series(
            [None if value is None else function(value) for value in values.to_list()],
            dtype=dtype,
            strict=True,
        )
    except (OverflowError, TypeError, ValueError, ArithmeticError) as error:
        raise NotColumnar(type(error).__name__) from None
    if not is_distinct:
        return results
    if len(values) == 0:
        return pl.Series([None], dtype=dtype).new_from_index(0, len(series))
    return series.replace_strict(values, results, default=None, return_dtype=dtype)


def map_text(text: pl.Series, fast: Callable[[pl.Expr], pl.Expr], exact: Callable[[str], str]) -> pl.Series:
    """`exact` of every string: by column where it is ASCII, where both agree, else by Python."""
    frame = text.alias("text").to_frame()
    is_ascii = text.len() == 0 or bool((text.str.len_bytes() == text.str.len_chars()).all())
    if is_ascii:
        return frame.select(fast(pl.col("text"))).to_series()
    frame = frame.with_columns(is_ascii=text.str.len_bytes() == text.str.len_chars())
    other = map_each(frame.filter(~pl.col("is_ascii"))["text"], exact, pl.String)
    mapped = frame.filter("is_ascii").select(fast(pl.col("text"))).to_series()
    return scatter([mapped, other], split(frame["is_ascii"]))


def split(mask: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The rows where a mask holds, and the others."""
    return mask.arg_true(), (~mask).arg_true()


def scatter(pieces: Sequence[pl.Series], positions: Sequence[pl.Series]) -> pl.Series:
    """One column from pieces of it: `pieces[i]` holds the values of the rows `positions[i]`."""
    stacked = pl.concat([piece.alias("value") for piece in pieces])
    return stacked.gather(pl.concat(list(positions)).arg_sort())


def escaped(text: pl.Series) -> pl.Series:
    """markupsafe's escape of every string."""
    if not text.str.contains_any(list(_ESCAPES)).any():
        return text
    return text.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))


def output(value: Const | Column, *, autoescape: bool) -> str | pl.Series:
    """What `{{ value }}` prints."""
    if isinstance(value, Const):
        return str(escape(value.value)) if autoescape else str(value.value)
    text = value.text()
    needs_escape = autoescape and not value.is_markup and not value.series.dtype.is_numeric()
    return escaped(text) if needs_escape else text


def truth(value: Value) -> bool | pl.Series:
    """Python's `bool()`; a null is false."""
    if isinstance(value, Missing):
        raise NotColumnar
    if isinstance(value, Const):
        return bool(value.value)
    series = value.series
    dtype = series.dtype
    if dtype == pl.Boolean:
        return series.fill_null(False)
    if dtype == pl.String:
        return (series != "").fill_null(False)
    if dtype.is_numeric():
        return (series != 0).fill_null(False)
    if isinstance(dtype, pl.List):
        return (series.list.len() > 0).fill_null(False)
    if isinstance(dtype, pl.Date | pl.Datetime) or (isinstance(dtype, pl.Struct) and dtype.fields):
        return series.is_not_null()
    raise NotColumnar


def merge(mask: pl.Series, yes: Value, no: Value) -> Value:
    """`yes` on the rows of the mask, `no` on the others; each has as many rows as its side of the mask."""
    if isinstance(yes, Missing) or isinstance(no, Missing):
        raise NotColumnar
    count = int(mask.sum())
    sides = [(yes, count), (no, len(mask) - count)]
    if all(isinstance(side, Const) and side.value is None for side, _ in sides):
        return Const(value=None)
    dtypes = {_merge_dtype(side) for side, _ in sides} - {pl.Null()}
    marks = {side.is_markup for side, _ in sides if not (isinstance(side, Const) and side.value is None)}
    if len(dtypes) > 1 or len(marks) > 1:
        raise NotColumnar
    dtype = dtypes.pop()
    pieces = [as_series(side, dtype, length) for side, length in sides]
    return Column(series=scatter(pieces, split(mask)), is_markup=marks.pop())


def _merge_dtype(value: Const | Column) -> pl.DataType:
    if isinstance(value, Const):
        return const_dtype(value)
    if value.series.dtype.is_integer():
        return as_int64(value.series).dtype
    return value.series.dtype


def const_dtype(value: Const) -> pl.DataType:
    scalar = value.value
    if scalar is None:
        return pl.Null()
    if isinstance(scalar, bool):
        return pl.Boolean()
    if isinstance(scalar, int):
        if abs(scalar) > _MAX_INT64:
            raise NotColumnar
        return pl.Int64()
    return pl.Float64() if isinstance(scalar, float) else pl.String()


def as_series(value: Const | Column, dtype: pl.DataType, length: int) -> pl.Series:
    """A value as a column of `length` rows."""
    if isinstance(value, Const):
        plain = str(value.value) if isinstance(value.value, str) else value.value
        return pl.Series([plain], dtype=dtype).new_from_index(0, length)
    return value.series.cast(dtype)


def as_int64(series: pl.Series) -> pl.Series:
    """Whole numbers as Int64; NotColumnar beyond its range."""
    if series.dtype in (pl.UInt64, pl.Int128, pl.UInt128):
        largest, smallest = series.max(), series.min()
        if isinstance(largest, int) and isinstance(smallest, int) and max(largest, -smallest) > _MAX_INT64:
            raise NotColumnar
    return series.cast(pl.Int64)


def repeated(value: bool | str, length: int) -> pl.Series:
    """A constant as a column."""
    return pl.Series([value]).new_from_index(0, length)


def concat(pieces: Sequence[str | pl.Series]) -> str | pl.Series:
    """Pieces side by side, row by row. NotColumnar when the text grows beyond what a message may hold."""
    columns = [piece for piece in pieces if isinstance(piece, pl.Series)]
    constants = [piece for piece in pieces if isinstance(piece, str)]
    constant_bytes = sum(len(piece.encode()) for piece in constants)
    sizes = [largest_and_total_bytes(piece) for piece in columns]
    widest = constant_bytes + sum(largest for largest, _ in sizes)
    total = constant_bytes * max((len(piece) for piece in columns), default=1) + sum(
        total for _, total in sizes
    )
    if widest > MAX_CELL_BYTES or total > MAX_COLUMN_BYTES:
        raise NotColumnar
    return join_columns(pieces) if columns else "".join(constants)


def largest_and_total_bytes(text: pl.Series) -> tuple[int, int]:
    """The size of the longest string and of all."""
    sizes = text.str.len_bytes()
    largest = sizes.max()
    return (largest if isinstance(largest, int) else 0), int(sizes.sum())


def join_columns(pieces: Sequence[str | pl.Series]) -> pl.Series:
    """Pieces side by side, row by row; at least one is a column."""
    frame = pl.DataFrame(
        [piece.alias(str(i)) for i, piece in enumerate(pieces) if isinstance(piece, pl.Series)]
    )
    parts = [pl.lit(piece) if isinstance(piece, str) else pl.col(str(i)) for i, piece in enumerate(pieces)]
    return frame.select(pl.concat_str(parts)).to_series()


def _prints_plainly(series: pl.Series) -> bool:
    """Whether Polars writes every float or decimal as Python does: no exponent, no NaN."""
    if isinstance(series.dtype, pl.Decimal):
        return series.dtype.scale <= _EXACT_DECIMAL_SCALE
    if series.dtype != pl.Float64:
        return False
    size = series.abs()
    return bool((((size >= 1e-4) & (size < 1e16)) | (size == 0)).all())


def _datetime_text(series: pl.Series) -> pl.Series:
    seconds = series.dt.strftime("%Y-%m-%d %H:%M:%S")
    micros = series.dt.microsecond()
    if not (micros != 0).any():
        return seconds
    return join_columns([seconds, pl.select(
        pl.when(micros != 0).then(pl.lit(".") + micros.cast(pl.String).str.zfill(6)).otherwise(pl.lit(""))
    ).to_series()])  # fmt: skip

"""Exact column forms of Jinja2's own filters: each answers None for what it cannot do as Jinja2 does it.

Which filters there are is the table's to say (`filters.py`). Polars is imported only when a column is at hand: the
rendering child never needs it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from string import whitespace
from typing import TYPE_CHECKING

from jinja2 import filters as jinja_filters

if TYPE_CHECKING:
    import polars as pl

    from comms_pipeline.personalization.values import Column, Value

# What str.strip() removes: every character for which str.isspace() holds.
_WHITE_SPACE = (
    whitespace
    + "\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    + ("\u2009\u200a\u2028\u2029\u202f\u205f\u3000")
)
_FIXED_POINT = re.compile(r"[^%]*%\.[0-9]f[^%]*")
_URL_SAFE = r"^[A-Za-z0-9_.\-~/]*$"
_MIN_INT64 = -(1 << 63)  # its abs() overflows
_TRUNCATE_LEEWAY = 5  # Jinja2's policy "truncate.leeway"


@dataclass(frozen=True, kw_only=True)
class FilterCall:
    """One use of a filter on a column: arguments that are constants, by position and name."""

    value: "Column"
    arguments: tuple[object, ...]
    named: Mapping[str, object]

    def bind(self, *names: str, **defaults: object) -> dict[str, object] | None:
        """The arguments by parameter name, or None where they do not fit."""
        if len(self.arguments) > len(names) or not set(self.named) <= set(names):
            return None
        given = dict(zip(names, self.arguments, strict=False))
        return None if given.keys() & self.named.keys() else {**defaults, **given, **self.named}


ColumnForm = Callable[[FilterCall], "Value | None"]


def _text_result(text: "pl.Series") -> "Value":
    from comms_pipeline.personalization.values import Column

    return Column(series=text)


def _text_map(
    fast: Callable[["pl.Expr"], "pl.Expr"], exact: Callable[[str], str], call: FilterCall
) -> "Value | None":
    """A filter without arguments that maps text to text: `fast` where it is ASCII, `exact` elsewhere."""
    from comms_pipeline.personalization.values import map_text

    if call.value.is_markup or call.arguments or call.named:
        return None
    return _text_result(map_text(call.value.text(), fast, exact))


def title_columns(call: FilterCall) -> "Value | None":
    return _text_each(call, jinja_filters.do_title)


def _text_each(call: FilterCall, function: Callable[[str], str]) -> "Value | None":
    import polars as pl

    from comms_pipeline.personalization.values import map_each

    if call.value.is_markup or call.arguments or call.named:
        return None
    return _text_result(map_each(call.value.text(), function, pl.String))


def trim_columns(call: FilterCall) -> "Value | None":
    bound = call.bind("chars", chars=None)
    if bound is None or call.value.is_markup or not isinstance(bound["chars"], str | None):
        return None
    characters = _WHITE_SPACE if bound["chars"] is None else bound["chars"]
    text = call.value.text()
    return _text_result(text.str.strip_chars(characters) if characters else text)


def replace_columns(call: FilterCall) -> "Value | None":
    from comms_pipeline.personalization.values import (
        MAX_CELL_BYTES,
        MAX_COLUMN_BYTES,
        largest_and_total_bytes,
    )

    bound = call.bind("old", "new")
    if bound is None or call.value.is_markup or len(bound) < 2:
        return None
    old, new = bound["old"], bound["new"]
    if type(old) is not str or type(new) is not str or not old:
        return None
    text = call.value.text()
    largest, total = largest_and_total_bytes(text)
    growth = len(new.encode()) + 1
    if largest * growth > MAX_CELL_BYTES or total * growth > MAX_COLUMN_BYTES:
        return None
    return _text_result(text.str.replace_all(old, new, literal=True))


def truncate_columns(call: FilterCall) -> "Value | None":
    import polars as pl

    from comms_pipeline.personalization.values import map_each

    bound = call.bind(
        "length", "killwords", "end", "leeway", length=255, killwords=False, end="...", leeway=None
    )
    if bound is None or not call.value.is_plain_text:
        return None
    length, killwords, end, leeway = bound["length"], bound["killwords"], bound["end"], bound["leeway"]
    leeway = _TRUNCATE_LEEWAY if leeway is None else leeway
    if (
        type(length) is not int
        or type(end) is not str
        or type(leeway) is not int
        or leeway < 0
        or length < len(end)
    ):
        return None

    def cut(text: str) -> str:
        if len(text) <= length + leeway:
            return text
        kept = text[: length - len(end)]
        return (kept if killwords else kept.rsplit(" ", 1)[0]) + end

    text = call.value.series
    if not (text.str.len_chars() > length + leeway).any():
        return call.value
    return _text_result(map_each(text, cut, pl.String))


def round_columns(call: FilterCall) -> "Value | None":
    import polars as pl

    from comms_pipeline.personalization.values import Column, map_each

    bound = call.bind("precision", "method", precision=0, method="common")
    dtype = call.value.series.dtype
    if (
        bound is None
        or call.value.has_nulls
        or type(bound["precision"]) is not int
        or bound["method"] != "common"
    ):
        return None
    precision = bound["precision"]
    if dtype.is_integer() and precision >= 0:
        return call.value
    if dtype != pl.Float64:
        return None
    return Column(series=map_each(call.value.series, lambda number: round(number, precision), pl.Float64))


def length_columns(call: FilterCall) -> "Value | None":
    import polars as pl

    from comms_pipeline.personalization.values import Column

    series = call.value.series
    if call.arguments or call.named or call.value.has_nulls:
        return None
    if call.value.is_plain_text:
        return Column(series=series.str.len_chars().cast(pl.Int64))
    return Column(series=series.list.len().cast(pl.Int64)) if isinstance(series.dtype, pl.List) else None


def join_columns(call: FilterCall) -> "Value | None":
    import polars as pl

    bound = call.bind("d", d="")
    series = call.value.series
    if (
        bound is None
        or type(bound["d"]) is not str
        or call.value.has_nulls
        or not isinstance(series.dtype, pl.List)
    ):
        return None
    if series.dtype.inner != pl.String or series.list.eval(pl.element().is_null()).list.any().any():
        return None
    # An empty list joins to "", and Polars agrees only where it holds no null.
    return _text_result(series.list.join(bound["d"]).fill_null(""))


def edge_columns(position: int, call: FilterCall) -> "Value | None":
    """The first (0) or last (-1) item of a list or character of a text, if none is empty."""
    import polars as pl

    from comms_pipeline.personalization.values import column

    series = call.value.series
    if call.arguments or call.named or call.value.has_nulls or call.value.is_markup:
        return None
    if isinstance(series.dtype, pl.List):
        return column(series.list.get(position)) if (series.list.len() > 0).all() else None
    if call.value.is_text and (series != "").all():
        return _text_result(series.str.slice(position, 1))
    return None


def escape_columns(call: FilterCall) -> "Value | None":
    from comms_pipeline.personalization.values import Column, escaped

    if call.arguments or call.named:
        return None
    text = call.value.text()
    return Column(series=text if call.value.is_markup else escaped(text), is_markup=True)


def safe_columns(call: FilterCall) -> "Value | None":
    from comms_pipeline.personalization.values import Column

    return None if call.arguments or call.named else Column(series=call.value.text(), is_markup=True)


def string_columns(call: FilterCall) -> "Value | None":
    from comms_pipeline.personalization.values import Column

    if call.arguments or call.named:
        return None
    return Column(series=call.value.text(), is_markup=call.value.is_markup)


def urlencode_columns(call: FilterCall) -> "Value | None":
    import polars as pl

    from comms_pipeline.personalization.values import map_each

    series = call.value.series
    if call.arguments or call.named or call.value.is_markup or series.dtype.is_nested():
        return None
    text = call.value.text()
    if text.str.contains(_URL_SAFE).all():
        return _text_result(text)
    return _text_result(map_each(text, jinja_filters.do_urlencode, pl.String))


def int_columns(call: FilterCall) -> "Value | None":
    import polars as pl

    from comms_pipeline.personalization.values import Column, map_each

    series = call.value.series
    if call.arguments or call.named or call.value.has_nulls or call.value.is_markup:
        return None
    if series.dtype.is_integer():
        return call.value
    if series.dtype not in (pl.String, pl.Float64):
        return None
    return Column(series=map_each(series, jinja_filters.do_int, pl.Int64))


def float_columns(call: FilterCall) -> "Value | None":
    import polars as pl

    from comms_pipeline.personalization.values import Column, map_each

    series = call.value.series
    if call.arguments or call.named or call.value.has_nulls or call.value.is_markup:
        return None
    if series.dtype == pl.Float64:
        return call.value
    if series.dtype.is_integer() or series.dtype == pl.String:
        return Column(series=map_each(series, jinja_filters.do_float, pl.Float64))
    return None


def abs_columns(call: FilterCall) -> "Value | None":
    import polars as pl

    from comms_pipeline.personalization.values import Column, as_int64

    series = call.value.series
    if call.arguments or call.named or call.value.has_nulls:
        return None
    if series.dtype.is_integer():
        whole = as_int64(series)
        return None if whole.min() == _MIN_INT64 else Column(series=whole.abs())
    return Column(series=series.abs()) if series.dtype == pl.Float64 else None


def fixed_point(pattern: object, value: "Column") -> "Value | None":
    """`pattern|format(value)` where the pattern holds one `%.Nf` and nothing else to fill in."""
    import polars as pl

    from comms_pipeline.personalization.values import Column, map_each

    dtype = value.series.dtype
    is_number = dtype == pl.Float64 or dtype.is_integer() or isinstance(dtype, pl.Decimal)
    if type(pattern) is not str or not _FIXED_POINT.fullmatch(pattern) or not is_number or value.has_nulls:
        return None
    return Column(series=map_each(value.series, lambda number: pattern % (number,), pl.String))


upper_columns = partial(_text_map, lambda text: text.str.to_uppercase(), str.upper)
lower_columns = partial(_text_map, lambda text: text.str.to_lowercase(), str.lower)
capitalize_columns = partial(
    _text_map,
    lambda text: text.str.slice(0, 1).str.to_uppercase() + text.str.slice(1).str.to_lowercase(),
    str.capitalize,
)

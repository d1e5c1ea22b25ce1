"""Every filter of the table against Jinja2's own output, on every kind of value and on None."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal

import polars as pl
import pytest

from comms_pipeline.personalization.environment import template_environment
from comms_pipeline.personalization.filters import FILTERS

_EXAMPLES = [example for forms in FILTERS.values() for example in forms.examples]
_VALUES = {
    "plain": pl.Series(["banana bread", "Ann", "a"]),
    "unicode": pl.Series(["straße ŉ", "ΟΔΟΣ", "👩‍👩‍👧 a", "אבג", "\x1ctab\t", "ǆ"]),
    "markup": pl.Series(["<b>a</b>", "a & b", "\"a'", "&amp;", "  a  b "]),
    "empty": pl.Series(["", "a"]),
    "digits": pl.Series(["12", "3.7", "1e3", "ff", "-1", "１２"]),
    "none": pl.Series(["a", None]),
    "nothing": pl.Series([None, None], dtype=pl.String),
    "whole": pl.Series([0, -7, 2**53 + 1, 2**62]),
    "least": pl.Series([-(2**63), 1]),
    "float": pl.Series([0.0, -0.0, 2.5, 1.25, -1e-7, 1e16, float("inf")]),
    "nan": pl.Series([float("nan"), 1.5]),
    "bool": pl.Series([True, False]),
    "amounts": pl.Series(["1234.50", "-.005", " 7 "]),
    "iso": pl.Series(["2026-01-31T23:30:00Z", "2026-07-31 18:30"]),
    "phones": pl.Series(["+4930123456", "<b>"]),
    "instant": pl.Series([datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]),
    "clock": pl.Series([time(18, 30), time(0, 0, 5)]),
    "date": pl.Series([date(2024, 2, 29), date(1, 1, 1)]),
    "decimal": pl.Series([Decimal("1.50"), Decimal("-0.07")]),
    "texts": pl.Series([["a", "<b>"], ["c"]]),
    "holes": pl.Series([["a", None], []]),
    "numbers": pl.Series([[1, 2], [3]]),
    "struct": pl.Series([{"a": 1}, {"a": 2}]),
}


@pytest.mark.parametrize("example", _EXAMPLES)
def test_filter_equals_jinja2_on_every_kind_of_value(law: Callable[..., object], example: str) -> None:
    rendered = [
        law(pl.DataFrame({"value": values}), html=f"<p>{{{{ {example} }}}}</p>", text=f"{{{{ {example} }}}}")
        for values in _VALUES.values()
    ]
    assert any(texts is not None for texts in rendered)


@pytest.mark.parametrize("example", _EXAMPLES)
def test_filter_of_a_missing_variable_fails_or_equals_jinja2(
    law: Callable[..., object], example: str
) -> None:
    frame = pl.DataFrame({"other": ["a"]})
    texts = law(frame, text=f"{{{{ {example} }}}}")
    assert texts is None or "default" in example or "d(" in example or example == "value|d"


def test_table_names_only_filters_the_environment_has() -> None:
    assert sorted(set(FILTERS) - set(template_environment(is_html=True).filters)) == []


def test_filters_that_make_messages_unrepeatable_are_gone() -> None:
    assert "random" not in template_environment(is_html=True).filters

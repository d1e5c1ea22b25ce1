"""The one table of filters: what each does in Python, and its exact column form where there is one.

A filter of Jinja2 that is not listed works too, in an opaque slot. A new filter is one entry: `python` or `localized`
makes it known to the environment, `columns` makes it fast, `examples` are put to the test against Jinja2's own output.
A `localized` filter needs no column form: it is called once for each distinct combination of its inputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from jinja2 import filters as jinja_filters

from comms_pipeline.personalization import filter_columns as forms
from comms_pipeline.personalization.locale_filters import (
    ArgumentCheck,
    LocaleFilters,
    check_phone_style,
    currency_code,
    moment_checks,
)
from comms_pipeline.personalization.locales import check_locale
from comms_pipeline.personalization.moments import Kind


@dataclass(frozen=True, kw_only=True)
class FilterForms:
    """Without `python` or `localized` the filter is Jinja2's own. `examples` are uses on a name `value`, for the tests;
    errors show the last.

    `localized` is a method of LocaleFilters; `checks` raise UnfitInput for arguments that a template writes out.
    """

    examples: tuple[str, ...]
    python: Callable[..., object] | None = None
    localized: Callable[..., str] | None = None
    columns: forms.ColumnForm | None = None
    checks: Mapping[str, ArgumentCheck] = field(default_factory=dict)

    def function(self, filters: LocaleFilters) -> Callable[..., object] | None:
        """What the environment of a part calls; None leaves Jinja2's own."""
        return self.python if self.localized is None else partial(self.localized, filters)


# `default` and `format` take columns as arguments; their column forms live with the expressions.
FILTERS: Mapping[str, FilterForms] = {
    "abs": FilterForms(examples=("value|abs",), columns=forms.abs_columns),
    "capitalize": FilterForms(examples=("value|capitalize",), columns=forms.capitalize_columns),
    "count": FilterForms(examples=("value|count",), columns=forms.length_columns),
    "currency": FilterForms(
        examples=("value|currency('EUR')", "value|currency('JPY', 'de')"),
        localized=LocaleFilters.currency,
        checks={"code": currency_code, "locale": check_locale},
    ),
    "d": FilterForms(examples=("value|d('x')", "value|d", "value|d('x', true)")),
    "date": FilterForms(
        examples=(
            "value|date",
            "value|date('full', 'he')",
            "value|date('EEEE, d MMMM y', zone='Asia/Tokyo')",
        ),
        localized=LocaleFilters.date,
        checks=moment_checks(Kind.DATE),
    ),
    "datetime": FilterForms(
        examples=(
            "value|datetime",
            "value|datetime('y HH:mm z')",
            "value|datetime('long', 'de', zone='Asia/Tokyo')",
        ),
        localized=LocaleFilters.datetime,
        checks=moment_checks(Kind.DATETIME),
    ),
    "default": FilterForms(
        examples=("value|default('x')", "value|default('x', true)", "value|default(1, true)")
    ),
    "e": FilterForms(examples=("value|e", "value|e|e"), columns=forms.escape_columns),
    "escape": FilterForms(examples=("value|escape", "value|safe|escape"), columns=forms.escape_columns),
    "first": FilterForms(examples=("value|first",), columns=partial(forms.edge_columns, 0)),
    "float": FilterForms(examples=("value|float", "value|float(2.5)"), columns=forms.float_columns),
    "format": FilterForms(examples=("'%.2f'|format(value)", "'%s!'|format(value)", "'%5.1f'|format(value)")),
    "int": FilterForms(
        examples=("value|int", "value|int(3)", "value|int(base=16)"), columns=forms.int_columns
    ),
    "join": FilterForms(
        examples=("value|join", "value|join(', ')", "value|join('<')"), columns=forms.join_columns
    ),
    "last": FilterForms(examples=("value|last",), columns=partial(forms.edge_columns, -1)),
    "length": FilterForms(examples=("value|length",), columns=forms.length_columns),
    "lower": FilterForms(examples=("value|lower",), columns=forms.lower_columns),
    "lowercase": FilterForms(
        examples=("value|lowercase",), python=jinja_filters.do_lower, columns=forms.lower_columns
    ),
    "phone": FilterForms(
        examples=("value|phone", "value|phone('international')"),
        localized=LocaleFilters.phone,
        checks={"style": check_phone_style},
    ),
    "replace": FilterForms(
        examples=("value|replace('a', '$1<')", "value|replace('a', 'b', 1)", "value|replace('', '-')"),
        columns=forms.replace_columns,
    ),
    "round": FilterForms(
        examples=("value|round", "value|round(1)", "value|round(1, 'floor')"), columns=forms.round_columns
    ),
    "safe": FilterForms(examples=("value|safe",), columns=forms.safe_columns),
    "string": FilterForms(examples=("value|string",), columns=forms.string_columns),
    "striptags": FilterForms(examples=("value|striptags",)),
    "time": FilterForms(
        examples=("value|time", "value|time('H', 'ar')", "value|time('short', 'de', zone='Asia/Tokyo')"),
        localized=LocaleFilters.time,
        checks=moment_checks(Kind.TIME),
    ),
    "title": FilterForms(examples=("value|title",), columns=forms.title_columns),
    "trim": FilterForms(
        examples=("value|trim", "value|trim('a ')", "value|trim(chars='')"), columns=forms.trim_columns
    ),
    "truncate": FilterForms(
        examples=("value|truncate(5)", "value|truncate(4, true, '…', 0)", "value|truncate(9, leeway=0)"),
        columns=forms.truncate_columns,
    ),
    "upper": FilterForms(examples=("value|upper",), columns=forms.upper_columns),
    "uppercase": FilterForms(
        examples=("value|uppercase",), python=jinja_filters.do_upper, columns=forms.upper_columns
    ),
    "urlencode": FilterForms(examples=("value|urlencode",), columns=forms.urlencode_columns),
}

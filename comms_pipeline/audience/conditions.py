"""Conditions on contact fields and lists → boolean SQL. Every value and path goes in as a parameter, never as text."""

from dataclasses import dataclass

from comms_pipeline.audience.behaviour import QUERIES
from comms_pipeline.audience.scope import Scope
from comms_pipeline.domain.behaviour import OnList
from comms_pipeline.domain.segment import CONTACT_FIELDS, Comparison, Operator, Scalar, Value
from comms_pipeline.sqlfiles import named_queries

_SIGNS = {
    Operator.EQ: "=",
    Operator.NE: "=",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
}
_NEGATIVE = frozenset({Operator.NE, Operator.NOT_IN, Operator.IS_NOT_SET})


@dataclass(frozen=True, kw_only=True)
class _Field:
    """A field as SQL: its text, and for an attribute the place in the JSON it comes from."""

    text: str
    path: str | None = None


def comparison_sql(condition: Comparison, parameters: Scope) -> str:
    """A boolean expression over `core.contacts` that is never null, so that `not` is a true complement."""
    positive = f"coalesce({_positive(condition, parameters)}, false)"
    return f"(not {positive})" if condition.op in _NEGATIVE else positive


def list_sql(condition: OnList, parameters: Scope) -> str:
    """Whether a contact is on a list; never null."""
    name = f"{parameters.add(condition.list)}::varchar"
    queries = named_queries(QUERIES)
    may_hold = queries["may_hold"].format(value=name)
    return f"coalesce({queries['on_list'].format(name=name, may_hold=may_hold)}, false)"


def _positive(condition: Comparison, parameters: Scope) -> str:
    """The comparison, of a negative operator its opposite; null where the contact lacks the field."""
    column = _field(condition.field, parameters)
    if condition.op in {Operator.IS_SET, Operator.IS_NOT_SET}:
        return f"nullif(trim({column.text}), '') is not null"
    values, cast = _alike(condition.value)
    typed = _typed(column.text, cast)
    if condition.op in {Operator.IN, Operator.NOT_IN}:
        return f"list_contains({parameters.add(values)}::{cast}[], {typed})"
    names = [f"{parameters.add(value)}::{cast}" for value in values]
    match condition.op:
        case Operator.BETWEEN:
            return f"{typed} between {names[0]} and {names[1]}"
        case Operator.STARTS_WITH:
            return f"starts_with({typed}, {names[0]})"
        case Operator.CONTAINS if column.path is None:
            return f"contains({typed}, {names[0]})"
        case Operator.CONTAINS:
            element = f"json_contains(json_extract(attributes, {column.path}), to_json({names[0]}))"
            is_list = f"json_type(attributes, {column.path}) = 'ARRAY'"
            return f"case when {is_list} then {element} else contains({typed}, {names[0]}) end"
    compared = f"{typed} {_SIGNS[condition.op]} {names[0]}"
    if column.path is not None and _stands_as_it_is(condition, values[0]):
        return f"({named_queries(QUERIES)['may_hold'].format(value=names[0])} and {compared})"
    return compared


def _stands_as_it_is(condition: Comparison, value: Scalar) -> bool:
    """Whether JSON that holds the value has it word by word or has a backslash: so it is of words, not of numbers."""
    return condition.op in {Operator.EQ, Operator.NE} and isinstance(value, str) and value[:1].isalpha()


def _field(name: str, parameters: Scope) -> _Field:
    if name in CONTACT_FIELDS:
        return _Field(text=name)
    # A JSON pointer; field names hold neither '/' nor '~', so nothing needs escaping.
    path = f"{parameters.add('/' + name.replace('.', '/'))}::varchar"
    return _Field(text=f"json_extract_string(attributes, {path})", path=path)


def _alike(value: Value) -> tuple[list[Scalar], str]:
    """The values, and the one type to compare as: numbers or booleans if all are, else text."""
    values: list[Scalar] = list(value) if isinstance(value, tuple) else [] if value is None else [value]
    if all(isinstance(each, bool) for each in values):
        return values, "boolean"
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in values):
        return [float(each) for each in values], "double"
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in values], "varchar"


def _typed(text: str, cast: str) -> str:
    if cast == "varchar":
        return text
    if cast == "boolean":
        return f"try_cast({text} as boolean)"
    # "nan" is how some tools write nothing, and DuckDB holds it to be the greatest number of all.
    return f"if(isfinite(try_cast({text} as double)), try_cast({text} as double), null)"

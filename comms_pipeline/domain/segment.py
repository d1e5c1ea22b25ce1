"""Who is meant: an audience's definition as people write it. Turning it into SQL is `audience`'s work."""

import re
from collections.abc import Mapping
from enum import StrEnum
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_serializer,
    field_validator,
)

from comms_pipeline.domain.behaviour import (
    Count,
    Happened,
    OfAudienceType,
    OnList,
    ScoreBetween,
    SegmentReference,
)
from comms_pipeline.domain.validation import KnownKeys, Strict, fault, keys_of

CONTACT_FIELDS = frozenset(
    {"email", "phone", "name", "language", "time_zone", "country", "region", "postcode", "external_id"}
)
"""Fields that are columns of a contact; every other field is an attribute."""

_FIELD_PATH = re.compile(r"\w[\w -]{0,62}(?:\.\w[\w -]{0,62}){0,7}")
# Above this a number column (a double) no longer tells neighbours apart.
_MAX_EXACT = 2**53
_MAX_TEXT, _MAX_LIST, _MAX_SQL = 1_000, 10_000, 100_000


class Operator(StrEnum):
    """How a field is compared."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    """Part of a text, or an element of a list."""
    STARTS_WITH = "starts_with"
    IS_SET = "is_set"
    """There, and not an empty text."""
    IS_NOT_SET = "is_not_set"
    BETWEEN = "between"
    """Both ends included."""


Scalar = str | int | float | bool
Value = Scalar | tuple[Scalar, ...] | None

WITHOUT_VALUE = frozenset({Operator.IS_SET, Operator.IS_NOT_SET})
WITH_LIST = frozenset({Operator.IN, Operator.NOT_IN})
WITH_TEXT = frozenset({Operator.CONTAINS, Operator.STARTS_WITH})
WITH_ORDER = frozenset({Operator.LT, Operator.LE, Operator.GT, Operator.GE})


def _field_path(value: str) -> str:
    if not _FIELD_PATH.fullmatch(value):
        raise fault(
            f"'{value[:80]}' is not a field name",
            "Use letters, digits, '_', '-' and blanks; a dot goes deeper",
        )
    return value


FieldPath = Annotated[str, AfterValidator(_field_path)]


class Comparison(Strict):
    """One condition on one field. A number compares numerically, everything else as text.

    A contact without the field meets only `ne`, `not_in` and `is_not_set`.
    """

    field: FieldPath
    op: Operator
    value: Value = Field(default=None, validate_default=True)

    @field_validator("value", mode="plain")
    @classmethod
    def _fits_the_operator(cls, value: object, info: ValidationInfo) -> Value:
        op = info.data.get("op")
        if op is None:  # reported already
            return None
        if op in WITHOUT_VALUE:
            if value is not None:
                raise fault(f"'{op}' takes no value", "Remove 'value'")
            return None
        if op in WITH_LIST or op is Operator.BETWEEN:
            return _list(op, value)
        scalar = _scalar(op, value)
        if op in WITH_TEXT and not (isinstance(scalar, str) and scalar):
            raise fault(f"'{op}' compares text", "Give a text; put quotes around a number")
        if op in WITH_ORDER and isinstance(scalar, bool):
            raise fault(f"'{op}' cannot order true and false", "Use 'eq'")
        return scalar

    @field_serializer("value")
    def _as_it_is(self, value: Value) -> Any:  # a union here would have pydantic warn of every list
        return value


def _list(op: Operator, value: object) -> tuple[Scalar, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise fault(f"'{op}' needs a list", "Write value: [one, two]")
    if len(value) > _MAX_LIST:
        raise fault(f"'{op}' takes at most {_MAX_LIST} values", "Select by an attribute or by SQL instead")
    items = tuple(_scalar(op, item) for item in value)
    if op is Operator.BETWEEN:
        if len(items) != 2 or len({_is_number(item) for item in items}) != 1 or bool in map(type, items):
            raise fault("'between' needs two numbers or two texts", "Write value: [lowest, highest]")
        if items[0] > items[1]:  # type: ignore[operator]  # both are numbers or both are texts
            raise fault("the first end of 'between' is above the second", "Swap them")
    return items


def _scalar(op: Operator, value: object) -> Scalar:
    match value:
        case None:
            raise fault(f"'{op}' needs a value", "Add 'value:', or ask with is_set or is_not_set")
        case bool():
            return value
        case str() if len(value) <= _MAX_TEXT and "\x00" not in value:
            return value
        case str():
            raise fault("the text is too long or holds a NUL", f"Use at most {_MAX_TEXT} characters")
        case int() | float() if isfinite(value) and abs(value) <= _MAX_EXACT:
            return value
        case int() | float():
            raise fault(
                "the number is too large to compare exactly", "Put quotes around it to compare it as text"
            )
    raise fault(f"'{op}' needs a single value", "Give a text, a number, true or false")


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _some(conditions: tuple[object, ...]) -> tuple[object, ...]:
    if not conditions:
        raise fault("the list of conditions is empty", "Add a condition, or write everyone: true")
    return conditions


class Everyone(Strict):
    """Every contact of the organisation."""

    everyone: Literal[True]


class Sql(Strict):
    """One SELECT with a `contact_id` column, fenced to the organisation."""

    sql: Annotated[str, Field(min_length=1, max_length=_MAX_SQL)]


class AllOf(Strict):
    """Every condition holds."""

    all: Annotated[tuple["Condition", ...], AfterValidator(_some)]


class AnyOf(Strict):
    """At least one condition holds."""

    any: Annotated[tuple["Condition", ...], AfterValidator(_some)]


class Not(Strict):
    """The condition does not hold; together with the condition itself it makes everyone."""

    condition: "Condition" = Field(alias="not")


_NESTING: Mapping[str, type[Strict]] = {
    "all": AllOf,
    "any": AnyOf,
    "not": Not,
    "event": Happened,
    "score": ScoreBetween,
    "audience_type": OfAudienceType,
    "list": OnList,
    "segment": SegmentReference,
}
_OUTERMOST: Mapping[str, type[Strict]] = {"everyone": Everyone, "sql": Sql, **_NESTING}


def _kind(value: object, by_key: Mapping[str, type[Strict]]) -> str:
    if isinstance(value, BaseModel):
        return type(value).__name__
    keys = value if isinstance(value, Mapping) else ()
    return next((model.__name__ for key, model in by_key.items() if key in keys), Comparison.__name__)


Condition = Annotated[
    Annotated[AllOf, Tag("AllOf")]
    | Annotated[AnyOf, Tag("AnyOf")]
    | Annotated[Not, Tag("Not")]
    | Annotated[Happened, Tag("Happened")]
    | Annotated[ScoreBetween, Tag("ScoreBetween")]
    | Annotated[OfAudienceType, Tag("OfAudienceType")]
    | Annotated[OnList, Tag("OnList")]
    | Annotated[SegmentReference, Tag("SegmentReference")]
    | Annotated[Comparison, Tag("Comparison")],
    Discriminator(lambda value: _kind(value, _NESTING)),
]

Audience = Annotated[
    Annotated[Everyone, Tag("Everyone")]
    | Annotated[Sql, Tag("Sql")]
    | Annotated[AllOf, Tag("AllOf")]
    | Annotated[AnyOf, Tag("AnyOf")]
    | Annotated[Not, Tag("Not")]
    | Annotated[Happened, Tag("Happened")]
    | Annotated[ScoreBetween, Tag("ScoreBetween")]
    | Annotated[OfAudienceType, Tag("OfAudienceType")]
    | Annotated[OnList, Tag("OnList")]
    | Annotated[SegmentReference, Tag("SegmentReference")]
    | Annotated[Comparison, Tag("Comparison")],
    Discriminator(lambda value: _kind(value, _OUTERMOST)),
]

for _model in (AllOf, AnyOf, Not):
    _model.model_rebuild()

SEGMENT_KEYS: KnownKeys = {
    **{model.__name__: keys_of(model) for model in _OUTERMOST.values()},
    Comparison.__name__: keys_of(Comparison) | frozenset(_NESTING),
    "count": keys_of(Count),
    "audience": keys_of(Comparison) | frozenset(_OUTERMOST),
}
"""For `validation.faults`, by union tag."""

import pytest
from pydantic import TypeAdapter, ValidationError

from comms_pipeline.domain.segment import (
    SEGMENT_KEYS,
    AllOf,
    Audience,
    Comparison,
    Everyone,
    Not,
    Operator,
    Sql,
)
from comms_pipeline.domain.validation import faults

AUDIENCE: TypeAdapter[Audience] = TypeAdapter(Audience)


def first_problem(definition: object) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        AUDIENCE.validate_python(definition)
    fault = faults(caught.value, SEGMENT_KEYS | {"": frozenset()})[0]
    return fault.problem, fault.fix


def test_conditions_nest():
    definition = {"all": [{"field": "a", "op": "eq", "value": 1}, {"not": {"field": "b.c", "op": "is_set"}}]}

    assert AUDIENCE.validate_python(definition) == AllOf(
        all=(
            Comparison(field="a", op=Operator.EQ, value=1),
            Not.model_validate({"not": Comparison(field="b.c", op=Operator.IS_SET)}),
        )
    )


def test_an_audience_is_everyone_or_sql_or_one_condition():
    assert AUDIENCE.validate_python({"everyone": True}) == Everyone(everyone=True)
    assert AUDIENCE.validate_python({"sql": "select 1"}) == Sql(sql="select 1")
    assert AUDIENCE.validate_python({"field": "a", "op": "is_set"}) == Comparison(
        field="a", op=Operator.IS_SET
    )


def test_json_gives_the_same_definition_back():
    definition = {"any": [{"not": {"field": "a", "op": "in", "value": ["x", 2, True]}}]}
    audience = AUDIENCE.validate_python(definition)

    assert AUDIENCE.validate_python(AUDIENCE.dump_python(audience, mode="json", by_alias=True)) == audience


@pytest.mark.parametrize(
    ("definition", "problem", "fix"),
    [
        ({"al": []}, "unknown key 'al'", "Did you mean 'all'?"),
        ({"all": []}, "the list of conditions is empty", "Add a condition, or write everyone: true"),
        ({"all": {"a": 1}}, "'all' must be a list", "Write [one, two] or lines that start with '-'"),
        ({"all": [3]}, "'all' must hold keys and values", "Write 'key: value' lines under it"),
        (
            {"all": [{"sql": "x"}]},
            "unknown key 'sql'",
            "Use one of: all, any, audience_type, event, field, list, not, op, score, segment, value",
        ),
        ({"everyone": False}, "'False' is not a value of 'everyone'", "Use one of: true"),
        ({"field": "a", "opp": "eq"}, "unknown key 'opp'", "Did you mean 'op'?"),
        ({"field": "a", "op": "isset"}, "'isset' is not a value of 'op'", "Did you mean 'is_set'?"),
        (
            {"field": "a/b", "op": "is_set"},
            "'a/b' is not a field name",
            "Use letters, digits, '_', '-' and blanks; a dot goes deeper",
        ),
        ({"field": "a", "op": "is_set", "value": 1}, "'is_set' takes no value", "Remove 'value'"),
        (
            {"field": "a", "op": "eq"},
            "'eq' needs a value",
            "Add 'value:', or ask with is_set or is_not_set",
        ),
        ({"field": "a", "op": "in", "value": "x"}, "'in' needs a list", "Write value: [one, two]"),
        ({"field": "a", "op": "in", "value": []}, "'in' needs a list", "Write value: [one, two]"),
        ({"field": "a", "op": "lt", "value": True}, "'lt' cannot order true and false", "Use 'eq'"),
        (
            {"field": "a", "op": "contains", "value": 5},
            "'contains' compares text",
            "Give a text; put quotes around a number",
        ),
        (
            {"field": "a", "op": "between", "value": [1, "x"]},
            "'between' needs two numbers or two texts",
            "Write value: [lowest, highest]",
        ),
        (
            {"field": "a", "op": "between", "value": [2, 1]},
            "the first end of 'between' is above the second",
            "Swap them",
        ),
        (
            {"field": "a", "op": "eq", "value": 2**60},
            "the number is too large to compare exactly",
            "Put quotes around it to compare it as text",
        ),
        (
            {"field": "a", "op": "eq", "value": {"x": 1}},
            "'eq' needs a single value",
            "Give a text, a number, true or false",
        ),
    ],
)
def test_faults_say_what_to_do(definition, problem, fix):
    assert first_problem(definition) == (problem, fix)

"""Attribute conditions, run on a real DuckDB."""

import json
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from comms_pipeline.audience.definition import check_fields, compile_audience
from comms_pipeline.domain.errors import InvalidSegment
from comms_pipeline.domain.segment import CONTACT_FIELDS, Audience

AUDIENCE: TypeAdapter[Audience] = TypeAdapter(Audience)

CONTACTS = {
    "ada": {
        "rsvp": "confirmed",
        "score": 0.9,
        "tags": ["vip", "speaker"],
        "plus_one": True,
        "home": {"city": "Rome"},
    },
    "bob": {"rsvp": "pending", "score": "12.5", "tags": "vip, local", "plus_one": "no"},
    "cat": {"rsvp": "", "score": "nan", "tags": [], "plus_one": "yes"},
    "dan": {"rsvp": None, "score": 10, "odd ' name": "x"},
}


@pytest.fixture(scope="module")
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("create schema core")
        texts = ("contact_id", "organisation_id", *sorted(CONTACT_FIELDS), "attributes")
        columns = ", ".join(f"{name} varchar" for name in texts)
        connection.execute(f"create table core.contacts ({columns}, is_erased boolean)")
        for name, attributes in CONTACTS.items():
            connection.execute(
                "insert into core.contacts by name select $1 as contact_id, 'ours' as organisation_id,"
                " $1 || '@inbox.example' as email, if($1 = 'ada', 'en', null) as language, $2 as attributes,"
                " false as is_erased",
                [name, json.dumps(attributes)],
            )
        connection.execute(
            "insert into core.contacts by name select *"
            " replace ('x-' || contact_id as contact_id, 'theirs' as organisation_id) from core.contacts"
        )
        connection.execute(
            "insert into core.contacts by name select * replace ('erased' as contact_id, true as is_erased)"
            " from core.contacts where contact_id = 'ada'"
        )
        yield connection


def selected(lake: duckdb.DuckDBPyConnection, definition: object) -> list[str]:
    query = compile_audience(AUDIENCE.validate_python(definition), "ours")
    return sorted(row[0] for row in lake.execute(query.sql, query.parameters).fetchall())


@pytest.mark.parametrize(
    ("field", "op", "value", "expected"),
    [
        ("rsvp", "eq", "confirmed", ["ada"]),
        ("rsvp", "ne", "confirmed", ["bob", "cat", "dan"]),
        ("rsvp", "in", ["confirmed", "pending"], ["ada", "bob"]),
        ("rsvp", "not_in", ["confirmed", "pending"], ["cat", "dan"]),
        ("rsvp", "is_set", None, ["ada", "bob"]),
        ("rsvp", "is_not_set", None, ["cat", "dan"]),
        ("rsvp", "starts_with", "conf", ["ada"]),
        ("rsvp", "contains", "end", ["bob"]),
        ("rsvp", "between", ["a", "d"], ["ada"]),
        ("score", "gt", 9, ["bob", "dan"]),
        ("score", "ge", 10, ["bob", "dan"]),
        ("score", "lt", 10, ["ada"]),
        ("score", "le", 10.0, ["ada", "dan"]),
        ("score", "eq", 12.5, ["bob"]),
        ("score", "between", [10, 13], ["bob", "dan"]),
        ("score", "in", [10, 0.9], ["ada", "dan"]),
        ("score", "ne", 10, ["ada", "bob", "cat"]),
        ("tags", "contains", "vip", ["ada", "bob"]),
        ("tags", "contains", "speak", []),
        ("plus_one", "eq", True, ["ada", "cat"]),
        ("plus_one", "eq", False, ["bob"]),
        ("plus_one", "in", ["no", True], ["ada", "bob"]),
        ("home.city", "eq", "Rome", ["ada"]),
        ("language", "eq", "en", ["ada"]),
        ("email", "contains", "b@", ["bob"]),
        ("nowhere", "is_not_set", None, ["ada", "bob", "cat", "dan"]),
    ],
)
def test_a_comparison_finds_contacts_of_its_organisation_only(lake, field, op, value, expected):
    assert selected(lake, {"field": field, "op": op, "value": value}) == expected


words = st.text(min_size=1, max_size=8).filter(lambda text: text[0].isalpha() and "\x00" not in text)


@given(word=words, is_ascii=st.booleans())
def test_a_word_is_found_however_json_writes_it(lake, word, is_ascii):
    written = json.dumps({"home": {"city": word}}, ensure_ascii=is_ascii)
    lake.execute(
        "insert into core.contacts by name select 'eve' as contact_id, 'ours' as organisation_id, $1 as attributes, "
        "false as is_erased",
        [written],
    )
    try:
        found = selected(lake, {"field": "home.city", "op": "eq", "value": word})
        others = selected(lake, {"field": "home.city", "op": "ne", "value": word})
    finally:
        lake.execute("delete from core.contacts where contact_id = 'eve'")
    assert "eve" in found
    assert sorted(found + others) == ["ada", "bob", "cat", "dan", "eve"]


def test_everyone_is_every_contact_that_is_not_erased(lake):
    assert selected(lake, {"everyone": True}) == ["ada", "bob", "cat", "dan"]


def test_conditions_combine(lake):
    definition = {
        "any": [
            {"all": [{"field": "score", "op": "gt", "value": 5}, {"field": "tags", "op": "is_set"}]},
            {"not": {"field": "plus_one", "op": "is_set"}},
        ]
    }

    assert selected(lake, definition) == ["bob", "dan"]


values = st.one_of(
    st.text(max_size=20).filter(lambda text: "\x00" not in text), st.booleans(), st.integers(-99, 99)
)
fields = st.sampled_from(["rsvp", "score", "tags", "plus_one", "home.city", "email", "postcode", "nowhere"])
comparisons = st.one_of(
    st.fixed_dictionaries({"field": fields, "op": st.sampled_from(["eq", "ne"]), "value": values}),
    st.fixed_dictionaries(
        {
            "field": fields,
            "op": st.sampled_from(["in", "not_in"]),
            "value": st.lists(values, min_size=1, max_size=3),
        }
    ),
    st.fixed_dictionaries({"field": fields, "op": st.sampled_from(["is_set", "is_not_set"])}),
)


@given(condition=comparisons)
def test_not_is_the_complement_whatever_the_value(lake, condition):
    chosen = selected(lake, condition)
    others = selected(lake, {"not": condition})

    assert sorted(chosen + others) == ["ada", "bob", "cat", "dan"]


@pytest.mark.parametrize(
    "value", ["' or 1=1 --", "$organisation", "%", '"', "\\", "'); drop table core.contacts; --"]
)
def test_values_are_never_sql(lake, value):
    assert selected(lake, {"field": "rsvp", "op": "eq", "value": value}) == []


def test_no_value_and_no_path_is_in_the_text_of_the_query():
    query = compile_audience(
        AUDIENCE.validate_python({"field": "odd name.x", "op": "eq", "value": "secret"}), "lakeside"
    )

    assert query.parameters == {"organisation": "lakeside", "p1": "/odd name/x", "p2": "secret"}
    assert not any(text in query.sql for text in ("odd name", "secret", "lakeside"))


def test_unknown_fields_are_named_with_the_nearest_known_one():
    definition = AUDIENCE.validate_python({"not": {"any": [{"field": "rsvp_statsu", "op": "is_set"}]}})

    with pytest.raises(InvalidSegment) as caught:
        check_fields(definition, {"rsvp_status", "plus_one"})

    assert str(caught.value) == "audience: no contact has a field 'rsvp_statsu'. Did you mean 'rsvp_status'?"


@pytest.mark.parametrize(
    "definition",
    [
        {"field": "email", "op": "is_set"},
        {"field": "plus_one", "op": "is_set"},
        {"field": "home.city", "op": "is_set"},
        {"sql": "select nothing from nowhere"},
        {"everyone": True},
    ],
)
def test_columns_attributes_and_what_lies_below_them_are_known(definition):
    assert check_fields(AUDIENCE.validate_python(definition), {"plus_one", "home"}) is None

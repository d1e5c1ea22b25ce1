"""What templates read of contacts: types, gaps, fallbacks, and how much of it there is."""

import duckdb
import orjson
import polars as pl
import pytest

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.variables import attribute_kinds, contact_values, coverage, template_frame

FIELDS = ("email", "phone", "name", "language", "time_zone", "country", "region", "postcode", "external_id")


def lake(*attributes: dict[str, object], **fields: str) -> duckdb.DuckDBPyConnection:
    """A lake with one contact, c0 …, for each of `attributes`."""
    connection = duckdb.connect()
    columns = ", ".join(f"{field} varchar" for field in FIELDS)
    connection.execute(
        "create schema core; create table core.contacts "
        f"(contact_id varchar, organisation_id varchar, is_erased boolean, attributes varchar, {columns})"
    )
    for number, each in enumerate(attributes):
        row = {"contact_id": f"c{number}", "organisation_id": "lakeside", "is_erased": False, **fields}
        row["attributes"] = orjson.dumps(each).decode()
        names, marks = ", ".join(row), ", ".join(f"${name}" for name in row)
        connection.execute(f"insert into core.contacts ({names}) values ({marks})", row)
    return connection


def values_of(
    connection: duckdb.DuckDBPyConnection, *names: str, contacts: tuple[str, ...] = ("c0", "c1")
) -> pl.DataFrame:
    kinds = attribute_kinds(connection, "lakeside")
    return contact_values(connection, pl.Series("contact_id", contacts, dtype=pl.String), kinds, names)


def framed(values: pl.DataFrame, context: SendContext, *names: str) -> pl.DataFrame:
    return template_frame(values, context, names, language="de-at")


@pytest.mark.parametrize(
    ("first", "second", "values"),
    [
        (1, 2, [1, 2]),
        (1, -2, [1, -2]),
        (1, 2.5, [1.0, 2.5]),
        (True, False, [True, False]),
        ("a", "", ["a", ""]),
        ("1", "2", ["1", "2"]),
        # Mixed kinds are read as text.
        (1, "a", ["1", "a"]),
        (True, "yes", ["true", "yes"]),
        ({"b": 1}, {"b": 2}, [{"b": 1}, {"b": 2}]),
        ({"b": 1}, {"c": "x"}, [{"b": 1, "c": None}, {"b": None, "c": "x"}]),
        ({"b": -1}, {"b": 2}, [{"b": -1}, {"b": 2}]),
        ({"b": 1}, 5, ['{"b":1}', "5"]),
        (["a"], [], [["a"], []]),
        ([1], ["a"], [["1"], ["a"]]),
        (None, 1, [None, 1]),
        (None, None, [None, None]),
    ],
)
def test_an_attribute_is_read_as_what_all_contacts_have_there(first, second, values):
    with lake({"x": first}, {"x": second}) as connection:
        assert values_of(connection, "x")["x"].to_list() == values


def test_whole_numbers_of_either_sign_are_integers():
    with lake({"balance": 5, "account": {"due": 7}}, {"balance": -3, "account": {"due": -1}}) as connection:
        found = values_of(connection, "balance", "account")

    assert found["balance"].dtype == pl.Int64
    assert found["account"].dtype == pl.Struct({"due": pl.Int64})


def test_an_attribute_is_the_same_kind_for_every_slice_of_contacts():
    with lake({"x": 1}, {"x": "many"}, {}) as connection:
        assert values_of(connection, "x", contacts=("c0",))["x"].to_list() == ["1"]
        assert values_of(connection, "x", contacts=("c2",))["x"].to_list() == [None]


def test_the_kinds_of_other_organisations_and_of_the_erased_do_not_count():
    with lake({"x": 1}, {"x": "theirs"}, {"x": "erased"}) as connection:
        connection.execute("update core.contacts set organisation_id = 'other' where contact_id = 'c1'")
        connection.execute("update core.contacts set is_erased = true where contact_id = 'c2'")

        assert attribute_kinds(connection, "lakeside") == {"x": "UBIGINT"}


def test_only_attributes_that_are_asked_for_and_somebody_has_become_columns():
    with lake({"x": 1, "y": 2}, {}) as connection:
        found = values_of(connection, "x", "z")

    assert set(found.columns) == {"contact_id", *FIELDS, "x"}
    assert found["x"].to_list() == [1, None]


@pytest.mark.parametrize("attributes", [[{}, {}], []])
def test_contacts_without_attributes_have_their_fields_only(attributes):
    with lake(*attributes) as connection:
        found = values_of(connection, "x", contacts=("c0", "c1")[: len(attributes)])

    assert set(found.columns) == {"contact_id", *FIELDS}
    assert found.height == len(attributes)


def test_a_field_hides_the_attribute_of_its_name():
    with lake({"name": 5, "contact_id": "x"}, {}, name="Ada") as connection:
        found = values_of(connection, "name", "contact_id")

    assert found["name"].to_list() == ["Ada", "Ada"]
    assert found["contact_id"].to_list() == ["c0", "c1"]


def test_values_come_in_the_order_of_the_contacts_and_none_for_the_unknown():
    with lake({"x": 1}, {"x": 2}) as connection:
        found = values_of(connection, "x", contacts=("c1", "gone", "c0"))

    assert found.select("contact_id", "x").rows() == [("c1", 2), ("gone", None), ("c0", 1)]


@pytest.mark.parametrize(
    ("column", "fallback", "filled"),
    [
        (pl.Series(["Ada", "", None]), "friend", ["Ada", "friend", "friend"]),
        (pl.Series(["Ada", "", None]), "", ["Ada", "", ""]),
        (pl.Series(["Ada", None]), 5, ["Ada", "5"]),
        (pl.Series([1, None]), 0, [1, 0]),
        (pl.Series([1.5, None]), 0, [1.5, 0.0]),
        (pl.Series([1, None]), "some", ["1", "some"]),
        (pl.Series([True, None]), False, [True, False]),
        (pl.Series([None, None], dtype=pl.String), "friend", ["friend", "friend"]),
    ],
)
def test_a_fallback_stands_in_for_null_and_for_empty_text(context, column, fallback, filled):
    frame = framed(pl.DataFrame({"x": column}), context(fallbacks={"x": fallback}), "x")

    assert frame["x"].to_list() == filled


@pytest.mark.parametrize(
    ("column", "fallback"),
    [
        # As text, "false" would be true.
        (pl.Series([True, None]), ""),
        (pl.Series([True, None]), 2),
        (pl.Series([{"b": 1}, None]), "x"),
        (pl.Series([["a"], None]), "x"),
    ],
)
def test_a_fallback_of_another_kind_is_refused(context, column, fallback):
    with pytest.raises(TemplateError, match="campaign news: the fallback of 'x' does not fit"):
        framed(pl.DataFrame({"x": column}), context(fallbacks={"x": fallback}), "x")


def test_a_fallback_for_what_nobody_has_makes_the_column(context):
    frame = framed(
        pl.DataFrame({"contact_id": ["c0", "c1"]}), context(fallbacks={"x": "friend", "y.z": 1}), "x", "y"
    )

    assert frame.select("x", "y").rows() == [("friend", {"z": 1}), ("friend", {"z": 1})]


def test_a_fallback_reaches_into_nested_values(context):
    homes = [{"city": "Oslo", "zip": "1"}, {"city": "", "zip": "2"}, {"city": None, "zip": "3"}, None]
    values = pl.DataFrame({"home": homes})

    frame = framed(values, context(fallbacks={"home.city": "your town"}), "home")

    assert [row["city"] for row in frame["home"].to_list()] == ["Oslo", "your town", "your town", "your town"]
    assert [row["zip"] for row in frame["home"].to_list()] == ["1", "2", "3", None]


def test_provided_variables_are_there_when_they_are_read(context):
    values = pl.DataFrame({"contact_id": ["c0"]})
    provided = {"postal_address", "organisation_name", "sender_name", "campaign_id", "message_language"}

    frame = framed(values, context(), *provided)

    assert frame.row(0, named=True) == {
        "contact_id": "c0",
        "postal_address": "1 Harbor Lane",
        "organisation_name": "Lakeside Weddings",
        "sender_name": "Lakeside",
        "campaign_id": "news",
        "message_language": "de-at",
    }
    assert framed(values, context()).columns == ["contact_id"]


def test_coverage_is_the_share_of_contact_variables_with_a_value():
    values = pl.DataFrame({"name": ["Ada", None], "x": [1, None], "unread": [1, 1]})

    def shares(*variables: str) -> list[float]:
        return values.with_columns(share=coverage(values, variables))["share"].to_list()

    assert shares("name", "x", "missing", "unsubscribe_url") == [2 / 3, 0.0]
    assert shares("name") == [1.0, 0.0]
    assert shares("missing") == [0.0, 0.0]
    assert shares("unsubscribe_url", "sender_name") == [1.0, 1.0]
    assert shares() == [1.0, 1.0]

"""The fence: one scalar expression passes, everything else is refused before it runs."""

from collections.abc import Iterator

import duckdb
import pytest

from comms_pipeline.contacts.expressions import Fence
from comms_pipeline.domain.errors import InvalidContactFile


@pytest.fixture
def fence() -> Iterator[Fence]:
    with duckdb.connect() as connection:
        yield Fence.around(connection, ["name", "Amount", "First Name"])


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("'c' || row_number || '@shop.example'", {"row_number"}),
        ("split_part(name, ' ', 1)", {"name"}),
        ('"first name"', {"First Name"}),
        ("case when amount > 5 and name is not null then 'big' else lower(name) end", {"name", "Amount"}),
        ("try_cast(amount as integer) + 1", {"Amount"}),
        ("coalesce(nullif(trim(name), ''), 'friend') -- as we say", {"name"}),
        ("name in ('a', 'b') or name like 'x%' or amount between 1 and 2", {"name", "Amount"}),
        ("regexp_replace(name, '[^0-9]', '', 'g')", {"name"}),
        ("'a; select 1'", set()),
        ("strptime(name, '%d.%m.%Y')::date", {"name"}),
        ("{'a': amount, 'b': [name]}", {"name", "Amount"}),
    ],
)
def test_scalar_expressions_pass_with_the_columns_they_use(fence: Fence, sql: str, columns: set[str]) -> None:
    assert fence.check(sql, "map.yaml:4").columns == columns


@pytest.mark.parametrize(
    "sql",
    [
        "(select 1)",
        "exists (select 1)",
        "name, amount",
        "name as other",
        "name from other",
        "name from 'secrets.csv'",
        "name where true",
        "name limit 1",
        "distinct name",
        "name; drop table source",
        "name;",
        "name) from source; --",
        "1) + (2",
        "*",
        "columns('n.*')",
        "$1",
        "#1",
        "name union select 1",
        "sum(amount) over ()",
        "sum(amount)",
        "count(*)",
        "unnest([1, 2])",
        "generate_subscripts([1], 1)",
        "read_text('/etc/passwd')",
        "getenv('HOME')",
        "current_setting('temp_directory')",
        "current_database()",
        "random()",
        "now()",
        "error('x')",
        "system.lower(name)",
        "__internal_compress_string_ubigint(name)",
        "full",
        "list_transform([1], x -> x)",
        "name /* open",
        "",
    ],
)
def test_anything_else_is_refused_at_its_place(fence: Fence, sql: str) -> None:
    with pytest.raises(InvalidContactFile, match=r"^map\.yaml:4: "):
        fence.check(sql, "map.yaml:4")


def test_an_unknown_column_brings_the_nearest_one(fence: Fence) -> None:
    with pytest.raises(InvalidContactFile, match=r"no column 'nmae'.*Did you mean 'name'"):
        fence.check("upper(nmae)", "map.yaml:4")
    with pytest.raises(InvalidContactFile, match="no column 'source'"):
        fence.check("source.name", "map.yaml:4")
    with pytest.raises(InvalidContactFile, match="no column 'current_date'"):
        fence.check("current_date", "map.yaml:4")


def test_a_cast_is_told_from_other_expressions(fence: Fence) -> None:
    assert fence.check("cast(name as varchar)", "x").is_cast is True
    assert fence.check("lower(name)", "x").is_cast is False

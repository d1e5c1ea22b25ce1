"""The SQL under `warehouse/`: found by name, each name once, each with the parameters of its database."""

import re

import pytest

from comms_pipeline.sqlfiles import named_queries, warehouse_root

ROOT = warehouse_root()
FILES = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob("*.sql")
    if "-- name:" in path.read_text(encoding="utf-8")
)


def test_the_warehouse_lies_beside_the_package():
    assert (ROOT / "lake/schema.sql").is_file()
    assert (ROOT / "ledger/migrations/0001_ledger.sql").is_file()
    assert len(FILES) >= 9


def test_a_query_comes_without_its_name_and_without_a_semicolon():
    assert named_queries("ledger/queries/batches.sql")["contents"] == (
        "select content_id, body from content where content_id = any(%(content_ids)s)"
    )
    assert named_queries("lake/audience.sql")["own_contacts"] == (
        "select * from core.contacts where organisation_id = $organisation and not is_erased"
    )


def test_a_comment_under_the_name_stays_with_its_query():
    query = named_queries("lake/queries/planning.sql")["plannable"]

    assert query.startswith("-- The next slice of the audience")
    assert query.endswith("order by s.contact_id")


def test_an_unknown_file_is_an_error():
    with pytest.raises(FileNotFoundError):
        named_queries("lake/queries/nothing.sql")


@pytest.mark.parametrize("file", FILES)
def test_every_query_of_a_file_has_a_name_of_its_own_and_something_to_run(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    names = re.findall(r"^-- name:\s*(\S+)", text, re.MULTILINE)

    assert sorted(named_queries(file)) == sorted(names)
    for query in named_queries(file).values():
        lines = [line for line in query.splitlines() if not line.lstrip().startswith("--")]
        assert "".join(lines).strip()


@pytest.mark.parametrize("file", FILES)
def test_parameters_are_written_as_their_database_takes_them(file):
    for query in named_queries(file).values():
        statement = re.sub(r"--[^\n]*|'[^']*'", "", query)
        if file.startswith("ledger/"):
            assert not re.search(r"\$\w", statement)
            # psycopg reads every other % as a parameter, too. With b it sends bytes as they are, not twice as many.
            assert re.sub(r"%\(\w+\)[sb]", "", statement).count("%") == 0
        else:
            assert "%(" not in statement

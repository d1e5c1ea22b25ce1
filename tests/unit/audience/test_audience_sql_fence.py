"""SQL audiences: what the fence lets through, and that nothing else ever comes back."""

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from comms_pipeline.audience.definition import compile_audience, invalid_segment
from comms_pipeline.audience.functions import FUNCTIONS, OPERATORS
from comms_pipeline.audience.sql import fence
from comms_pipeline.domain.errors import InvalidSegment
from comms_pipeline.domain.segment import Sql


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Two organisations in an attached database, as the lake is: `use`d, with tables in `main` and `core`."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("attach ':memory:' as lake; use lake; create schema core; create schema raw")
        connection.execute(
            "create table core.contacts as select * from (values"
            " ('a', 'ours', 'a@inbox.example', 'en', '{\"level\": \"hot\"}', false, now()),"
            " ('b', 'ours', 'b@inbox.example', null, '{}', false, now()),"
            " ('gone', 'ours', null, null, '{}', true, now()),"
            " ('x', 'theirs', 'x@inbox.example', 'en', '{\"level\": \"hot\"}', false, now())"
            ") as t (contact_id, organisation_id, email, language, attributes, is_erased, created_at)"
        )
        connection.execute(
            "create table core.events as select * from (values"
            " ('a', 'opened', 'ours'), ('x', 'clicked', 'theirs')) as t (contact_id, kind, organisation_id)"
        )
        for name in ("message_status", "conversions", "business_events", "contact_scores"):
            connection.execute(
                f"create table core.{name} as select * from (values ('a', 1), ('x', 9), ('gone', 5))"
                " as t (contact_id, amount)"
            )
        connection.execute("create table main.contacts as from core.contacts")
        connection.execute("create table main.cte_secret as select 'x' as contact_id")
        connection.execute("create table main.secret as select 'a' as contact_id")
        connection.execute("create table raw.secret as select 'a' as contact_id")
        yield connection


def selected(lake: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    query = compile_audience(Sql(sql=sql), "ours")
    return {row[0] for row in lake.execute(query.sql, query.parameters).fetchall()}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select contact_id from contacts", {"a", "b"}),
        ("from core.contacts;", {"a", "b"}),
        ('SELECT CONTACT_ID FROM "Contacts" -- everyone', {"a", "b"}),
        ("select contacts.contact_id from contacts where contacts.email like 'a%'", {"a"}),
        ("select contact_id from events where kind = 'opened'", {"a"}),
        ("select contact_id from events", {"a"}),
        ("select contact_id from contacts where contact_id not in (select contact_id from events)", {"b"}),
        ("select contact_id from contacts where (attributes ->> 'level') in ('hot')", {"a"}),
        (
            "with hot as (from contacts where attributes ->> 'level' = 'hot') select hot.contact_id from hot",
            {"a"},
        ),
        (
            "with p(id) as (select contact_id from contacts) select id as contact_id from p where id > 'a'",
            {"b"},
        ),
        ("select contact_id from contacts except select contact_id from events", {"b"}),
        (
            "select c.contact_id from contacts c left join events e using (contact_id) where e.kind is null",
            {"b"},
        ),
        ("select contact_id from contacts qualify row_number() over (order by contact_id) = 1", {"a"}),
        ("select contact_id from contacts where created_at > now() - interval 30 day", {"a", "b"}),
        ("select contact_id from contacts where list_contains(['a', 'z'], contact_id)", {"a"}),
        ("select u.contact_id from (select unnest(['a', 'x', 'nobody']) as contact_id) u", {"a"}),
        ("select contact_id from message_status where amount > 0", {"a"}),
        ("select 'b' as contact_id from conversions having sum(amount) = 1", {"b"}),
        ("select 'b' as contact_id from core.business_events having max(amount) > 1", set()),
        ("select s.contact_id from contact_scores s semi join message_status m using (contact_id)", {"a"}),
        ("values ('a')", None),
        ("select 'x' as contact_id", set()),
        ("select 'gone' as contact_id union all select 'b'", {"b"}),
        ("select contact_id from contacts where organisation_id = 'theirs'", set()),
        ("select max(contact_id) as contact_id from contacts", {"b"}),
    ],
)
def test_one_select_over_own_relations_runs(lake, sql, expected):
    if expected is None:
        with pytest.raises(duckdb.Error):
            selected(lake, sql)
    else:
        assert selected(lake, sql) == expected


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", "it is not exactly one SELECT"),
        ("select 1; select 2", "it is not exactly one SELECT"),
        ("drop table contacts", "it is not exactly one SELECT"),
        ("copy contacts to 'x.csv'", "it is not exactly one SELECT"),
        ("attach 'x.db'", "it is not exactly one SELECT"),
        ("pragma database_list", "it is not exactly one SELECT"),
        ("insert into contacts values (1) returning *", "it is not exactly one SELECT"),
        ("explain select 1", "it is not exactly one SELECT"),
        ("select * from secret", "'secret' is not a relation audiences may read"),
        ("select * from raw.secret", "'raw.secret' is not a relation audiences may read"),
        ("select * from main.contacts", "'main.contacts' is not a relation audiences may read"),
        ("select * from lake.core.contacts", "'core.contacts' is not a relation audiences may read"),
        ("select * from core.outcomes", "'core.outcomes' is not a relation audiences may read"),
        ("select * from own_contacts", "'own_contacts' is not a relation audiences may read"),
        ("select * from selected", "'selected' is not a relation audiences may read"),
        (
            "select * from information_schema.tables",
            "'information_schema.tables' is not a relation audiences may read",
        ),
        ("select * from duckdb_settings", "'duckdb_settings' is not a relation audiences may read"),
        ("select * from 'x.csv'", "'x.csv' is not a relation audiences may read"),
        ('select * from "https://x.example/a.parquet"', "'https://x.example/a.parquet' is not a relation"),
        ("select 1 limit (select count(*) from secret)", "'secret' is not a relation audiences may read"),
        ("select * from contacts at (version => 1)", "AT (time travel) is not allowed"),
        ("with contacts as (select 1) from contacts", "WITH redefines 'contacts'"),
        (
            "with recursive t as (select 1 union all from t) from t",
            "WITH RECURSIVE cannot be used in an audience",
        ),
        ("from read_csv('x')", "the table function 'read_csv' is not allowed"),
        ("from glob('*')", "the table function 'glob' is not allowed"),
        ("from query('select 1')", "the table function 'query' is not allowed"),
        ("from postgres_query('a', 'b')", "the table function 'postgres_query' is not allowed"),
        ("from range(1000000000)", "the table function 'range' is not allowed"),
        ("from generate_series(1, 1000000000)", "the table function 'generate_series' is not allowed"),
        ("select unnest(generate_series(1, 1000000000))", "the function 'generate_series' is not allowed"),
        ("select list_transform(range(1000000000), lambda x: x)", "the function 'range' is not allowed"),
        ("from read_parquet('/tmp/*.parquet')", "the table function 'read_parquet' is not allowed"),
        ("from read_text('/etc/passwd')", "the table function 'read_text' is not allowed"),
        ("select read_blob('/etc/passwd')", "the function 'read_blob' is not allowed"),
        ("from sniff_csv('x')", "the table function 'sniff_csv' is not allowed"),
        ("from parquet_metadata('x')", "the table function 'parquet_metadata' is not allowed"),
        ("from duckdb_secrets()", "the table function 'duckdb_secrets' is not allowed"),
        ("from duckdb_databases()", "the table function 'duckdb_databases' is not allowed"),
        ("from pragma_table_info('contacts')", "the table function 'pragma_table_info' is not allowed"),
        ("from ducklake_snapshots('lake')", "the table function 'ducklake_snapshots' is not allowed"),
        ("from query_table('core.outcomes')", "the table function 'query_table' is not allowed"),
        ("select * from pg_catalog.pg_tables", "'pg_catalog.pg_tables' is not a relation audiences may read"),
        ("select * from sqlite_master", "'sqlite_master' is not a relation audiences may read"),
        ("from __ducklake_metadata_lake.ducklake_table", "is not a relation audiences may read"),
        ("update contacts set email = ''", "it is not exactly one SELECT"),
        ("delete from contacts", "it is not exactly one SELECT"),
        ("truncate contacts", "it is not exactly one SELECT"),
        ("create table t as from contacts", "it is not exactly one SELECT"),
        ("merge into contacts using events on true when matched then delete", "it is not exactly one SELECT"),
        ("call lake.set_option('x', 1)", "it is not exactly one SELECT"),
        ("set memory_limit = '100GB'", "it is not exactly one SELECT"),
        ("load httpfs", "it is not exactly one SELECT"),
        ("install httpfs", "it is not exactly one SELECT"),
        ("use raw", "it is not exactly one SELECT"),
        ("begin; select 1", "it is not exactly one SELECT"),
        ("export database '/tmp/x'", "it is not exactly one SELECT"),
        ("with x as (delete from contacts returning *) from x", "audience sql"),
        (
            "with message_status as (select 'x' as contact_id) from message_status",
            "WITH redefines 'message_status'",
        ),
        (
            "with recursive t(n) as (select 1 union all select n + 1 from t) select contact_id from contacts, t",
            "WITH RECURSIVE cannot be used in an audience",
        ),
        (
            "select contact_id from (with recursive t(n) as (select 1 union all select n from t) from t)",
            "WITH RECURSIVE cannot be used in an audience",
        ),
        ("pivot contacts on language using count(*)", "it is not exactly one SELECT"),
        ("select pg_sleep(100)", "the function 'pg_sleep' is not allowed"),
        ("select nextval('s')", "the function 'nextval' is not allowed"),
        ("select txid_current()", "the function 'txid_current' is not allowed"),
        (
            "select getenv from contacts, lateral (select getenv('HOME')) t",
            "the function 'getenv' is not allowed",
        ),
        ("select getenv('HOME')", "the function 'getenv' is not allowed"),
        ("select GetEnv('HOME')", "the function 'getenv' is not allowed"),
        ("select current_setting('temp_directory')", "the function 'current_setting' is not allowed"),
        ("select getvariable('x')", "the function 'getvariable' is not allowed"),
        ("select random()", "the function 'random' is not allowed"),
        ("select repeat('x', 1000000000)", "the function 'repeat' is not allowed"),
        ("select raw.lower('x')", "the function 'lower' is not allowed"),
        ("select * replace (getenv('x') as email) from contacts", "the function 'getenv' is not allowed"),
        (
            "select count(*) filter (where getenv('x') = '') from contacts",
            "the function 'getenv' is not allowed",
        ),
        ("select 1 order by getenv('x')", "the function 'getenv' is not allowed"),
        (
            "select sum(1) over (partition by getenv('x')) from contacts",
            "the function 'getenv' is not allowed",
        ),
        ("select list_transform([1], y -> getenv('x'))", "the function 'getenv' is not allowed"),
        ("select $organisation", "parameters such as $1 or ? cannot be used in an audience"),
        ("select ?", "parameters such as $1 or ? cannot be used in an audience"),
        ("from (describe contacts)", "DESCRIBE, SHOW and SUMMARIZE cannot be used in an audience"),
        ("show tables", "DESCRIBE, SHOW and SUMMARIZE cannot be used in an audience"),
        ("select contact_id from contacts using sample 10%", "SAMPLE is not allowed"),
        ("select contact_id from contacts tablesample 10%", "SAMPLE is not allowed"),
        ("select contact_id\nfrom from contacts", 'audience sql line 2: syntax error at or near "from"'),
        ("select 'é',\n\n x y z", 'audience sql line 3: syntax error at or near "z"'),
        ("x" * 100_001, "the text is too long or holds a NUL"),
        ("select '\x00'", "the text is too long or holds a NUL"),
    ],
)
def test_everything_else_is_refused_by_name(sql, message):
    with pytest.raises(InvalidSegment) as caught:
        fence(sql)

    assert message in str(caught.value)


def test_a_name_of_the_statements_own_never_reaches_a_table_out_of_its_scope(lake):
    """`secret` is defined in a subquery only; outside of it the name must not mean the lake's table."""
    sql = "select contact_id from secret, (with secret as (select 1 as one) from secret) as t"

    assert selected(lake, sql) == set()
    assert isinstance(outcome(lake, sql.replace("secret", "raw_secret")), InvalidSegment)


@pytest.mark.parametrize(
    "sql", ["select contact_id", "select 1 as contact where true", "select email from contacts"]
)
def test_a_missing_contact_id_never_means_everyone(lake, sql):
    query = compile_audience(Sql(sql=sql), "ours")

    with pytest.raises(duckdb.Error) as caught:
        lake.execute(query.sql, query.parameters)

    assert isinstance(invalid_segment(caught.value), InvalidSegment)


def test_what_fails_when_run_names_the_column_and_never_a_value(lake):
    def failure(sql: str) -> str:
        query = compile_audience(Sql(sql=sql), "ours")
        with pytest.raises(duckdb.Error) as caught:
            lake.execute(query.sql, query.parameters).fetchall()
        return str(invalid_segment(caught.value))

    assert (
        failure("select email from contacts")
        == "audience sql: it has no contact_id column. Select contact_id"
    )
    assert '"emial" not found' in failure("select contact_id from contacts where emial = ''")
    message = failure("select contact_id from contacts where email::integer = 1")
    assert message.startswith("audience sql: it cannot be run (conversion error)")
    assert "inbox.example" not in message


def test_every_allowed_function_exists_and_has_no_side_effects():
    rows = duckdb.sql(
        "select function_name, bool_or(coalesce(stability = 'VOLATILE' or has_side_effects, false))"
        " from duckdb_functions() group by all"
    ).fetchall()

    assert (FUNCTIONS | OPERATORS) - {name for name, _ in rows} == set()
    assert (FUNCTIONS | OPERATORS) & {name for name, is_volatile in rows if is_volatile} == set()


def outcome(lake: duckdb.DuckDBPyConnection, sql: str) -> InvalidSegment | set[tuple[object, ...]]:
    try:
        query = compile_audience(Sql(sql=sql), "ours")
        return set(lake.execute(query.sql, query.parameters).fetchall())
    except InvalidSegment as error:
        return error
    except duckdb.Error as error:
        return invalid_segment(error)


WORDS = """
    select contact_id from contacts core . , ( ) * as with where union all except intersect join on using true
    events contact_scores organisation_id = 'x' 'theirs' 'ours' not in exists is_erased or and main lake raw
    secret own_contacts cte_secret selected $organisation lateral values semi anti natural limit 5 order by
    group having email ; -- /* */ cross unnest [ ] 'a.csv' read_csv getenv max distinct case when then else
    end null
"""
tokens = st.sampled_from(WORDS.split())
statements = st.one_of(
    st.text(max_size=60),
    st.lists(tokens, max_size=25).map(" ".join),
    st.builds("select {} from {} {}".format, tokens, tokens, st.lists(tokens, max_size=12).map(" ".join)),
    st.builds(
        "with secret as (select contact_id from {}) select contact_id from {} where {}".format,
        tokens,
        tokens,
        st.lists(tokens, min_size=1, max_size=8).map(" ".join),
    ),
)


@settings(max_examples=300, deadline=None)
@given(sql=statements)
@example(sql="select contact_id from contacts) as t union select contact_id from core.contacts --")
@example(sql="select 'x' as contact_id")
@example(sql="select contact_id")
@example(
    sql="select contact_id from (with own_contacts as (select 'x' as contact_id) select * from own_contacts)"
)
@example(sql="with selected as (select 'x' as contact_id) select * from selected")
@example(sql="with cte_secret as (select 1 as one) select contact_id from cte_secret")
@example(sql="select contact_id from contacts, lateral (select organisation_id from contacts)")
def test_whatever_the_text_only_own_contacts_come_back(lake, sql):
    result = outcome(lake, sql or " ")

    assert isinstance(result, InvalidSegment) or result <= {("a",), ("b",)}

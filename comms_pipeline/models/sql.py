"""What a model's SQL says, by sqlglot: which tables it reads, what a type is. Column by column is `lineage`'s."""

from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from comms_pipeline.models.header import InvalidModel, Model

DIALECT = "duckdb"


@cache
def reads(model: Model) -> frozenset[str]:
    """The tables ("schema.name") a model's rows are made of; its own, where it reads them, is not among them.

    Raises `InvalidModel` for SQL that is not one query.
    """
    if model.select is None:
        return frozenset(model.header.depends_on)
    queries = [query for query in (model.select, model.changed) if query]
    found = {table for query in queries for table in tables_in(parse(model, query))}
    return frozenset(found - {model.table})


def parse(model: Model, query: str) -> exp.Query:
    """One of the model's queries. Raises `InvalidModel`."""
    try:
        parsed = sqlglot.parse_one(query, dialect=DIALECT)
    except SqlglotError as error:
        problem = " ".join(str(error).partition("\n")[0].split())
        raise InvalidModel(model.file, f"its SQL cannot be parsed: {problem}", "Correct the SQL") from None
    if not isinstance(parsed, exp.Query):
        raise InvalidModel(model.file, "its SQL is not a SELECT", "Write one SELECT")
    return parsed


def tables_in(query: exp.Query) -> set[str]:
    """The tables with a schema that are read anywhere in it; common table expressions are seen through."""
    # A name with a schema never means a common table expression, one without is one or a temp table.
    return {f"{table.db}.{table.name}" for table in query.find_all(exp.Table) if table.db}


@cache
def spelled(kind: str) -> str:
    """One spelling for all names of a type: `int8`, `long` and `bigint` are BIGINT."""
    return str(exp.DataType.build(kind, dialect=DIALECT).sql(dialect=DIALECT, identify=True))

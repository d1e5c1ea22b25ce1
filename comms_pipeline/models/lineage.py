"""From which columns each column of a model is made, by sqlglot. Tables as a whole are `sql`'s."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node
from sqlglot.lineage import lineage as sqlglot_lineage

from comms_pipeline.models.base_tables import base_tables
from comms_pipeline.models.header import InvalidModel, Model
from comms_pipeline.models.registry import models
from comms_pipeline.models.sql import DIALECT, parse


@dataclass(frozen=True, kw_only=True, order=True)
class Source:
    """A column that another is made of."""

    table: str
    column: str


@cache
def lineage(model: Model) -> Mapping[str, tuple[Source, ...]]:
    """For each column of the model the columns whose values it is made of, through all views and subqueries.

    A column without any (constants, counts of rows) has an empty tuple; models computed in Python have no entries.
    Raises `InvalidModel` when a column is not known.
    """
    if model.select is None:
        return {}
    query = parse(model, model.select)
    _drop_filters(query)
    try:
        found = sqlglot_lineage(
            None, query, _schema(), dialect=DIALECT, validate_qualify_columns=True, copy=False
        )
    except SqlglotError as error:
        problem = " ".join(str(error).partition("\n")[0].split())
        raise InvalidModel(model.file, f"its SQL cannot be resolved: {problem}", "Correct the SQL") from None
    nodes = found if isinstance(found, dict) else {}
    return {name: _sources(nodes[name]) if name in nodes else () for name in model.header.columns}


def _drop_filters(query: exp.Query) -> None:
    """Take out semi and anti joins: no value comes of them, and sqlglot cannot resolve names through them."""
    for join in list(query.find_all(exp.Join)):
        if join.kind in ("SEMI", "ANTI") or join.side in ("SEMI", "ANTI"):
            join.pop()


def _schema() -> dict[str, dict[str, dict[str, str]]]:
    """The columns of every table there is, as sqlglot takes them: by schema, table and name."""
    found: dict[str, dict[str, dict[str, str]]] = {}

    def add(table: str, columns: Mapping[str, str]) -> None:
        layer, _, noun = table.partition(".")
        found.setdefault(layer, {})[noun] = dict(columns)

    for table, base in base_tables().items():
        add(table, {name: column.type for name, column in base.columns.items()})
    for table, other in models().items():
        add(table, {name: column.type for name, column in other.header.columns.items()})
    return found


def _sources(node: Node) -> tuple[Source, ...]:
    """The columns of tables at the ends of a column's tree."""
    found = set()
    for each in node.walk():
        table = each.source if not each.downstream else None
        if isinstance(table, exp.Table) and table.db:
            found.add(Source(table=f"{table.db}.{table.name}", column=each.name.rpartition(".")[2]))
    return tuple(sorted(found))

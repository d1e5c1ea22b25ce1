"""The fence around SQL that people write in a mapping: one scalar expression over one row, nothing else.

Judges the tree DuckDB's own parser makes of the text, so that no second parser can disagree with it.
Runs nothing.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from comms_pipeline.domain.errors import InvalidContactFile
from comms_pipeline.domain.validation import nearest

ROW_NUMBER = "row_number"
"""The data row's number in the file, from 1, offered to expressions."""

_CLASSES = frozenset(
    {
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "FUNCTION",
        "OPERATOR",
    }
)
# DuckDB keeps these as macros, beside macros that aggregate, unnest or read settings.
_MACROS = frozenset(
    {
        "array_to_string",
        "date_add",
        "days_in_month",
        "fdiv",
        "fmod",
        "list_append",
        "list_avg",
        "list_count",
        "list_first",
        "list_last",
        "list_max",
        "list_min",
        "list_prepend",
        "list_reverse",
        "list_sum",
        "md5_number_lower",
        "md5_number_upper",
        "nullif",
        "round_even",
        "roundbankers",
        "split_part",
    }
)
_READS_SETTINGS = frozenset({"current_setting", "getvariable"})
# Of a SELECT whose whole content is one expression, all of these are empty.
_CLAUSES = ("where_clause", "group_expressions", "group_sets", "having", "qualify", "sample", "modifiers")

Node = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fenced:
    """An expression safe to put into a query, and the file's columns it uses.

    `is_column` tells that it is one of them as it is, `is_cast` that it names its type itself.
    """

    sql: str
    columns: frozenset[str]
    is_column: bool = False
    is_cast: bool = False


def quoted(column: str) -> str:
    """A column's name as SQL."""
    return '"' + column.replace('"', '""') + '"'


def column_expression(column: str) -> Fenced:
    """One column of the file as it is."""
    return Fenced(sql=quoted(column), columns=frozenset({column}), is_column=True)


@dataclass(frozen=True, kw_only=True)
class Fence:
    """Lets expressions over `columns` pass. Build it with `around`."""

    connection: duckdb.DuckDBPyConnection
    columns: Mapping[str, str]
    functions: frozenset[str]

    @classmethod
    def around(cls, connection: duckdb.DuckDBPyConnection, columns: list[str]) -> "Fence":
        """A fence that knows the file's columns and DuckDB's functions that always give the same answer."""
        scalar = (
            connection.table_function("duckdb_functions")
            .filter("function_type = 'scalar' and stability = 'CONSISTENT'")
            .project("lower(function_name)")
            .fetchall()
        )
        # What DuckDB keeps to itself ("__internal...") does not check what it is given.
        functions = ({name for (name,) in scalar if name[:2] != "__"} | _MACROS) - _READS_SETTINGS
        by_name = {column.lower(): column for column in columns}
        return cls(connection=connection, columns=by_name, functions=frozenset(functions))

    def check(self, sql: str, place: str) -> Fenced:
        """Let `sql`, written at `place`, pass. Raises `InvalidContactFile`."""
        used: set[str] = set()
        tree = self._parsed(sql, place)
        for node in _nodes(tree):
            kind = node["class"]
            if kind not in _CLASSES:
                raise _not_scalar(place)
            if kind == "FUNCTION":
                self._check_function(node, place)
            if kind == "COLUMN_REF":
                used.add(self._column(node["column_names"], place))
        # The line break ends a comment that would swallow the bracket.
        return Fenced(sql=f"({sql}\n)", columns=frozenset(used), is_cast=tree["class"] == "CAST")

    def _parsed(self, sql: str, place: str) -> Node:
        (text,) = self.connection.execute(
            "select json_serialize_sql(?::varchar)", [f"select {sql}"]
        ).fetchall()[0]
        tree = json.loads(text)
        if tree["error"]:
            problem = f"not a valid SQL expression: {tree['error_message'].splitlines()[0]}"
            fix = "Put text in single quotes, and a column named like an SQL word in double ones"
            raise InvalidContactFile(place, problem, fix)
        if len(tree["statements"]) != 1 or ";" in sql.rstrip()[-1:]:
            raise _not_scalar(place)
        select = tree["statements"][0]["node"]
        if (
            select["type"] != "SELECT_NODE"
            or select["from_table"]["type"] != "EMPTY"
            or any(select.get(clause) for clause in _CLAUSES)
            or select["cte_map"]["map"]
            or len(select["select_list"]) != 1
            or select["select_list"][0]["alias"]
        ):
            raise _not_scalar(place)
        only: Node = select["select_list"][0]
        return only

    def _check_function(self, node: Node, place: str) -> None:
        name = node["function_name"].lower()
        # The parser itself writes trim and [...] as functions of "main".
        if (
            node["schema"] not in {"", "main"}
            or node["filter"]
            or node["distinct"]
            or node["order_bys"]["orders"]
        ):
            raise _not_scalar(place)
        if name not in self.functions:
            problem = f"function '{name}' is unknown or not allowed in a mapping"
            raise InvalidContactFile(
                place, problem, "Use functions of one row's values, such as lower or split_part"
            )

    def _column(self, names: list[str], place: str) -> str:
        name = names[0]
        if name.lower() in self.columns:
            return self.columns[name.lower()]
        if name.lower() == ROW_NUMBER:
            return ROW_NUMBER
        fix = nearest(name, [*self.columns.values(), ROW_NUMBER])
        raise InvalidContactFile(
            place, f"the file has no column '{name}'", f"{fix} (text stands in single quotes)"
        )


def _not_scalar(place: str) -> InvalidContactFile:
    problem = "not one plain expression over the columns of a row"
    return InvalidContactFile(place, problem, "Leave out subqueries, aggregates, windows, aliases and ';'")


def _nodes(tree: object) -> Iterator[Node]:
    """Every expression in the tree."""
    if isinstance(tree, list):
        for item in tree:
            yield from _nodes(item)
    elif isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)

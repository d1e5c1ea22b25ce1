"""The fence around SQL audiences: DuckDB's own parser decides what the text says, and what runs is written
from that tree, never from the text. Executes nothing on real data.

Everything is an allow-list: kinds of nodes, relations, functions. Relations are renamed to `own_…` and the
statement's own CTEs to `cte_…`, so that no name in it, in or out of scope, can reach a table of the lake.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from comms_pipeline.audience.functions import FUNCTIONS, OPERATORS
from comms_pipeline.domain.errors import InvalidSegment
from comms_pipeline.domain.validation import nearest

CULPRIT = "audience sql"
RELATIONS = frozenset(
    {
        "business_events",
        "contact_scores",
        "contacts",
        "conversions",
        "events",
        "message_status",
    }
)
"""What SQL may read, all of `core`."""
OWN_PREFIX, CTE_PREFIX = "own_", "cte_"

_NODE_NAMES = """
    SELECT_NODE SET_OPERATION_NODE BASE_TABLE SUBQUERY JOIN EMPTY EXPRESSION_LIST TABLE_FUNCTION
    LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER ORDER_MODIFIER DISTINCT_MODIFIER ORDER_DEFAULT ASCENDING DESCENDING
"""
_EXPRESSION_NAMES = """
    COLUMN_REF CONSTANT FUNCTION WINDOW COMPARISON CONJUNCTION OPERATOR CASE CAST BETWEEN SUBQUERY STAR LAMBDA
    COLLATE POSITIONAL_REFERENCE
"""
_NODES = frozenset(_NODE_NAMES.split())
_EXPRESSIONS = frozenset(_EXPRESSION_NAMES.split())
_WORDS = {
    "PARAMETER": "parameters such as $1 or ?",
    "SHOW_REF": "DESCRIBE, SHOW and SUMMARIZE",
    "RECURSIVE_CTE_NODE": "WITH RECURSIVE",
    "PIVOT": "PIVOT and UNPIVOT",
}
_STABLE = "An audience must be the same when planned again; for a sample use hash(contact_id) % 100 < 10"
_UNSTABLE = frozenset({"random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid"})
_MAX_SQL = 100_000


@dataclass(frozen=True, kw_only=True)
class FencedSelect:
    """A SELECT over `own_…` relations only, and which of them it reads."""

    sql: str
    relations: frozenset[str]


def fence(text: str) -> FencedSelect:
    """Check one SELECT and write it anew over the organisation's own relations.

    `contacts` and the other `RELATIONS` (bare, or as `core.…`) become `own_contacts` and so on, which the
    caller defines as CTEs. Raises `InvalidSegment` for anything but one SELECT over these.
    """
    if len(text) > _MAX_SQL or "\x00" in text:
        raise InvalidSegment(
            CULPRIT, "the text is too long or holds a NUL", f"Use at most {_MAX_SQL} characters"
        )
    # A database of its own: empty, in memory, and shut off from files and network.
    with duckdb.connect(":memory:", config={"enable_external_access": False, "threads": 1}) as parser:
        tree = _parse(parser, text)
        relations = _rewrite(tree)
        row = parser.execute("select json_deserialize_sql($1::json)", [json.dumps(tree)]).fetchone()
    if row is None:
        raise InvalidSegment(CULPRIT, "it cannot be read", "Write one plain SELECT")
    return FencedSelect(sql=row[0], relations=frozenset(relations))


def _parse(parser: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    try:
        row = parser.execute("select json_serialize_sql($1::varchar)", [text]).fetchone()
        tree: dict[str, Any] = json.loads(row[0]) if row else {}
    except (duckdb.Error, RecursionError, UnicodeError):
        raise InvalidSegment(CULPRIT, "it cannot be read", "Write one plain SELECT") from None
    if tree.get("error_type") == "parser":
        position = int(tree.get("position", 0))
        line = text.encode()[:position].count(b"\n") + 1
        message = str(tree["error_message"]).splitlines()[0].rstrip(".!")
        raise InvalidSegment(f"{CULPRIT} line {line}", message, "Correct the SQL")
    if tree.get("error", True) or len(tree["statements"]) != 1:
        raise InvalidSegment(
            CULPRIT, "it is not exactly one SELECT", "Write a single SELECT with a contact_id column"
        )
    return tree


def _rewrite(tree: dict[str, Any]) -> set[str]:
    """Check every node and rename relations in place; gives back the relations read."""
    nodes = list(_nodes(tree["statements"]))
    ctes = {str(entry["key"]).lower() for node in nodes for entry in _cte_entries(node)}
    for name in ctes & RELATIONS:
        raise InvalidSegment(CULPRIT, f"WITH redefines '{name}'", "Give it another name")
    used: set[str] = set()
    for node in nodes:
        for entry in _cte_entries(node):
            entry["key"] = CTE_PREFIX + str(entry["key"]).lower()
        if "class" in node:
            _check_expression(node)
        elif isinstance(node.get("type"), str):
            _check_node(node)
            if node["type"] == "BASE_TABLE":
                used |= _rename(node, ctes)
    return used


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Every JSON object of the tree, but not what makes up constants and types: these hold no names."""
    stack = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            yield item
            skipped = {"value"} if item.get("class") == "CONSTANT" else {"cast_type"}
            stack.extend(value for key, value in item.items() if key not in skipped)


def _cte_entries(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = (node.get("cte_map") or {}).get("map", [])
    return entries


def _check_expression(node: dict[str, Any]) -> None:
    if node["class"] not in _EXPRESSIONS:
        raise _not_allowed(str(node["class"]))
    name = node.get("function_name")
    if name is None:
        return
    known = OPERATORS if node.get("is_operator") else FUNCTIONS
    if str(name).lower() not in known or node["schema"] not in {"", "main", "pg_catalog"} or node["catalog"]:
        fix = _STABLE if name in {"random", "uuid", "gen_random_uuid"} else nearest(str(name), known)
        raise InvalidSegment(
            CULPRIT, f"the function '{name}' is not allowed", fix if len(fix) < 200 else "Leave it out"
        )
    # The parser writes `main.list_value`; in the lake `main` is another schema.
    node["schema"] = ""


def _check_node(node: Mapping[str, Any]) -> None:
    kind = str(node["type"])
    if kind not in _NODES:
        raise _not_allowed(kind)
    if kind == "TABLE_FUNCTION" and node["function"].get("function_name") != "unnest":
        name = node["function"].get("function_name")
        raise InvalidSegment(CULPRIT, f"the table function '{name}' is not allowed", _relations_fix())
    if node.get("sample") is not None:
        raise InvalidSegment(CULPRIT, "SAMPLE is not allowed", _STABLE)


def _rename(table: dict[str, Any], ctes: set[str]) -> set[str]:
    name, schema = str(table["table_name"]).lower(), str(table["schema_name"]).lower()
    if table["catalog_name"] or schema not in {"", "core"} or (schema and name not in RELATIONS):
        raise InvalidSegment(
            CULPRIT, f"'{schema}.{name}' is not a relation audiences may read", _relations_fix()
        )
    if name not in RELATIONS | ctes:
        raise InvalidSegment(
            CULPRIT, f"'{name}' is not a relation audiences may read", nearest(name, RELATIONS)
        )
    if table.get("at_clause") is not None:
        raise InvalidSegment(CULPRIT, "AT (time travel) is not allowed", "Read the present state")
    # Columns may go on being called `contacts.email`.
    table["alias"] = table["alias"] or name
    table["schema_name"] = ""
    table["table_name"] = (OWN_PREFIX if name in RELATIONS else CTE_PREFIX) + name
    return {name} & RELATIONS


def _not_allowed(kind: str) -> InvalidSegment:
    words = _WORDS.get(kind, kind.replace("_", " ").lower())
    return InvalidSegment(CULPRIT, f"{words} cannot be used in an audience", "Write one plain SELECT")


def _relations_fix() -> str:
    return f"Read {', '.join(sorted(RELATIONS))}"

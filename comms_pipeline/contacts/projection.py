"""A mapping laid over an open file: which SQL gives each target, and which the JSON of the attributes.

Nothing is judged about values here; targets come out as text, attributes as one JSON object a row.
"""

import json
from dataclasses import dataclass

import duckdb
import polars as pl

from comms_pipeline.contacts.expressions import ROW_NUMBER, Fence, Fenced, column_expression
from comms_pipeline.contacts.mapping import ContactMapping, Target, recognise
from comms_pipeline.contacts.reader import ROW, Source
from comms_pipeline.domain.errors import InvalidContactFile

# Digits a double holds exactly; no leading zeros: what has them is a code, not a number.
_NUMBER = r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?"
_NOT_FINITE = r"[\[:,](?:NaN|-?Infinity)"
_FLOATS = ("FLOAT", "DOUBLE")


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What to select: SQL for the text of every target, null for those the file lacks, and `attributes`."""

    base: duckdb.DuckDBPyRelation
    selected: str

    def rows(self, after: int, up_to: int) -> pl.DataFrame:
        """The well-formed rows numbered `after` < n <= `up_to`: source_row, the targets, attributes."""
        part = self.base.filter(f"{ROW} > {after} and {ROW} <= {up_to}").project(self.selected)
        frame = pl.from_arrow(part.to_arrow_table())
        assert isinstance(frame, pl.DataFrame)
        return frame.sort("source_row")


@dataclass(frozen=True, kw_only=True)
class _Mapped:
    """One expression, where it is written, and the type of its values."""

    name: str
    fenced: Fenced
    place: str
    type: str


def project(source: Source, mapping: ContactMapping) -> Projection:
    """Lay the mapping over the file. Raises `InvalidContactFile` when they do not fit.

    Evaluates every expression over every row once, so that none fails halfway through an import.
    """
    base = source.table()
    if ROW_NUMBER not in {column.lower() for column in source.columns}:
        base = base.project(f"*, {ROW} as {ROW_NUMBER}")
    targets = _targets(base, source, mapping)
    attributes = _attributes(base, source, mapping, used={c for t in targets for c in t.fenced.columns})
    kinds = _text_kinds(base, attributes) if source.is_text else {}
    for mapped in (*targets, *attributes):
        if not mapped.fenced.is_column:
            _evaluate(base, mapped)
    by_name = {mapped.name: _as_text(mapped) for mapped in targets}
    selected = [f"{ROW} as source_row"]
    selected += [f"{by_name.get(target, 'null::varchar')} as {target}" for target in Target]
    members = [_member(mapped, kinds.get(mapped.name, "")) for mapped in attributes]
    joined = f"concat_ws(',', {', '.join(members)})" if members else "''"
    return Projection(base=base, selected=", ".join([*selected, f"'{{' || {joined} || '}}' as attributes"]))


def _targets(base: duckdb.DuckDBPyRelation, source: Source, mapping: ContactMapping) -> list[_Mapped]:
    written = mapping.columns.given()
    if written:
        fence = Fence.around(source.connection, source.columns)
        found = {
            target: (fence.check(sql, place), place)
            for target, sql in written.items()
            for place in [mapping.place("columns", target)]
        }
    else:
        found = {
            target: (column_expression(column), f"column '{column}'")
            for target, column in recognise(source.columns).items()
        }
    if not found.keys() & {Target.EMAIL, Target.PHONE}:
        problem = "no column for 'email' or 'phone' is found"
        columns = ", ".join(source.columns[:20])
        fix = f"Name one under 'columns' in the mapping; the file has: {columns}"
        raise InvalidContactFile(mapping.place("columns"), problem, fix)
    return [_typed(base, target, fenced, place) for target, (fenced, place) in found.items()]


def _attributes(
    base: duckdb.DuckDBPyRelation, source: Source, mapping: ContactMapping, used: set[str]
) -> list[_Mapped]:
    if mapping.attributes is None:
        return [
            _typed(base, column, column_expression(column), f"column '{column}'")
            for column in source.columns
            if column not in used
        ]
    fence = Fence.around(source.connection, source.columns)
    return [
        _typed(base, name, fence.check(sql, place), place)
        for name, sql in mapping.attributes.items()
        for place in [mapping.place("attributes", name)]
    ]


def _typed(base: duckdb.DuckDBPyRelation, name: str, fenced: Fenced, place: str) -> _Mapped:
    try:
        found = str(base.project(f"{fenced.sql} as value").types[0])
    except duckdb.Error as error:
        problem = str(error).splitlines()[0].partition(": ")[2] or "the expression cannot be used"
        raise InvalidContactFile(place, problem.rstrip("."), "Correct the expression") from None
    return _Mapped(name=name, fenced=fenced, place=place, type=found)


def _evaluate(base: duckdb.DuckDBPyRelation, mapped: _Mapped) -> None:
    """Compute the expression for every row: a count could be answered without."""
    try:
        base.aggregate(f"bit_xor(hash({mapped.fenced.sql}))").fetchall()
    except duckdb.Error:
        # DuckDB's own message quotes the value, which may be somebody's address.
        fix = "Use try_cast or coalesce for values that may not fit"
        raise InvalidContactFile(mapped.place, "the expression fails for some row", fix) from None


def _trimmed(mapped: _Mapped) -> str:
    return f"nullif(trim({mapped.fenced.sql}, ' ' || chr(9) || chr(10) || chr(13)), '')"


def _text_kinds(base: duckdb.DuckDBPyRelation, attributes: list[_Mapped]) -> dict[str, str]:
    """By attribute: "number" or "boolean" where every text in a file without types is one."""
    # Who writes cast(zip as text) wants text.
    texts = [mapped for mapped in attributes if mapped.type == "VARCHAR" and not mapped.fenced.is_cast]
    if not texts:
        return {}
    tests = [
        f"bool_and(regexp_full_match({_trimmed(mapped)}, '{_NUMBER}')),"
        f" bool_and(lower({_trimmed(mapped)}) in ('true', 'false'))"
        for mapped in texts
    ]
    try:
        answers = base.aggregate(", ".join(tests)).fetchall()[0]
    except duckdb.Error:
        # Some expression fails for some row: say which.
        for mapped in texts:
            _evaluate(base, mapped)
        raise
    kinds = {}
    for mapped, is_number, is_boolean in zip(texts, answers[::2], answers[1::2], strict=True):
        if is_number or is_boolean:
            kinds[mapped.name] = "number" if is_number else "boolean"
    return kinds


def _as_text(mapped: _Mapped) -> str:
    sql = mapped.fenced.sql
    if mapped.type == "VARCHAR":
        return sql
    if mapped.type == "JSON":
        return f"({sql} ->> '$')"
    if mapped.type in _FLOATS or mapped.type.startswith("DECIMAL"):
        # Tools that know no missing integers keep telephone numbers and ids as 12125550123.0.
        return rf"regexp_replace(cast({sql} as varchar), '\.0+$', '')"
    return f"cast({sql} as varchar)"


def _member(mapped: _Mapped, kind: str) -> str:
    """SQL for `"name":value`, null where the value is missing or blank."""
    key = (json.dumps(mapped.name, ensure_ascii=False) + ":").replace("'", "''")
    return f"'{key}' || {_json_value(mapped, kind)}"


def _json_value(mapped: _Mapped, kind: str) -> str:
    sql = mapped.fenced.sql
    if kind == "number":
        return _trimmed(mapped)
    if kind == "boolean":
        return f"lower({_trimmed(mapped)})"
    if mapped.type == "VARCHAR":
        return f"cast(to_json({_trimmed(mapped)}) as varchar)"
    value = f"nullif(nullif(cast(to_json({sql}) as varchar), 'null'), '\"\"')"
    if mapped.type in _FLOATS:
        return f"case when isfinite({sql}) then {value} end"
    if mapped.type == "JSON" or any(name in mapped.type for name in _FLOATS):
        return rf"case when not regexp_matches({value}, '{_NOT_FINITE}') then {value} end"
    return value

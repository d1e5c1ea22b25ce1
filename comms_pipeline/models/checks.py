"""What is tested of a model's rows, and the one statement that measures it. Runs nothing.

Each kind of test is one check over all columns: few names, and the findings say which column.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from comms_pipeline.models.header import Model, Severity


class Kind(StrEnum):
    """Checks that the columns' tests make up."""

    KEYS_UNIQUE = "keys_unique"
    VALUES_PRESENT = "values_present"
    VALUES_ACCEPTED = "values_accepted"
    SHARES_IN_RANGE = "shares_in_range"
    RELATIONS_HOLD = "relations_hold"


_DESCRIPTIONS = {
    Kind.KEYS_UNIQUE: "No key is there twice.",
    Kind.VALUES_PRESENT: "Nothing is missing that must be there.",
    Kind.VALUES_ACCEPTED: "No value but those that the columns know.",
    Kind.SHARES_IN_RANGE: "Every share lies in 0 to 1.",
    Kind.RELATIONS_HOLD: "What is referred to is there.",
}
_SEVERITIES = {
    Kind.KEYS_UNIQUE: Severity.ERROR,
    Kind.VALUES_PRESENT: Severity.ERROR,
    # A word we do not know yet, or a contact deleted in between, makes no figure wrong.
    Kind.VALUES_ACCEPTED: Severity.WARN,
    Kind.SHARES_IN_RANGE: Severity.ERROR,
    Kind.RELATIONS_HOLD: Severity.WARN,
}


@dataclass(frozen=True, kw_only=True)
class ModelCheck:
    """One check of a model, as it is shown."""

    name: str
    description: str
    severity: Severity


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of a check: SQL for a number that must be 0, and what the number counts.

    `sql` is an aggregate over the model's rows where `is_scan`, else a query.
    """

    check: str
    what: str
    sql: str
    is_scan: bool = False


def model_checks(model: Model) -> list[ModelCheck]:
    """The checks a model has: those its columns ask for, then its own."""
    wanted = {measure.check for measure in measures(model)}
    by_columns = [
        ModelCheck(name=str(kind), description=_DESCRIPTIONS[kind], severity=_SEVERITIES[kind])
        for kind in Kind
        if kind in wanted
    ]
    own = [
        ModelCheck(
            name=name,
            description=check.description or _told(model, name),
            severity=check.severity,
        )
        for name, check in model.header.checks.items()
    ]
    return by_columns + own


def measures(model: Model) -> list[Measure]:
    """Every figure of every check of a model; of a view its own checks only, since scanning it computes all of it."""
    if model.is_view:
        return list(_of_its_own(model))
    return [*_of_keys(model), *_of_columns(model), *_of_relations(model), *_of_its_own(model)]


def statement(model: Model) -> str:
    """One SELECT of one row: each figure of `measures`, in order."""
    found = measures(model)
    scanned = ", ".join(f"{each.sql} as m{i}" for i, each in enumerate(found) if each.is_scan)
    values = ", ".join(f"m{i}" if each.is_scan else f"({each.sql})" for i, each in enumerate(found))
    return f"with scan as (select {scanned or 'count(*)'} from {model.table}) select {values} from scan"


def _of_keys(model: Model) -> Iterator[Measure]:
    keys = [", ".join(model.header.key)]
    keys += [
        name for name, column in model.header.columns.items() if column.has("unique") and name not in keys
    ]
    for key in keys:
        twice = f"select 1 from {model.table} group by {key} having count(*) > 1"
        yield Measure(
            check=Kind.KEYS_UNIQUE, what=f"{key}: there twice", sql=f"select count(*) from ({twice})"
        )


def _of_columns(model: Model) -> Iterator[Measure]:
    for name, column in model.header.columns.items():
        tests = {
            Kind.VALUES_PRESENT: f"{name} is null" if column.has("not_null") else None,
            Kind.VALUES_ACCEPTED: f"{name} not in ({', '.join(map(_literal, column.accepted))})"
            if column.accepted
            else None,
            Kind.SHARES_IN_RANGE: f"not {name} between 0 and 1" if column.has("share") else None,
        }
        words = {
            Kind.VALUES_PRESENT: "missing",
            Kind.VALUES_ACCEPTED: "not one of the known values",
            Kind.SHARES_IN_RANGE: "not in 0 to 1",
        }
        for kind, test in tests.items():
            if test is not None:
                yield Measure(
                    check=kind,
                    what=f"{name}: {words[kind]}",
                    sql=f"count(*) filter (where {test})",
                    is_scan=True,
                )


def _of_relations(model: Model) -> Iterator[Measure]:
    for name, column in model.header.columns.items():
        for relation in column.relations:
            known = f"select {relation.column} from {relation.table}"
            yield Measure(
                check=Kind.RELATIONS_HOLD,
                what=f"{name}: not in {relation.relation}",
                sql=f"select count(*) from {model.table} where {name} is not null and {name} not in ({known})",
            )


def _of_its_own(model: Model) -> Iterator[Measure]:
    for name, check in model.header.checks.items():
        if check.sql is not None:
            sql = check.sql.strip().rstrip(";")
            yield Measure(check=name, what="rows found", sql=f"select count(*) from ({sql}) found")
        if check.rows is not None:
            operator, other = check.rows.comparison
            counts = f"(select count(*) from {model.table}) {operator} (select count(*) from {other})"
            yield Measure(
                check=name,
                what=f"rows {operator} rows of {other}: not so",
                sql=f"select (not {counts})::integer",
            )


def _told(model: Model, name: str) -> str:
    check = model.header.checks[name]
    if check.rows is not None:
        operator, other = check.rows.comparison
        return f"Number of rows {operator} that of {other}."
    return f"Finds no row: {' '.join((check.sql or '').split())}"


def _literal(value: str | int | bool) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value).lower()

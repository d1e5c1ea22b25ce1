"""One model's file: a YAML header in a block comment, then its SQL. Knows the file's form, never the lake.

The header is the only place that says what the table is; everything else is made of it.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from comms_pipeline.domain.errors import CommsError

_HEADER = re.compile(r"\A\s*/\* ---\n(?P<yaml>.*?)\n--- \*/\s*\n?(?P<sql>.*)\Z", re.DOTALL)
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_IDENTIFIER = r"[a-z][a-z0-9_]*"
_GUIDE = "See docs/guides/adding-a-model.md"
_NONE: Mapping[str, object] = MappingProxyType({})


class InvalidModel(CommsError):
    """A model's file cannot be used; the culprit is the file."""


class Group(StrEnum):
    """Where Dagster shows the model."""

    EVENTS = "events"
    """What happened."""
    ENGAGEMENT = "engagement"
    """Who listens, and when."""
    DELIVERABILITY = "deliverability"
    """Whether messages arrive."""
    ANALYTICS = "analytics"
    """What sends brought."""


class Materialized(StrEnum):
    """How the lake keeps it."""

    TABLE = "table"
    VIEW = "view"


class Computed(StrEnum):
    """What makes its rows."""

    SQL = "sql"
    PYTHON = "python"


class Severity(StrEnum):
    """How grave it is when a check of one's own fails."""

    WARN = "warn"
    ERROR = "error"


Identifier = Annotated[str, StringConstraints(pattern=rf"^{_IDENTIFIER}$")]
TableName = Annotated[str, StringConstraints(pattern=rf"^{_IDENTIFIER}\.{_IDENTIFIER}$")]
ColumnName = Annotated[str, StringConstraints(pattern=rf"^{_IDENTIFIER}\.{_IDENTIFIER}\.{_IDENTIFIER}$")]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Accepted(_Part):
    """The column holds nothing but these values (or null)."""

    accepted: tuple[str | int | bool, ...] = Field(min_length=1)


class Relation(_Part):
    """Every value of the column (but null) is in that column: `schema.table.column`."""

    relation: ColumnName

    @property
    def table(self) -> str:
        """The other table."""
        return self.relation.rpartition(".")[0]

    @property
    def column(self) -> str:
        """Its column."""
        return self.relation.rpartition(".")[2]


Test = Literal["not_null", "unique", "share"] | Accepted | Relation


class Column(_Part):
    """One column. `unit` says what a number counts: share, seconds, micros, contacts …"""

    type: Sentence
    description: Sentence
    unit: Sentence | None = None
    formula: Annotated[Sentence | None, Field(alias="is")] = None
    """SQL over other columns of the row, of a column that the model's own SELECT leaves out."""
    tests: tuple[Test, ...] = ()

    def has(self, test: str) -> bool:
        """Whether it has this test without arguments."""
        return test in self.tests

    @property
    def accepted(self) -> tuple[str | int | bool, ...]:
        """The values it may hold; none: any."""
        return tuple(value for test in self.tests if isinstance(test, Accepted) for value in test.accepted)

    @property
    def relations(self) -> Iterator[Relation]:
        """Where its values must be found."""
        return (test for test in self.tests if isinstance(test, Relation))


class RowCount(_Part):
    """How the model's number of rows compares with another table's; one of the three."""

    equal: TableName | None = None
    at_most: TableName | None = None
    at_least: TableName | None = None

    @property
    def comparison(self) -> tuple[str, str]:
        """The operator that must hold between its rows and those of the table."""
        told = (("=", self.equal), ("<=", self.at_most), (">=", self.at_least))
        [(operator, table)] = [(operator, table) for operator, table in told if table is not None]
        return operator, table


def _only_one(rows: RowCount) -> RowCount:
    if len(rows.model_fields_set) != 1:
        raise ValueError("give exactly one of equal, at_most, at_least")
    return rows


class Chart(_Part):
    """The small picture Dagster shows of the table: bars by something, the longest first, or a line over something."""

    name: Annotated[str, StringConstraints(pattern=rf"^{_IDENTIFIER}$", max_length=30)]
    of: Sentence
    """A number in SQL over the rows of a bar or point, such as sum(accepted)."""
    by: Sentence | None = None
    over: Sentence | None = None


class Check(_Part):
    """A check of the model's own: SQL that must find no row, or a comparison of row counts."""

    sql: Sentence | None = None
    rows: Annotated[RowCount, AfterValidator(_only_one)] | None = None
    severity: Severity = Severity.ERROR
    description: Sentence | None = None


def _as_check(value: object) -> object:
    return {"sql": value} if isinstance(value, str) else value


def _sql_or_rows(check: Check) -> Check:
    if (check.sql is None) == (check.rows is None):
        raise ValueError("give either sql or rows")
    return check


def _bars_or_line(chart: Chart) -> Chart:
    if (chart.by is None) == (chart.over is None):
        raise ValueError("give either by or over")
    return chart


class Header(_Part):
    """What a model's file says of its table."""

    description: Sentence
    grain: Sentence
    key: Annotated[tuple[Identifier, ...], BeforeValidator(_one_or_many)] = Field(min_length=1)
    group: Group
    owner: Annotated[str, StringConstraints(pattern=r"^team:[a-z]+$")]
    materialized: Materialized = Materialized.TABLE
    computed: Computed = Computed.SQL
    incremental: Annotated[tuple[Identifier, ...], BeforeValidator(_one_or_many)] = ()
    """The columns by which changed rows are computed again; none: always whole."""
    freshness_hours: Annotated[int, Field(gt=0)] | None = None
    after_send: bool = False
    """Refreshed at the end of every send's run, since its report shows it; all others when events are loaded."""
    depends_on: tuple[TableName, ...] = ()
    """Of models computed in Python: what they read. Of the others the SQL says it."""
    chart: Annotated[Chart, AfterValidator(_bars_or_line)] | None = None
    figures: Mapping[Identifier, Sentence] = Field(default_factory=dict)
    """Numbers over the whole table worth following over time, in SQL, such as sum(accepted)."""
    columns: Mapping[Identifier, Column] = Field(min_length=1)
    checks: Mapping[
        Identifier, Annotated[Check, BeforeValidator(_as_check), AfterValidator(_sql_or_rows)]
    ] = Field(default_factory=dict)


# Compared by identity: there is one of each, and headers are not hashable.
@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """One derived table or view. `select` is None where Python computes it, `changed` where it is always whole."""

    table: str
    file: str
    header: Header
    select: str | None
    changed: str | None

    @property
    def layer(self) -> str:
        """The schema it is in."""
        return self.table.partition(".")[0]

    @property
    def noun(self) -> str:
        """Its name in the schema."""
        return self.table.partition(".")[2]

    @property
    def is_view(self) -> bool:
        """Whether the lake keeps no rows of it."""
        return self.header.materialized is Materialized.VIEW

    @property
    def is_python(self) -> bool:
        """Whether Python computes it."""
        return self.header.computed is Computed.PYTHON

    @property
    def digest(self) -> str:
        """Changes with what makes the rows, not with what is said of them."""
        types = {name: column.type for name, column in self.header.columns.items()}
        told = repr((self.select, self.changed, types, self.header.key, self.header.incremental))
        return hashlib.sha256(told.encode()).hexdigest()


def read_model(table: str, file: str, text: str, shared: Mapping[str, object] = _NONE) -> Model:
    """The model `table` ("schema.name") of a file's text; `file` names it in errors.

    `shared` has the columns that headers may name without a definition. Raises `InvalidModel`.
    """
    found = _HEADER.match(text)
    if found is None:
        raise InvalidModel(
            file, "it does not begin with a header", "Begin with `/* ---`, end the header with `--- */`"
        )
    header = _header(file, found["yaml"], shared)
    _require_columns(file, header)
    select, changed = _queries(file, header, found["sql"])
    return Model(table=table, file=file, header=header, select=_whole_rows(header, select), changed=changed)


def read_shared_columns(file: str, text: str) -> Mapping[str, object]:
    """The columns of `columns.yaml`, by name; checked where a model uses them. Raises `InvalidModel`."""
    return _mapping(file, text, "the file", first_line=1)


def _mapping(file: str, text: str, what: str, *, first_line: int) -> dict[str, object]:
    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + first_line}" if mark else file
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise InvalidModel(
            where, f"{what} is not YAML: {problem}", "Quote text with a colon or a comma"
        ) from None
    if not isinstance(told, dict):
        raise InvalidModel(file, f"{what} is not a mapping", _GUIDE)
    return told


def _header(file: str, text: str, shared: Mapping[str, object]) -> Header:
    # The header's first line is the file's second.
    told = _mapping(file, text, "the header", first_line=2)
    columns = told.get("columns")
    if isinstance(columns, dict):
        unknown = [name for name, column in columns.items() if column is None and name not in shared]
        if unknown:
            raise InvalidModel(
                file,
                f"`columns.{unknown[0]}` has no definition",
                "Write one; columns.yaml has none of that name",
            )
        told["columns"] = {
            name: shared[name] if column is None else column for name, column in columns.items()
        }
    try:
        return Header.model_validate(told)
    except ValidationError as error:
        raise InvalidModel(file, *_explained(error)) from None


def _whole_rows(header: Header, select: str | None) -> str | None:
    """The SELECT with the columns that have a formula."""
    formulas = [f"{column.formula} as {name}" for name, column in header.columns.items() if column.formula]
    if select is None or not formulas:
        return select
    added = ",\n       ".join(formulas)
    return f"select *,\n       {added}\nfrom (\n{select}\n) row_of_model"


def _explained(error: ValidationError) -> tuple[str, str]:
    """Problem and fix for the first thing wrong with a header."""
    first = error.errors()[0]
    place = ".".join(
        str(part) for part in first["loc"] if not str(part).startswith(("literal[", "function-"))
    )
    if first["type"] == "missing":
        return f"`{place}` is missing", f"Add it to the header. {_GUIDE}"
    if first["type"] == "extra_forbidden":
        return (
            f"`{place}` is not known here",
            "Remove it, or quote the text it comes from (a comma splits it)",
        )
    return f"`{place}` cannot be used: {first['msg'].removeprefix('Value error, ')}", _GUIDE


def _require_columns(file: str, header: Header) -> None:
    for field in ("key", "incremental"):
        missing = [name for name in getattr(header, field) if name not in header.columns]
        if missing:
            raise InvalidModel(
                file, f"`{field}` names {', '.join(missing)}, which is no column", "Add it under `columns`"
            )


def _queries(file: str, header: Header, sql: str) -> tuple[str | None, str | None]:
    """The SELECT and, of incremental models, the query of changed keys."""
    # What stands before the first name is a comment on the file.
    opening, *parts = _NAME.split(sql)
    named = {
        name: body.strip().rstrip(";").rstrip() for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
    whole = opening.strip().rstrip(";").rstrip()
    if header.computed is Computed.PYTHON:
        if named or whole or header.incremental or header.materialized is Materialized.VIEW:
            raise InvalidModel(
                file,
                "it is computed in Python and has SQL, `incremental` or `materialized: view` too",
                "Leave only the header, or remove `computed: python`",
            )
        return None, None
    if header.depends_on:
        raise InvalidModel(
            file, "`depends_on` is given, though the SQL says it", "Remove it: only Python models need it"
        )
    if not header.incremental:
        if named or not whole:
            raise InvalidModel(
                file,
                "it is not incremental, so one SELECT without `-- name:` is needed",
                "Write only the SELECT after the header, or add `incremental`",
            )
        return whole, None
    if set(named) != {"changed", "model"} or header.materialized is Materialized.VIEW:
        raise InvalidModel(
            file,
            "it is incremental, so a table with the queries `changed` and `model` is needed",
            "Begin them with `-- name: changed` and `-- name: model`, or remove `incremental`",
        )
    return named["model"], named["changed"]

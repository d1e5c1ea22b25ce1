"""The statements that bring the models' tables and views to what their headers say. Runs nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from comms_pipeline.models.header import Model
from comms_pipeline.models.sql import spelled


@dataclass(frozen=True, kw_only=True)
class Existing:
    """A table or view that the lake has: its columns with their types, as DuckDB tells them."""

    is_view: bool
    columns: Mapping[str, str]


def statements(models: Iterable[Model], existing: Mapping[str, Existing]) -> list[str]:
    """What to execute, in order: tables, then views, each after those it reads.

    A lacking column is added and one too many dropped. A table whose column has another type, or that was a view, is
    made anew and empty: the next refresh fills it, since its definition has changed. Nothing to do gives no statement,
    except for views, which are made again.
    """
    ordered = list(models)
    found: list[str] = []
    for model in ordered:
        there = existing.get(model.table)
        if there is not None and _must_go(model, there):
            found.append(f"drop {'view' if there.is_view else 'table'} {model.table}")
            there = None
        if not model.is_view:
            found += [_create(model)] if there is None else _alter(model, there)
    return found + [
        f"create or replace view {each.table} as\n{each.select}" for each in ordered if each.is_view
    ]


def _types(model: Model) -> dict[str, str]:
    return {name: column.type for name, column in model.header.columns.items()}


def _must_go(model: Model, there: Existing) -> bool:
    if model.is_view or there.is_view:
        return model.is_view != there.is_view
    wanted = _types(model)
    return any(
        spelled(kind) != spelled(wanted[name]) for name, kind in there.columns.items() if name in wanted
    )


def _create(model: Model) -> str:
    columns = ",\n".join(f"    {name} {kind}" for name, kind in _types(model).items())
    return f"create table {model.table} (\n{columns}\n)"


def _alter(model: Model, there: Existing) -> list[str]:
    wanted = _types(model)
    added = [
        f"alter table {model.table} add column {name} {kind}"
        for name, kind in wanted.items()
        if name not in there.columns
    ]
    return added + [
        f"alter table {model.table} drop column {name}" for name in there.columns if name not in wanted
    ]

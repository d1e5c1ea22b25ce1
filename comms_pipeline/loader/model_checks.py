"""Evaluates a model's checks on its rows as they are. What the checks are, is `models.checks`' to say."""

from dataclasses import dataclass

from comms_pipeline.models.checks import ModelCheck, measures, model_checks, statement
from comms_pipeline.models.registry import model_named
from comms_pipeline.stores import Stores


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What a check found: how often each of its figures is not 0, as it should be. Nothing: it passed."""

    check: ModelCheck
    findings: tuple[tuple[str, int], ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def check_model(stores: Stores, table: str) -> list[CheckResult]:
    """Every check of `table`, in one statement over one snapshot. Raises `NotFound`."""
    model = model_named(table)
    if not measures(model):
        return []
    with stores.lake.reader() as cursor:
        figures = cursor.execute(statement(model)).fetchone() or ()
    found: dict[str, list[tuple[str, int]]] = {}
    for measure, count in zip(measures(model), figures, strict=True):
        if count:
            found.setdefault(measure.check, []).append((measure.what, count))
    return [
        CheckResult(check=check, findings=tuple(found.get(check.name, ()))) for check in model_checks(model)
    ]

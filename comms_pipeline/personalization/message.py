"""A message compiled once and evaluated over whole audiences: a skeleton per group of recipients, slots as columns."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import polars as pl

from comms_pipeline.personalization.compiler import Interpreter, Path, Step
from comms_pipeline.personalization.fragments import WholePart
from comms_pipeline.personalization.inheritance import Program, load
from comms_pipeline.personalization.locales import DEFAULT_LANGUAGE
from comms_pipeline.personalization.names import read_names
from comms_pipeline.personalization.opaque import OpaqueRenderer
from comms_pipeline.personalization.syntax import TemplateSource
from comms_pipeline.personalization.values import join_columns, repeated

__all__ = ["CompiledMessage", "RenderedGroup", "TemplateSource", "compile_message"]

DEFAULT_MAX_GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class RenderedGroup:
    """Recipients who share one skeleton.

    `rows`: UInt32 row numbers into the frame, ascending. `parts`: per part its skeleton, literal text and slot numbers.
    `slots`: String columns `s0` … without nulls, one row per recipient, shared between the parts.
    """

    rows: pl.Series
    parts: Mapping[str, tuple[str | int, ...]]
    slots: pl.DataFrame

    def join(self, part: str) -> pl.Series:
        """The part's full text per recipient, equal to Jinja2's own output."""
        pieces = [piece if isinstance(piece, str) else self.slots[f"s{piece}"] for piece in self.parts[part]]
        if any(isinstance(piece, pl.Series) for piece in pieces):
            return join_columns(pieces).alias(part)
        return repeated("".join(piece for piece in pieces if isinstance(piece, str)), len(self.rows)).alias(
            part
        )


@dataclass(frozen=True, kw_only=True)
class CompiledMessage:
    """The parts of one message, ready to evaluate. `variables` are the top-level names they read from a contact."""

    variables: frozenset[str]
    program: Program
    max_groups: int

    def evaluate(self, frame: pl.DataFrame, *, renderer: OpaqueRenderer | None = None) -> list[RenderedGroup]:
        """Every row of `frame` in exactly one group; columns are variables, null is None, no column is undefined.

        `renderer` keeps one child process for many calls; without it a call that needs one starts its own. Raises
        TemplateError where Jinja2 would for some row, naming template, line and row count.
        """
        if frame.height == 0:
            return []
        with ExitStack() as stack:
            child = renderer or stack.enter_context(OpaqueRenderer())
            return self._evaluate(frame, child)

    def _evaluate(self, frame: pl.DataFrame, renderer: OpaqueRenderer) -> list[RenderedGroup]:
        opaque_parts = self.program.late_bound_parts
        while True:
            interpreter = Interpreter(
                self.program, frame, renderer, max_groups=self.max_groups, opaque_parts=opaque_parts
            )
            try:
                return [self._group(interpreter, path) for path in interpreter.paths()]
            except WholePart as error:
                opaque_parts |= {error.part}

    def _group(self, interpreter: Interpreter, path: Path) -> RenderedGroup:
        skeletons: dict[str, list[str | int]] = {part: [] for part in self.program.trees}
        slots: list[pl.Series] = []
        numbers: dict[int, int] = {}
        for part, step in path.steps:
            text = interpreter.text(step, path.rows) if isinstance(step, Step) else step
            skeleton = skeletons[part]
            if isinstance(text, pl.Series) and isinstance(step, Step):
                slot = numbers.setdefault(interpreter.number(step), len(slots))
                if slot == len(slots):
                    slots.append(text.alias(f"s{slot}"))
                skeleton.append(slot)
            elif isinstance(text, str) and text:
                _append_text(skeleton, text)
        return RenderedGroup(
            rows=path.rows.positions.alias("row"),
            parts={part: tuple(skeleton) for part, skeleton in skeletons.items()},
            slots=pl.DataFrame(slots) if slots else pl.DataFrame(height=len(path.rows)),
        )


def compile_message(
    parts: Mapping[str, TemplateSource],
    *,
    includes: Mapping[str, str] | None = None,
    max_groups: int = DEFAULT_MAX_GROUPS,
    language: str = DEFAULT_LANGUAGE,
) -> CompiledMessage:
    """Compiles the parts of a message, which share slots and groups; `includes` are templates by the name they go by.

    Conditionals split recipients into at most `max_groups` groups; those beyond become slots. `language` is the BCP 47
    tag in which filters write amounts and dates (`de-AT`); one that CLDR lacks falls back to its base language, then to
    English. Raises TemplateError with the culprit `name:line:column`, an excerpt and the fix.
    """
    program = load(parts, includes or {}, language=language)
    variables = frozenset().union(*(read_names(*tree.body) for tree in program.trees.values()))
    return CompiledMessage(variables=variables, program=program, max_groups=max(max_groups, 1))


def _append_text(skeleton: list[str | int], text: str) -> None:
    last = skeleton[-1] if skeleton else None
    if isinstance(last, str):
        skeleton[-1] = last + text
    else:
        skeleton.append(text)

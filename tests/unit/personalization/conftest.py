"""The law every template must obey, as a fixture: what we join equals what Jinja2 writes, and both fail together."""

from collections.abc import Callable, Iterator, Mapping

import polars as pl
import pytest
from hypothesis import assume

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.personalization.environment import template_environment
from comms_pipeline.personalization.message import TemplateSource, compile_message
from comms_pipeline.personalization.opaque import OpaqueRenderer

Law = Callable[..., list[str] | None]


@pytest.fixture(scope="session")
def renderer() -> Iterator[OpaqueRenderer]:
    with OpaqueRenderer() as shared:
        yield shared


def written_by_jinja(
    source: TemplateSource, includes: Mapping[str, str], frame: pl.DataFrame, language: str
) -> list[str] | None:
    """Jinja2's own output per row; None where it raises for any."""
    environment = template_environment(is_html=source.is_html, includes=includes, language=language)
    template = environment.from_string(source.text)
    try:
        return [template.render(row) for row in frame.to_dicts()]
    except Exception:
        return None


@pytest.fixture(scope="session")
def law(renderer: OpaqueRenderer) -> Law:
    """Checks the law for a message and returns the texts of its last part, or None where both raise."""

    def check(
        frame: pl.DataFrame,
        *,
        includes: Mapping[str, str] | None = None,
        max_groups: int = 32,
        language: str = "en",
        **texts: str,
    ) -> list[str] | None:
        parts = {
            part: TemplateSource(name=part, text=text, is_html=part == "html") for part, text in texts.items()
        }
        expected = {
            part: written_by_jinja(source, includes or {}, frame, language) for part, source in parts.items()
        }
        try:
            message = compile_message(
                parts, includes=includes or {}, max_groups=max_groups, language=language
            )
        except TemplateError as error:
            # We refuse at compile time what Jinja2 takes for undefined at run time.
            assume("before it is set" not in error.problem)
            raise
        if any(output is None for output in expected.values()):
            with pytest.raises(TemplateError):
                message.evaluate(frame, renderer=renderer)
            return None
        groups = message.evaluate(frame, renderer=renderer)
        assert sorted(row for group in groups for row in group.rows) == list(range(frame.height))
        assert len(groups) <= max_groups
        for part, output in expected.items():
            joined = {
                row: text for group in groups for row, text in zip(group.rows, group.join(part), strict=True)
            }
            assert [joined[row] for row in range(frame.height)] == output
        for group in groups:
            assert not any(slot.has_nulls() for slot in group.slots)
            assert group.slots.columns == [f"s{i}" for i in range(group.slots.width)]
        return expected[list(parts)[-1]]

    return check

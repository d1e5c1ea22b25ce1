"""Every built-in template as drafts, for tests that hold of all."""

import pytest

from comms_pipeline.builtin_templates import TextChannel, builtin_templates
from comms_pipeline.previews.drafts import Draft, builtin_drafts
from comms_pipeline.previews.rendering import Preview, example_frame, render

DRAFTS = [draft for template in builtin_templates() for draft in builtin_drafts(template)]
EMAILS = [draft for draft in DRAFTS if draft.channel is TextChannel.EMAIL]
_PREVIEWS: dict[tuple[str, TextChannel], Preview] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, drafts in (("draft", DRAFTS), ("email", EMAILS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, drafts, ids=lambda draft: f"{draft.name}-{draft.channel}")


@pytest.fixture
def rendered():
    """The example of a draft, rendered once for all tests of a process."""

    def build(draft: Draft) -> Preview:
        key = (draft.name, draft.channel)
        if key not in _PREVIEWS:
            _PREVIEWS[key] = render(draft, example_frame(draft))
        return _PREVIEWS[key]

    return build

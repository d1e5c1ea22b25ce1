"""The one sandboxed Jinja2 environment: its output is what every other path here must equal.

Knows jinja2 and the filter table only, so that the child process that renders opaque slots starts fast.
"""

from collections.abc import Mapping

from jinja2 import DictLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from comms_pipeline.personalization.filters import FILTERS
from comms_pipeline.personalization.locale_filters import LocaleFilters
from comms_pipeline.personalization.locales import DEFAULT_LANGUAGE

# `random` breaks "the same input gives the same message".
_WITHHELD_FILTERS = ("random",)


def template_environment(
    *, is_html: bool, includes: Mapping[str, str] | None = None, language: str = DEFAULT_LANGUAGE
) -> ImmutableSandboxedEnvironment:
    """The environment of one part: autoescape for HTML, strict undefined, no globals, our filters for `language`.

    Nothing is folded by the optimizer: a constant expression may be hostile too.
    """
    environment = ImmutableSandboxedEnvironment(
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=False,
        lstrip_blocks=False,
        keep_trailing_newline=False,
        optimized=False,
        loader=DictLoader(dict(includes or {})),
    )
    environment.globals.clear()
    for name in _WITHHELD_FILTERS:
        del environment.filters[name]
    localized = LocaleFilters(language=language, is_html=is_html)
    ours = {name: forms.function(localized) for name, forms in FILTERS.items()}
    environment.filters.update({name: function for name, function in ours.items() if function is not None})
    return environment

"""Arguments of our filters as a template writes them out, checked before there is any data."""

import inspect

from jinja2 import nodes

from comms_pipeline.personalization.filters import FILTERS, FilterForms
from comms_pipeline.personalization.locales import UnfitInput


def misuse(node: nodes.Filter) -> tuple[str, str] | None:
    """The problem and the fix, where a filter of ours has arguments that cannot be right on any data."""
    forms = FILTERS.get(node.name)
    if forms is None or forms.localized is None or node.dyn_args is not None or node.dyn_kwargs is not None:
        return None
    keywords = {str(pair.key): pair.value for pair in node.kwargs}
    try:
        # The first two are the filter's own `self` and the value.
        bound = inspect.signature(forms.localized).bind(None, None, *node.args, **keywords)
    except TypeError as error:
        return f"filter {node.name}: {error}", _usage(forms)
    for name, argument in bound.arguments.items():
        if name in forms.checks and isinstance(argument, nodes.Const):
            try:
                forms.checks[name](argument.value)
            except UnfitInput as error:
                return described(node.name, error.problem, error.word), error.fix
    return None


def described(name: str, problem: str, word: str) -> str:
    """An UnfitInput of a filter in words; `word` must be the author's own."""
    return f"filter {name} gets {problem}{f' ({word})' if word else ''}"


def _usage(forms: FilterForms) -> str:
    return f"Write it as in {{{{ {forms.examples[-1]} }}}}."

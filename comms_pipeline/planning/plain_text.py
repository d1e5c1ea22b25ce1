"""The plain-text part of an e-mail that brings none: derived from its HTML template, expressions left alone."""

import html
import re
from collections.abc import Mapping

PREFIX = "text-of:"
"""Names the derived version of a template, for those that include, extend or import it."""

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_MARK = re.compile("\ue000(\\d+)\ue001")
_REFERENCE = re.compile(r"""(\b(?:include|extends|import|from)\s+)(["'])(?P<name>[^"']+)\2""")
_UNSEEN = re.compile(r"<(head|style|script|title)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_LINK = re.compile(
    r"""<a\b[^>]*?href=(["'])(?P<url>.*?)\1[^>]*>(?P<label>.*?)</a\s*>""", re.IGNORECASE | re.DOTALL
)
_BREAK = re.compile(r"<br\b[^>]*>|</(p|div|tr|h[1-6]|li|ul|ol|table|caption)\s*>", re.IGNORECASE)
_CELL_END = re.compile(r"</t[dh]\s*>", re.IGNORECASE)
# A quoted attribute may hold ">".
_TAG = re.compile(r"""<[^>"']*(?:"[^"]*"[^>"']*|'[^']*'[^>"']*)*>""")
_BRACE = re.compile(r"\{(?=[{%#])")


def derived_text(page: str) -> str:
    """The text version of an HTML template: tags gone, links as `label (address)`, blocks on lines of their own."""
    expressions: list[str] = []

    def keep(match: re.Match[str]) -> str:
        expressions.append(_REFERENCE.sub(rf"\1\2{PREFIX}\g<name>\2", match[0]))
        return f"\ue000{len(expressions) - 1}\ue001"

    # A comparison inside an expression must not be taken for a tag.
    text = _UNSEEN.sub("", _JINJA.sub(keep, page))
    text = _LINK.sub(lambda match: f"{match['label']} ({match['url']})", text)
    text = html.unescape(_TAG.sub("", _CELL_END.sub(" ", _BREAK.sub("\n", text))))
    # Braces that were written as entities are no expression.
    text = _BRACE.sub("{{ '{' }}", text)
    text = "\n".join(" ".join(line.split()) for line in text.splitlines())
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return _MARK.sub(lambda match: expressions[int(match[1])], text)


def with_derived(templates: Mapping[str, str]) -> dict[str, str]:
    """All templates, and the text version of each under its prefixed name."""
    return {**templates, **{PREFIX + name: derived_text(source) for name, source in templates.items()}}

"""Template text → Jinja2 syntax tree whose every node knows its file, line and column.

Jinja2 keeps a line number only. Here the number a token carries packs file, line and column, so nodes and the
code generated from them carry all three. Never evaluates anything: a template may be hostile.
"""

import bisect
import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.lexer import TokenStream
from jinja2.parser import Parser

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.personalization.environment import template_environment
from comms_pipeline.personalization.filter_checks import misuse

_COLUMN_BITS, _LINE_BITS = 16, 24
_MAX_COLUMN, _MAX_LINE = (1 << _COLUMN_BITS) - 1, (1 << _LINE_BITS) - 1
_MAX_DEPTH = 100  # the interpreter, the generator and repr() recurse once per level
_MAX_TEMPLATE_CHARACTERS = 1_000_000
_EXCERPT_WIDTH = 60
_TAGS = ("if", "elif", "else", "endif", "for", "endfor", "set", "endset", "block", "endblock", "extends", "include",
         "import", "from", "macro", "endmacro", "call", "endcall", "filter", "endfilter", "with", "endwith",
         "autoescape", "endautoescape", "raw", "endraw")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TemplateSource:
    """One part of a message: `name` for errors (`invitation.html`), Jinja2 `text`, `is_html` = autoescape."""

    name: str
    text: str
    is_html: bool


@dataclass(frozen=True, kw_only=True)
class File:
    """A template as parsed: its newlines are `\\n`."""

    name: str
    text: str


def template_error(files: list[File], position: int, problem: str, fix: str) -> TemplateError:
    """The error at a packed position: culprit `name:line:column`, with the line's excerpt."""
    file, line, column = _unpack(position)
    excerpt = _excerpt(files[file].text, line, column)
    return TemplateError(f"{files[file].name}:{line}:{column}", f"{problem} in `{excerpt}`", fix)


def suggestion(name: str, known: Iterable[str]) -> str:
    """`Did you mean x? ` or nothing: the nearest known name."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]}? " if near else ""


def start_position(file: int) -> int:
    """The packed position of a file's first character."""
    return (file << _LINE_BITS | 1) << _COLUMN_BITS | 1


def check_depth(files: list[File], tree: nodes.Node) -> None:
    """Raises TemplateError where a tree is too deep to walk."""
    stack = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise _too_deep(files, node.lineno)
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())


def parse(files: list[File], name: str, text: str) -> nodes.Template:
    """The tree of one template, added to `files`. Raises TemplateError: bad syntax, unknown filter or test, misuse."""
    source = text.replace("\r\n", "\n").replace("\r", "\n")
    files.append(File(name=name, text=source))
    if len(source) > _MAX_TEMPLATE_CHARACTERS or source.count("\n") >= _MAX_LINE:
        raise TemplateError(
            name, "template is too long", f"Keep it under {_MAX_TEMPLATE_CHARACTERS:,} characters."
        )
    environment = template_environment(is_html=False)
    tokens = _Positioned(file=len(files) - 1, text=source)
    try:
        parser = Parser(environment, "", name)
        stream = environment.lexer.wrap(tokens.read(environment.lexer.tokeniter(source, name)), name)
        parser.stream = TokenStream(stream, name, None)
        tree = parser.parse()
    except TemplateSyntaxError as error:
        # Errors of the lexer itself carry a bare line; the place is where it stopped.
        position = error.lineno if error.lineno > _MAX_COLUMN else tokens.position()
        raise _syntax_error(files, position, str(error.message)) from None
    except ValueError:
        raise template_error(files, tokens.position(), "number is too long", "Shorten it.") from None
    except RecursionError:
        raise _too_deep(files, tokens.position()) from None
    _check(files, tree, environment.filters.keys(), environment.tests.keys())
    return tree


class _Positioned:
    """Replaces line numbers in a token stream with packed positions, by finding each token in the text."""

    def __init__(self, *, file: int, text: str) -> None:
        self._file = file
        self._text = text
        self._offset = 0
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def read(self, tokens: Iterator[tuple[int, str, str]]) -> Iterator[tuple[int, str, str]]:
        for _, kind, value in tokens:
            # What lies between tokens is white space that `-` stripped, so the first match is the token.
            self._offset = max(self._text.find(value, self._offset), self._offset)
            yield self.position(), kind, value
            self._offset += len(value)

    def position(self) -> int:
        line = bisect.bisect_right(self._line_starts, self._offset)
        column = min(self._offset - self._line_starts[line - 1] + 1, _MAX_COLUMN)
        return ((self._file << _LINE_BITS | line) << _COLUMN_BITS) | column


def _unpack(position: int) -> tuple[int, int, int]:
    line = position >> _COLUMN_BITS
    return line >> _LINE_BITS, line & _MAX_LINE, position & _MAX_COLUMN


def _excerpt(text: str, line: int, column: int) -> str:
    content = text.split("\n")[line - 1]
    start = max(0, min(column - 1 - _EXCERPT_WIDTH // 3, len(content) - _EXCERPT_WIDTH))
    shown = content[start : start + _EXCERPT_WIDTH].strip()
    return shown.encode(errors="replace").decode()


def _syntax_error(files: list[File], position: int, message: str) -> TemplateError:
    unknown = re.match(r"Encountered unknown tag '(\w+)'", message)
    fix = "Correct the tag or expression here."
    if unknown:
        message = f"there is no tag {unknown[1]}"
        fix = f"{suggestion(unknown[1], _TAGS)}Use the tags of Jinja2."
    elif message.startswith("Unexpected end of template"):
        fix = "Add the missing end tag."
    first_sentence = message.split(". ")[0].rstrip(".")
    return template_error(files, position, first_sentence[:1].lower() + first_sentence[1:], fix)


def _too_deep(files: list[File], position: int) -> TemplateError:
    return template_error(
        files, position, f"nesting is deeper than {_MAX_DEPTH} levels", "Split it with set, or flatten it."
    )


def _check(files: list[File], tree: nodes.Template, filters: Iterable[str], tests: Iterable[str]) -> None:
    """Refuses trees too deep to walk, unknown filters and tests, filters misused, and lone surrogates."""
    check_depth(files, tree)
    known = {nodes.Filter: ("filter", frozenset(filters)), nodes.Test: ("test", frozenset(tests))}
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        if type(node) in known and isinstance(node, nodes.Filter | nodes.Test):
            kind, names = known[type(node)]
            if node.name not in names:
                fix = f"{suggestion(node.name, names)}Use a {kind} of Jinja2 or of this project."
                raise template_error(files, node.lineno, f"there is no {kind} {node.name}", fix)
            wrong = misuse(node) if isinstance(node, nodes.Filter) else None
            if wrong is not None:
                raise template_error(files, node.lineno, *wrong)
        text = getattr(node, "value", None) or getattr(node, "data", None)
        if isinstance(text, str) and not text.isascii() and not _is_encodable(text):
            raise template_error(
                files, node.lineno, "text has half of a surrogate pair", "Write the character itself."
            )
        stack.extend(node.iter_child_nodes())


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)

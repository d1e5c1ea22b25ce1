"""A template's text without its expressions, every branch in it, and what its HTML says. Needs no values."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from jinja2 import nodes

from comms_pipeline.domain.html import VOID_ELEMENTS
from comms_pipeline.personalization.inheritance import Program

SLOT = "\ue000"
"""Stands for whatever an expression prints."""

_MAY_STAY_OPEN = frozenset({"p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option"})


@dataclass(frozen=True, kw_only=True)
class Tag:
    """A start tag and where it stands, `template:line:column`."""

    name: str
    attributes: dict[str, str]
    place: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What an HTML template's tags say. `misplaced` are (place, what) of tags that do not pair up."""

    tags: list[Tag]
    misplaced: list[tuple[str, str]]

    def named(self, name: str) -> list[Tag]:
        """All tags of a name, in order."""
        return [tag for tag in self.tags if tag.name == name]


@dataclass(frozen=True, kw_only=True)
class LiteralText:
    """All literal text of one part in reading order, a `SLOT` where an expression prints."""

    text: str
    starts: list[tuple[int, str]] = field(default_factory=list)
    """(offset, `template:line:column`) of each piece of text."""

    def place(self, offset: int) -> str:
        """Where the character at `offset` stands in its template."""
        start, place = max((each for each in self.starts if each[0] <= offset), default=(0, ":1:1"))
        name, line, column = place.rsplit(":", 2)
        before = self.text[start:offset]
        if "\n" not in before:
            return f"{name}:{line}:{int(column) + len(before)}"
        return f"{name}:{int(line) + before.count(chr(10))}:{len(before) - before.rfind(chr(10))}"


def literal_text(program: Program, part: str) -> LiteralText:
    """The literal text of a compiled part: includes and blocks in place, all branches one after the other."""
    pieces: list[str] = []
    starts: list[tuple[int, str]] = []
    length = 0
    for node in _printed(program.trees[part].body):
        piece = node.data if isinstance(node, nodes.TemplateData) else SLOT
        if isinstance(node, nodes.TemplateData):
            starts.append((length, program.error(node, "", "").culprit))
        pieces.append(piece)
        length += len(piece)
    return LiteralText(text="".join(pieces), starts=starts)


def _printed(body: Iterable[nodes.Node]) -> Iterator[nodes.Node]:
    """Literal text and printed expressions, in reading order."""
    for node in body:
        if isinstance(node, nodes.Output):
            yield from node.nodes
        elif isinstance(node, nodes.TemplateData | nodes.Expr):
            yield node
        elif isinstance(node, nodes.Stmt):
            yield from _printed(
                child for child in node.iter_child_nodes() if not isinstance(child, nodes.Expr)
            )


def read_page(literal: LiteralText) -> Page:
    """The tags of an HTML part."""
    reader = _Reader(literal)
    reader.feed(literal.text)
    reader.close()
    return Page(tags=reader.tags, misplaced=reader.finish())


class _Reader(HTMLParser):
    """Collects start tags; keeps a stack to find those that do not pair up."""

    def __init__(self, literal: LiteralText) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[Tag] = []
        self._literal = literal
        self._line_starts = [0]
        self._line_starts += [at + 1 for at, character in enumerate(literal.text) if character == "\n"]
        self._open: list[Tag] = []
        self._misplaced: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = Tag(name=tag, attributes={name: value or "" for name, value in attrs}, place=self._place())
        self.tags.append(found)
        if tag not in VOID_ELEMENTS:
            self._open.append(found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID_ELEMENTS:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open[-1].name != tag and self._open[-1].name in _MAY_STAY_OPEN:
            self._open.pop()
        names = [each.name for each in self._open]
        if tag in names:
            inner = self._open[len(names) - names[::-1].index(tag) :]
            self._misplaced += _unclosed(inner)
            del self._open[len(names) - len(inner) - 1 :]
        elif tag not in VOID_ELEMENTS:
            self._misplaced.append((self._place(), f"</{tag}> closes nothing"))

    def finish(self) -> list[tuple[str, str]]:
        """Every tag without its other half."""
        return self._misplaced + _unclosed(self._open)

    def _place(self) -> str:
        line, column = self.getpos()
        return self._literal.place(self._line_starts[line - 1] + column)


def _unclosed(tags: list[Tag]) -> list[tuple[str, str]]:
    return [(tag.place, f"<{tag.name}> is never closed") for tag in tags if tag.name not in _MAY_STAY_OPEN]

"""Finds the tags of an HTML page where they stand in its text, as browsers read them. Changes nothing.

Source of the rules: the tokenizer of the HTML standard (html.spec.whatwg.org, 13.2.5). What stands in comments
(conditional ones too), styles, scripts and titles is no tag.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

# Possessive throughout: time grows with the length of the text only.
_ATTRIBUTE = re.compile(
    r"""[\s/]*+(?P<name>[^\s/>][^\s/>=]*+)(?:\s*+=\s*+(?P<value>"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+))?+"""
)
_ATTRIBUTES = r"""(?:[\s/]++|[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+))?+)*+"""
_MARKUP = re.compile(
    rf"""<!--(?:-?>|.*?(?:--!?>|\Z))
    |<(?P<raw>style|script|title|textarea|xmp|iframe|noembed|noframes)(?=[\s/>])(?P<raw_attributes>{_ATTRIBUTES})>
        .*?(?:</(?P=raw)(?=[\s/>])|\Z)
    |<(?P<name>[a-z][^\s/>]*+)(?P<attributes>{_ATTRIBUTES})>
    |<[!?/][^>]*+>""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)


class Attribute(NamedTuple):
    """`start` and `end` span name and value; `value` is as written, without quotes."""

    name: str
    value: str
    start: int
    end: int
    value_start: int

    @property
    def meaning(self) -> str:
        """The value with its character references resolved."""
        return unescape(self.value)


class Tag(NamedTuple):
    """A start tag. `start` and `end` span it from "<" to ">"; `name_end` and `attributes_end` lie between."""

    name: str
    start: int
    end: int
    name_end: int
    attributes: tuple[Attribute, ...]

    @property
    def attributes_end(self) -> int:
        """Where a further attribute goes."""
        return self.attributes[-1].end if self.attributes else self.name_end

    def attribute(self, name: str) -> Attribute | None:
        """The attribute of this name; of several, browsers take the first."""
        return next((each for each in self.attributes if each.name == name), None)


def start_tags(page: str) -> Iterator[Tag]:
    """Every start tag in order."""
    for match in _MARKUP.finditer(page):
        group = "raw" if match["raw"] else "name"
        if match[group]:
            attributes = match.span("raw_attributes" if match["raw"] else "attributes")
            yield Tag(
                name=match[group].lower(),
                start=match.start(),
                end=attributes[1] + 1,
                name_end=match.end(group),
                attributes=tuple(_attributes(page, *attributes)),
            )


def _attributes(page: str, start: int, end: int) -> Iterator[Attribute]:
    for match in _ATTRIBUTE.finditer(page, start, end):
        value = match["value"] or ""
        quotes = 1 if value[:1] in ('"', "'") else 0
        yield Attribute(
            name=match["name"].lower(),
            value=value[quotes : len(value) - quotes],
            start=match.start("name"),
            end=match.end(),
            value_start=match.start("value") + quotes if match["value"] is not None else match.end(),
        )

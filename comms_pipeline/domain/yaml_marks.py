"""YAML text → plain values that remember their lines. Knows nothing of what the values mean; reads no file.

A smaller YAML than PyYAML's default, so that nothing people write turns into something else: only `true` and
`false` are booleans (`no` stays the language Norwegian), dates and `12:30` stay text, numbers with leading
zeros or a plus sign stay text (postcodes, telephone numbers). Aliases and tags are refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from comms_pipeline.domain.validation import Path

MAX_DEPTH = 40

_NULL, _BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_STR, _MAP, _SEQ = "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_RESOLVERS = {
    _NULL: re.compile(r"(?:~|null|)$"),
    _BOOL: re.compile(r"(?:true|false)$"),
    _INT: re.compile(r"-?(?:0|[1-9][0-9]*)$"),
    _FLOAT: re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)$"),
}
_MAX_INT_DIGITS = 18


class YamlSyntaxError(Exception):
    """The text is not the YAML we read. `line` counts from 1."""

    def __init__(self, line: int, problem: str, fix: str) -> None:
        self.line = line
        self.problem = problem
        self.fix = fix
        super().__init__(f"line {line}: {problem}. {fix}")


@dataclass(frozen=True, kw_only=True)
class MarkedYaml:
    """A document: its plain value, and the line (from 1) of every path in it."""

    value: object
    lines: Mapping[Path, int]

    def line(self, path: Sequence[str | int]) -> int:
        """The line of the node at `path`, or of the nearest node above it that exists.

        Parts that name nothing in the document (pydantic's union tags, missing keys) are passed over.
        """
        at: Path = ()
        for part in path:
            if (*at, part) in self.lines:
                at = (*at, part)
        return self.lines[at]


class _Loader(yaml.SafeLoader):
    """Composes nodes only; values are built by `_Builder`."""

    yaml_implicit_resolvers = {None: list(_RESOLVERS.items())}  # noqa: RUF012 it is PyYAML's attribute

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # An alias of an alias of an alias ... is a few lines that stand for gigabytes.
        if self.check_event(yaml.AliasEvent):
            mark: yaml.Mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise YamlSyntaxError(mark.line + 1, "aliases (*name) are not used here", "Write the value out")
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> MarkedYaml:
    """Read one document. Raises `YamlSyntaxError` for syntax errors, duplicate keys, aliases and tags."""
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or "it cannot be read").rstrip(".")
        raise YamlSyntaxError(
            mark.line + 1 if mark else 1, f"not valid YAML: {problem}", "Check indentation and quotes"
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlSyntaxError(line, "a character that YAML does not allow", "Remove it") from None
    except RecursionError:
        raise YamlSyntaxError(1, "the file is nested too deeply", "Flatten it") from None
    lines: dict[Path, int] = {(): 1}
    value = None if node is None else _Builder(lines=lines).build(node, ())
    return MarkedYaml(value=value, lines=lines)


@dataclass(frozen=True, kw_only=True)
class _Builder:
    lines: dict[Path, int]

    def build(self, node: yaml.Node, path: Path) -> object:
        if len(path) > MAX_DEPTH:
            raise YamlSyntaxError(node.start_mark.line + 1, "the file is nested too deeply", "Flatten it")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return [self.build(item, (*path, position)) for position, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlSyntaxError(line, "a key is not plain text", "Write 'key: value'")
            key = str(key_node.value)
            if key in values:
                raise YamlSyntaxError(line, f"duplicate key '{key}'", "Remove one of them")
            # A block starts below its key: the key's line is where people look.
            if not isinstance(value_node, yaml.ScalarNode):
                self.lines[(*path, key)] = line
            values[key] = self.build(value_node, (*path, key))
        return values


def _scalar(node: yaml.Node) -> object:
    text = str(node.value)
    match node.tag:
        case tag if tag == _STR:
            return text
        case tag if tag == _NULL:
            return None
        case tag if tag == _BOOL and text in {"true", "false"}:
            return text == "true"
        case tag if tag == _INT and _RESOLVERS[_INT].match(text):
            # Beyond what a number column holds exactly, the digits matter more than the number.
            return int(text) if len(text) <= _MAX_INT_DIGITS else text
        case tag if tag == _FLOAT and _RESOLVERS[_FLOAT].match(text):
            return float(text)
    raise YamlSyntaxError(node.start_mark.line + 1, f"tag '{node.tag}' is not used here", "Remove the tag")

r"""Patterns of JSON objects alike: the same names in the same order, with values of the same types.

Machines write the same few shapes over and over. The first object of a shape is parsed; of it a regular expression is
made that takes the values out of all the others, as columns, and that nothing but such an object matches. Knows no
provider, reads no column.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson

_MOST_MEMBERS = 60
# Escapes but of code points: half a pair of them makes the whole body no JSON.
_CHARACTERS = r'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*'
_STRING = f'"{_CHARACTERS}"'
_NUMBER = "(?:0|[1-9][0-9]{0,10})"
_MOST = 99_999_999_999
"""The largest number of those."""


@dataclass(frozen=True, kw_only=True)
class JsonShape:
    """One shape. `pattern` has a group by name for each field asked for that is there and no null, and one, `part…`,
    for each run of `parts`: what is left when the hidden members are taken out.

    `types` has the Python type of every field asked for that is there.
    """

    pattern: str
    parts: tuple[str, ...]
    types: dict[str, type]


def shape_of(text: str, *, fields: Collection[str], hidden: Collection[str]) -> JsonShape | None:
    r"""The shape of an object, given without its braces; None for one that is not plain.

    Plain is compact JSON of texts, natural numbers up to 11 digits, booleans, nulls, lists of texts, and objects of
    these. `hidden` are names in lower case. Escapes are left in the values: whoever takes them out reads `\` first.
    """
    members = _plain(text)
    if members is None:
        return None
    runs: list[tuple[bool, list[str]]] = []
    types = {}
    for name, value in members.items():
        pattern = _value(value)
        if pattern is None:
            return None
        if name in fields:
            types[name] = type(value)
            pattern = f'"(?P<{name}>{_CHARACTERS})"' if isinstance(value, str) else f"(?P<{name}>{pattern})"
        is_hidden = name.lower() in hidden
        if not runs or runs[-1][0] != is_hidden:
            runs.append((is_hidden, []))
        runs[-1][1].append(f"{_name(name)}:{pattern}")
    patterns: list[str] = []
    parts: list[str] = []
    for is_hidden, run in runs:
        joined = ",".join(run)
        if not is_hidden:
            parts.append(f"part{len(parts)}")
            joined = f"(?P<{parts[-1]}>{joined})"
        patterns.append(joined)
    return JsonShape(pattern=f"^{','.join(patterns)}$", parts=tuple(parts), types=types) if parts else None


def _plain(text: str) -> dict[str, Any] | None:
    braced = f"{{{text}}}".encode()
    try:
        members = orjson.loads(braced)
    except orjson.JSONDecodeError:
        return None
    # What is written as it was read has no name twice, no space between its parts and no odd number.
    is_plain = len(members) <= _MOST_MEMBERS and orjson.dumps(members) == braced
    return members if is_plain else None


def _value(value: object) -> str | None:
    """What matches the values of the same type; None where it is no plain one."""
    match value:
        case bool():
            return "(?:true|false)"
        case None:
            return "null"
        case str():
            return _STRING
        case int() if 0 <= value <= _MOST:
            return _NUMBER
        case list() if all(isinstance(item, str) for item in value):
            return rf"\[{_STRING}(?:,{_STRING})*\]" if value else r"\[\]"
        case dict():
            members = [(_name(name), _value(inner)) for name, inner in value.items()]
            if any(inner is None for _, inner in members):
                return None
            return rf"\{{{','.join(f'{name}:{inner}' for name, inner in members)}\}}"
    return None


def _name(name: str) -> str:
    return re.escape(orjson.dumps(name).decode())

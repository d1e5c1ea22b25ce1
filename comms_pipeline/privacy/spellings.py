"""How an address may be written in foreign text: as a pattern that Python, Postgres and DuckDB read alike. Pure.

Only what Python's `re`, Postgres' advanced expressions and RE2 have in common is used: no look-around, two groups.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from mmap import mmap

REDACTED = "<erased>"

# What may stand beside an address without being part of a longer one. Group 1 is before it, group 2 after.
# Percent escapes count as what they stand for, and so do JSON's. `+` is a space in forms, part of an address elsewhere.
_PERCENT = "%(?:[01346-9A-F][0-9A-F]|5[0-9A-E]|2[0-9ACF])"
_JSON = r"\\{1,2}(?:[nrtbf]|u[0-9A-F]{4})"
_BEFORE_EMAIL = rf"(^|[^A-Za-z0-9_.+%-]|{_PERCENT}|{_JSON})"
_BEFORE_EMAIL_IN_FORM = rf"(^|[^A-Za-z0-9_.%-]|{_PERCENT}|{_JSON})"
_AFTER_EMAIL = r"($|[^A-Za-z0-9.-]|\.(?:$|[^A-Za-z0-9]))"
_BEFORE_PHONE = "(^|[^0-9]|%[0-9A-F]{2})"
_AFTER_PHONE = "($|[^0-9])"
_BETWEEN_DIGITS = "(?:[ ().+-]|%2[0-9A-F]){0,3}"


@dataclass(frozen=True, kw_only=True)
class Spellings:
    """Every spelling of one e-mail address or E.164 number. Patterns are to be matched whatever the case."""

    address: str

    @property
    def is_email(self) -> bool:
        """Whether it is an e-mail address; a telephone number otherwise."""
        return "@" in self.address

    @cached_property
    def pattern(self) -> str:
        """The pattern for text of any kind."""
        if self.is_email:
            return _BEFORE_EMAIL + "".join(map(_character, self.address)) + _AFTER_EMAIL
        digits = [digit for digit in self.address if digit.isdigit()]
        return _BEFORE_PHONE + _BETWEEN_DIGITS.join(digits) + _AFTER_PHONE

    @cached_property
    def form_pattern(self) -> str:
        """The pattern for request bodies and query strings, where `+` may be a space."""
        if not self.is_email:
            return self.pattern
        return _BEFORE_EMAIL_IN_FORM + self.pattern.removeprefix(_BEFORE_EMAIL)

    @property
    def anchor(self) -> str:
        """What no spelling changes but by case and by spaces between digits: looking for it first is quick."""
        if not self.is_email:
            return "".join(digit for digit in self.address if digit.isdigit())
        local, _, domain = self.address.lower().rpartition("@")
        runs = re.findall("[a-z0-9]+", local) or re.findall("[a-z0-9]+", domain)
        return str(max(runs, key=len, default=""))

    @cached_property
    def _bytes(self) -> re.Pattern[bytes]:
        return re.compile(self.pattern.encode(), re.IGNORECASE)

    @cached_property
    def _form_bytes(self) -> re.Pattern[bytes]:
        return re.compile(self.form_pattern.encode(), re.IGNORECASE)

    def is_in(self, data: bytes | mmap) -> bool:
        """Whether it is in `data` in any spelling; longer addresses that merely contain it do not count."""
        return self._bytes.search(data) is not None

    def erased_from(self, data: bytes) -> bytes:
        """`data`, a request's body or query string, with every spelling replaced."""
        while True:
            # Neighbours share what stands between them, so one pass may leave every other one.
            data, count = self._form_bytes.subn(rb"\1" + REDACTED.encode() + rb"\2", data)
            if not count:
                return data


def _character(character: str) -> str:
    """A character as it is, percent-encoded, as JSON or HTML escape, or as Postgres shows the bytes of `bytea`."""
    if character.isascii() and character.isalnum():
        return character
    encoded = character.encode()
    forms = [
        *dict.fromkeys(re.escape(form) for form in (character, character.lower(), character.upper())),
        "".join(f"%{byte:02X}" for byte in encoded),
        "".join(rf"\\{{1,2}}u{unit:04x}" for unit in _utf16(character)),
        f"&#(?:0*{ord(character)}|x0*{ord(character):x});",
    ]
    if not character.isascii():
        forms.append("".join(rf"\\{byte:03o}" for byte in encoded))
    return f"(?:{'|'.join(forms)})"


def _utf16(character: str) -> list[int]:
    data = character.encode("utf-16-be")
    return [int.from_bytes(data[place : place + 2]) for place in range(0, len(data), 2)]

"""Texts as mail carries them: line breaks, line lengths, dots, quoted-printable, encoded words. Pure.

A skeleton is literal text and slots; slots are columns `s0`…`sN` of the recipients. What can be decided about all
recipients at once is decided from facts about whole columns.
"""

import binascii
import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from comms_pipeline.domain.content import Skeleton

LINE_BREAK = r"\r\n|\r|\n"
_WORD_BYTES = 45
"""Of text in one encoded word: 60 characters of base64, and no more than 75 in all (RFC 2047 2)."""
_MAX_ENCODED_LINE = 76
_MAX_NAME = 200
# A subject that looks like an encoded word would be decoded; very long ones would make lines nobody must take.
_PLAIN_HEADER = r"^(?:[!-~](?:[ -~]{0,800}[!-~])?)?$"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is true of a slot in a batch: of all its values, or (`has_…`) of one at least."""

    longest_line: int
    """In bytes; an upper bound where lines end in CR."""
    is_ascii: bool
    has_break: bool
    has_empty: bool
    has_first_dot: bool
    has_last_break: bool
    has_last_cr: bool


def slot_facts(recipients: pl.DataFrame, slots: Collection[int]) -> dict[int, Facts]:
    """The facts of each slot, of one row at least."""
    if not slots:
        return {}
    facts = recipients.select(_facts_of(pl.col(f"s{slot}")).alias(str(slot)) for slot in slots).row(0)
    return {slot: Facts(**found) for slot, found in zip(slots, facts, strict=True)}


def _facts_of(text: pl.Expr) -> pl.Expr:
    return pl.struct(
        longest_line=text.str.split("\n").explode().str.len_bytes().max(),
        is_ascii=(text.str.len_bytes() == text.str.len_chars()).all(),
        has_break=text.str.contains("[\r\n]").any(),
        has_empty=(text == "").any(),
        has_first_dot=text.str.starts_with(".").any(),
        has_last_break=text.str.ends_with("\n").any(),
        has_last_cr=text.str.ends_with("\r").any(),
    )


def merged(skeleton: Skeleton) -> Skeleton:
    """The same without empty literals and with neighbouring ones joined."""
    pieces: list[str | int] = []
    for piece in skeleton:
        if isinstance(piece, str) and pieces and isinstance(pieces[-1], str):
            pieces[-1] += piece
        elif piece != "":
            pieces.append(piece)
    return tuple(pieces)


def with_crlf(text: str) -> str:
    """Every line break as CRLF."""
    return re.sub(LINE_BREAK, "\r\n", text)


def longest_line(skeleton: Skeleton, facts: Mapping[int, Facts]) -> int:
    """Bytes of the longest line any recipient can get, line break not counted; never too small."""
    longest = width = 0
    for piece in skeleton:
        if isinstance(piece, int):
            # The slot's own breaks are not counted on: its neighbours may share any of its lines.
            width += facts[piece].longest_line
            continue
        first, *others = (len(line.encode()) for line in with_crlf(piece).split("\r\n"))
        width += first
        longest = max(longest, width, *others)
        width = others[-1] if others else width
    return max(longest, width)


def needs_joining(skeleton: Skeleton, facts: Mapping[int, Facts]) -> bool:
    """Whether pieces cannot be encoded apart from one another, for some recipient.

    That is so when a CR and its LF may come from two pieces, or when it depends on values whether a dot begins
    a line.
    """
    is_line_start, is_sure = True, True
    for piece in skeleton:
        if isinstance(piece, str):
            if piece.endswith("\r") or (piece.startswith(".") and is_line_start and not is_sure):
                return True
            is_line_start, is_sure = piece.endswith("\n"), True
        else:
            fact = facts[piece]
            if fact.has_last_cr or (fact.has_first_dot and is_line_start):
                return True
            is_line_start, is_sure = (is_line_start and fact.has_empty) or fact.has_last_break, False
    return False


def stuffed(text: str, *, is_first: bool) -> str:
    """A dot more before each line that begins with one (RFC 5321 4.5.2). `text` begins a line if it is first."""
    text = text.replace("\n.", "\n..")
    return f".{text}" if is_first and text.startswith(".") else text


def stuffed_slot(slot: pl.Expr, fact: Facts, *, is_first: bool) -> pl.Expr:
    """A slot with its line breaks as CRLF and its dots doubled."""
    if fact.has_break:
        slot = slot.str.replace_all(LINE_BREAK, "\r\n").str.replace_all("\n.", "\n..", literal=True)
    return slot.str.replace(r"^\.", "..") if is_first and fact.has_first_dot else slot


def quoted_printable(text: str) -> str:
    """`text` as lines of at most 76 characters (RFC 2045 6.7), dots doubled, ended so that more can follow.

    The last line ends in a soft break where the text does not end in a line break: pieces encoded apart decode to
    the pieces joined. An empty text stays empty.
    """
    # binascii takes the line end of its soft breaks from the text; with plain LF all of them are alike.
    encoded = binascii.b2a_qp(re.sub(LINE_BREAK, "\n", text).encode(), istext=True).decode("ascii")
    # It counts a space before a line break as one character and writes three.
    encoded = re.sub(r"^(.{74,})(=20|=09)$", r"\1=\n\2", encoded, flags=re.MULTILINE)
    if encoded and not encoded.endswith("\n"):
        if len(encoded) - encoded.rfind("\n") > _MAX_ENCODED_LINE:
            # A full last line has no room for the soft break: its last character, or escape, moves down.
            cut = -3 if encoded[-3] == "=" else -1
            encoded = f"{encoded[:cut]}=\n{encoded[cut:]}"
        encoded += "=\n"
    return stuffed(encoded, is_first=True).replace("\n", "\r\n")


def quoted_printable_column(texts: pl.Series) -> pl.Series:
    """`quoted_printable` of every value, computed once for equal ones."""
    distinct = texts.unique()
    encoded = [quoted_printable(text) for text in distinct.to_list()]
    return texts.replace_strict(distinct, pl.Series(encoded, dtype=pl.String), return_dtype=pl.String)


def encoded_words(text: str) -> str:
    """`text` as encoded words on folded lines (RFC 2047), cut between characters."""
    words, word = [], b""
    for character in text:
        encoded = character.encode()
        if len(word) + len(encoded) > _WORD_BYTES:
            words.append(word)
            word = b""
        word += encoded
    words.append(word)
    return "\r\n ".join(f"=?utf-8?b?{b64encode(word).decode()}?=" for word in words)


def header_column(texts: pl.Series) -> pl.Series:
    """Unstructured header values: plain ones as they are, others as encoded words."""
    is_plain = texts.str.contains(_PLAIN_HEADER) & ~texts.str.contains("=?", literal=True)
    if is_plain.all():
        return texts
    others = texts.filter(~is_plain).unique().to_list()
    words = [encoded_words(text) for text in others]
    return texts.replace_strict(others, words, default=texts, return_dtype=pl.String)


def phrase(name: str) -> str:
    """A display name, quoted or as encoded words; without control characters."""
    if not name.isascii() or "=?" in name or len(name) > _MAX_NAME:
        return encoded_words(name)
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

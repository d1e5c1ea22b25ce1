"""How many segments a text message takes: GSM-7 or UCS-2, and how they split. No prices, no sending.

Rules: 3GPP TS 23.038 (alphabet), 23.040 (concatenation). A message of one segment holds 160 septets or
70 UTF-16 units; each segment of a longer one gives up space to its header and holds 153 or 67. Escape
pairs and surrogate pairs never straddle two segments, so a message can take one more than its length says.
"""

import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

GSM7_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM7_EXTENDED = "\f^{}\\[~]|€"
"""Characters sent as an escape and a septet: they count twice."""

_EXTENDED_CLASS = f"[{re.escape(GSM7_EXTENDED)}]"
_GSM7_ONLY = f"^[{re.escape(GSM7_BASIC + GSM7_EXTENDED)}]*$"
_ASTRAL_CLASS = r"[\x{10000}-\x{10FFFF}]"
_ALPHABET = frozenset(GSM7_BASIC + GSM7_EXTENDED)
_DOUBLE = frozenset(GSM7_EXTENDED)


class SmsEncoding(StrEnum):
    """The alphabet a message travels in; one character outside GSM-7 turns the whole message to UCS-2."""

    GSM7 = "gsm7"
    UCS2 = "ucs2"


SINGLE_CAPACITY = {SmsEncoding.GSM7: 160, SmsEncoding.UCS2: 70}
"""Septets, or UTF-16 units, in a message of one segment."""
PART_CAPACITY = {SmsEncoding.GSM7: 153, SmsEncoding.UCS2: 67}
"""Septets, or UTF-16 units, in each segment of a longer message."""


def encoding(text: str) -> SmsEncoding:
    """GSM-7 when every character is in its alphabet (`Ç` is; `ç`, backtick, tab and nbsp are not)."""
    return SmsEncoding.GSM7 if _ALPHABET.issuperset(text) else SmsEncoding.UCS2


def segments(text: str) -> int:
    """How many segments `text` is sent and charged as; 0 for an empty text."""
    alphabet = encoding(text)
    is_double = _DOUBLE.__contains__ if alphabet is SmsEncoding.GSM7 else "\uffff".__lt__
    doubles = sum(map(is_double, text))
    units = len(text) + doubles
    if units <= SINGLE_CAPACITY[alphabet]:
        return min(units, 1)
    capacity = PART_CAPACITY[alphabet]
    if not doubles:
        return -(-units // capacity)
    count, used = 1, 0
    for character in text:
        width = 2 if is_double(character) else 1
        if used + width > capacity:
            count, used = count + 1, 0
        used += width
    return count


def segments_expr(text: "pl.Expr") -> "pl.Expr":
    """`segments` over a column of texts (String in, UInt32 out, null stays null).

    Only long texts that hold two-unit characters, where a pair may straddle, are counted one by one.
    """
    import polars as pl

    is_gsm7 = text.str.contains(_GSM7_ONLY)
    doubles = (
        pl.when(is_gsm7)
        .then(text.str.count_matches(_EXTENDED_CLASS))
        .otherwise(text.str.count_matches(_ASTRAL_CLASS))
    )
    units = text.str.len_chars() + doubles
    single = (
        pl.when(is_gsm7).then(SINGLE_CAPACITY[SmsEncoding.GSM7]).otherwise(SINGLE_CAPACITY[SmsEncoding.UCS2])
    )
    part = pl.when(is_gsm7).then(PART_CAPACITY[SmsEncoding.GSM7]).otherwise(PART_CAPACITY[SmsEncoding.UCS2])
    straddling = pl.when((units > single) & (doubles > 0)).then(text)
    return (
        pl.when(units <= single)
        .then(units.clip(upper_bound=1))
        .when(doubles == 0)
        .then((units + part - 1) // part)
        .otherwise(straddling.map_elements(segments, return_dtype=pl.UInt32))
        .cast(pl.UInt32)
    )

"""What finished messages lack or should not have, counted over a group as columns. Judges nothing, raises nothing."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape

import polars as pl

from comms_pipeline.domain.event import without_addresses
from comms_pipeline.personalization.html_tags import start_tags
from comms_pipeline.personalization.message import RenderedGroup
from comms_pipeline.personalization.slot_marks import SlotMarks

_ADDRESS_ATTRIBUTES = ("href", "src")
_SCHEMES = "mailto:|tel:|sms:|cid:|#"
_FEW = 100
_JOINED_AT_ONCE = 1_000
_NO_WORD = re.compile(r"[\W_]+")
_TAG = re.compile(r"<[^>]*>")
_MAX_SHOWN = 60


def unusable_links(group: RenderedGroup, public_url: str) -> Iterator[tuple[str, int]]:
    """The links and sources of the `html` part that lead nowhere from an inbox, and how many messages have each.

    What is at fault reads after "messages with".
    Those that begin with https, mailto, tel, sms, cid or # are fine, and http where `public_url` has it.
    """
    usable = rf"(?:https://[^\s/\"'>]|{_SCHEMES}|{re.escape(public_url)})"
    marks = SlotMarks.unused_in(group.parts.values())
    first_mark = re.compile(f"{marks.character}([0-9]+){marks.character}")
    for tag in start_tags(marks.text(group.parts["html"])):
        for name in _ADDRESS_ATTRIBUTES:
            attribute = tag.attribute(name)
            if attribute is None:
                continue
            address = attribute.meaning.strip()
            if slot := first_mark.match(address):
                column = group.slots[f"s{slot[1]}"]
                yield (
                    f"a <{tag.name} {name}> of a value",
                    int((~column.str.contains(rf"(?i)^\s*{usable}")).sum()),
                )
            elif not re.match(usable, address, re.IGNORECASE):
                shown = without_addresses(first_mark.sub("…", address).partition("?")[0])[:_MAX_SHOWN]
                yield f'<{tag.name} {name}="{shown}">', len(group.rows)
    yield "a link in a loop or macro", _unusable_inside(group, usable)


def _unusable_inside(group: RenderedGroup, usable: str) -> int:
    """Messages with such a link in what a loop or macro wrote."""
    found = pl.repeat(False, len(group.rows), eager=True)
    for slot in _slots(group, "html"):
        column = group.slots[f"s{slot}"]
        if column.str.contains("<", literal=True).any():
            rest = column.str.replace_all(rf"(?i)\s(?:href|src)\s*=\s*[\"']?\s*{usable}", "")
            found |= rest.str.contains(r"(?i)<[^>]*\s(?:href|src)\s*=")
    return int(found.sum())


def messages_without(group: RenderedGroup, part: str, texts: pl.Series) -> int:
    """How many messages do not hold their own of `texts` (one for each row) in a part."""
    found = pl.repeat(False, len(group.rows), eager=True)
    for slot in _slots(group, part):
        found |= _contains(group.slots[f"s{slot}"], texts)
        if found.all():
            return 0
    return sum(int((~_contains(joined, texts[rows])).sum()) for rows, joined in _joined(group, part, ~found))


def messages_without_words(group: RenderedGroup, part: str, words: str) -> int:
    """How many messages do not hold `words` in a part, however these are set: case, blanks and marks do not matter."""
    is_html = part == "html"
    wanted = _letters(words, is_html=False)
    literal = "\n".join(piece if isinstance(piece, str) else "\x00" for piece in group.parts[part])
    if wanted in _letters(literal, is_html=is_html):
        return 0
    found = pl.repeat(False, len(group.rows), eager=True)
    for slot in _slots(group, part):
        column = group.slots[f"s{slot}"]
        distinct = column.unique()
        if len(distinct) <= _FEW:
            said = [text for text in distinct.to_list() if wanted in _letters(text, is_html=is_html)]
            found |= column.is_in(said)
    return sum(
        wanted not in _letters(text, is_html=is_html)
        for _, joined in _joined(group, part, ~found)
        for text in joined.to_list()
    )


def _slots(group: RenderedGroup, part: str) -> list[int]:
    return list(dict.fromkeys(piece for piece in group.parts[part] if isinstance(piece, int)))


def _contains(column: pl.Series, texts: pl.Series) -> pl.Series:
    frame = pl.DataFrame({"text": column, "wanted": texts})
    return frame.select(pl.col("text").str.contains(pl.col("wanted"), literal=True)).to_series()


def _joined(group: RenderedGroup, part: str, mask: pl.Series) -> Iterator[tuple[pl.Series, pl.Series]]:
    """Full texts of some of the messages with their row numbers in the group: what is sought may lie across slots."""
    wanted = mask.arg_true()
    for start in range(0, len(wanted), _JOINED_AT_ONCE):
        rows = wanted[start : start + _JOINED_AT_ONCE]
        slots = group.slots[rows] if group.slots.width else pl.DataFrame(height=len(rows))
        yield rows, replace(group, rows=group.rows[rows], slots=slots).join(part)


def _letters(text: str, *, is_html: bool) -> str:
    return _NO_WORD.sub("", unescape(_TAG.sub("", text)) if is_html else text).casefold()

"""Makes e-mail bodies of rendered groups: CSS in the tags, preheader, text part, our own tracking. No template here.

Works on skeletons, once for each: what recipients share is finished once, whatever their number. Slots stay slots.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

import polars as pl

from comms_pipeline.domain.content import Skeleton
from comms_pipeline.domain.links import Links
from comms_pipeline.personalization.html_tags import start_tags
from comms_pipeline.personalization.inlining import inline_css
from comms_pipeline.personalization.message import RenderedGroup
from comms_pipeline.personalization.plain_text import plain_column, plain_text
from comms_pipeline.personalization.slot_marks import SlotMarks

PREHEADER = "preheader"
"""The part that inboxes show after the subject; it becomes the beginning of the `html` part."""

_HIDDEN = (
    '<div style="display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;font-size:1px;line-height:1px;'
    'mso-hide:all;">{text}</div>'
)
# Characters that take room and show nothing, so that no inbox goes on with the words of the page.
_PADDING = "&#847;&zwnj;&nbsp;" * 60
_PIXEL = '<img src="{address}" width="1" height="1" alt="" style="display:block;border:0;">'
# Hidden from eyes, screen readers and the Tab key; what follows it reads the page as text. No provider may make a
# tracked link of it: SendGrid's and Mailgun's attributes for that.
_TRAP = (
    '<a href="{address}" rel="nofollow" aria-hidden="true" tabindex="-1" clicktracking="off" disable-tracking="true" '
    'style="display:none;max-height:0;overflow:hidden;mso-hide:all;"></a>'
)
_CLICKABLE = frozenset({"a", "area"})
_HEAD_END = re.compile(r"</head\s*>|<!doctype[^>]*>", re.IGNORECASE)
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)

_Parts = Mapping[str, Skeleton]


@dataclass(frozen=True, kw_only=True)
class _Finished:
    """The parts of a group when they are done, and the slots they need beyond those there were.

    `texts`: slot of the text part → slot of the HTML it says in plain text. `clicks`: slot → where it leads to.
    `open_slot` is the pixel's, `trap_slot` the hidden link's.
    """

    parts: _Parts
    texts: Mapping[int, int]
    clicks: Mapping[int, str]
    open_slot: int | None
    trap_slot: int | None
    faults: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Bodies:
    """Finishes the groups of one compiled e-mail and remembers each skeleton.

    `tracking` signs links and pixel where we note opens and clicks ourselves; None leaves links as they are. `trap`
    signs the link that tells machines from people; None leaves it out.
    """

    tracking: Links | None = None
    trap: Links | None = None
    _done: dict[tuple[object, ...], _Finished] = field(default_factory=dict)

    def finish(self, group: RenderedGroup, recipients: pl.DataFrame) -> RenderedGroup:
        """The group with finished parts: `subject`, `html` and `text`.

        `recipients` has the columns `Links` wants and the rows that `group.rows` counts. Where the campaign has no
        text part, it is what the page says. Raises `UnsafeTarget` for a link that cannot be tracked.
        """
        key = (tuple(group.parts.items()), group.slots.width)
        if key not in self._done:
            self._done[key] = self._finished(group.parts, count(group.slots.width))
        finished = self._done[key]
        columns = self._tracking_columns(finished, recipients[group.rows])
        instead = {}
        for slot, source in finished.texts.items():
            html = group.slots[f"s{source}"]
            text = plain_column(html)
            if text is html:
                instead[slot] = source
            else:
                columns[slot] = text
        said = (
            instead.get(piece, piece) if isinstance(piece, int) else piece for piece in finished.parts["text"]
        )
        return RenderedGroup(
            rows=group.rows,
            parts={**finished.parts, "text": tuple(said)},
            slots=_widened(group.slots, columns),
        )

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the pages so far, in words; mail programs show them all the same."""
        return tuple(dict.fromkeys(fault for finished in self._done.values() for fault in finished.faults))

    def _finished(self, parts: _Parts, numbers: Iterator[int]) -> _Finished:
        marks = SlotMarks.unused_in(parts.values())
        inlined = inline_css(marks.text(parts["html"]), marks)
        page, faults = inlined.text, inlined.faults
        if any(isinstance(piece, int) for piece in parts["html"]) and len(parts["html"]) == 1:
            faults = ("the page as a whole is another for each recipient, so its CSS stays in <style>",)
        text, texts = parts.get("text"), dict[int, int]()
        if text is None:
            text, texts = _renumbered(marks.skeleton(plain_text(page)), numbers)
        if preheader := marks.text(parts.get(PREHEADER, ())).strip():
            page = _begun_with(page, _HIDDEN.format(text=preheader + _PADDING))
        clicks, open_slot, trap_slot = dict[int, str](), None, None
        if self.tracking is not None:
            page, clicks = _with_click_slots(page, marks, numbers, self.tracking.public_url)
            open_slot = next(numbers)
            page = _ended_with(page, _PIXEL.format(address=marks.mark(open_slot)))
        if self.trap is not None:
            trap_slot = next(numbers)
            page = _ended_with(page, _TRAP.format(address=marks.mark(trap_slot)))
        kept = {part: skeleton for part, skeleton in parts.items() if part != PREHEADER}
        return _Finished(
            parts={**kept, "html": marks.skeleton(page), "text": text},
            texts=texts,
            clicks=clicks,
            open_slot=open_slot,
            trap_slot=trap_slot,
            faults=faults,
        )

    def _tracking_columns(self, finished: _Finished, recipients: pl.DataFrame) -> dict[int, pl.Series]:
        columns: dict[int, pl.Series] = {}
        if self.tracking is not None:
            for slot, target in finished.clicks.items():
                columns[slot] = self.tracking.click_urls(recipients, target)
            if finished.open_slot is not None:
                columns[finished.open_slot] = self.tracking.open_urls(recipients)
        if self.trap is not None and finished.trap_slot is not None:
            columns[finished.trap_slot] = self.trap.trap_urls(recipients)
        return columns


def _renumbered(skeleton: Skeleton, numbers: Iterator[int]) -> tuple[Skeleton, dict[int, int]]:
    """The skeleton with slots of its own, and whose stead each takes."""
    own = {
        slot: next(numbers) for slot in dict.fromkeys(piece for piece in skeleton if isinstance(piece, int))
    }
    renumbered = tuple(own[piece] if isinstance(piece, int) else piece for piece in skeleton)
    return renumbered, {number: slot for slot, number in own.items()}


def _begun_with(page: str, first: str) -> str:
    """`first` as the first thing of the page's body."""
    body = next((tag.end for tag in start_tags(page) if tag.name == "body"), None)
    if body is None:
        body = max((match.end() for match in _HEAD_END.finditer(page)), default=0)
    return page[:body] + first + page[body:]


def _ended_with(page: str, last: str) -> str:
    """`last` as the last thing of the page's body."""
    end = max((match.start() for match in _BODY_END.finditer(page)), default=len(page))
    return page[:end] + last + page[end:]


def _with_click_slots(
    page: str, marks: SlotMarks, numbers: Iterator[int], public_url: str
) -> tuple[str, dict[int, str]]:
    """The page with a slot for every literal https address that a link leads to, and what the slots stand for."""
    slots: dict[str, int] = {}
    pieces, reached = [], 0
    for tag in start_tags(page):
        address = tag.attribute("href") if tag.name in _CLICKABLE else None
        if address is None or marks.are_in(address.value):
            continue
        target = address.meaning.strip()
        if not target.lower().startswith("https://") or target.startswith(public_url):
            continue
        if target not in slots:
            slots[target] = next(numbers)
        pieces += [page[reached : address.value_start], marks.mark(slots[target])]
        reached = address.value_start + len(address.value)
    return "".join([*pieces, page[reached:]]), {slot: target for target, slot in slots.items()}


def _widened(slots: pl.DataFrame, columns: Mapping[int, pl.Series]) -> pl.DataFrame:
    """`slots` with further columns, by number."""
    if not columns:
        return slots
    added = [column.alias(f"s{slot}") for slot, column in sorted(columns.items())]
    return slots.with_columns(added) if slots.width else pl.DataFrame(added)

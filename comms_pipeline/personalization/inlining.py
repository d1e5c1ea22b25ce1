"""Writes the rules of a page's `<style>` into its tags, for mail programs that read no `<style>`.

Only `style` attributes change: the library says what each tag's style is, and everything else stays byte for byte
as it was written. The `<style>` stays too, for dark mode, narrow screens, and what slots hold.
"""

from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING

from comms_pipeline.personalization.html_tags import Attribute, Tag, start_tags
from comms_pipeline.personalization.slot_marks import SlotMarks

if TYPE_CHECKING:
    from css_inline import CSSInliner

_NUMBER = "data-tag-number"
# Nobody sees these; a style would be weight only.
_UNSEEN = frozenset({"head", "meta", "title", "link", "base", "script", "style"})


@dataclass(frozen=True, kw_only=True)
class InlinedPage:
    """A page with its styles in the tags, and what is wrong with it in words; what is at fault stays as it was."""

    text: str
    faults: tuple[str, ...] = ()


def inline_css(page: str, marks: SlotMarks) -> InlinedPage:
    """`page`, whose slots are `marks`, with the rules of its `<style>` elements in the tags they apply to.

    A tag with a slot among its attributes' names, or in its class or id, gets what `<style>` says only. Rules that
    look at what a slot holds (`:empty`, `[href=…]`) cannot know it. A page without `<style>` stays as it is, and so
    does whatever it links to: no file is read and no address asked.
    """
    tags = list(start_tags(page))
    if not any(tag.name == "style" for tag in tags):
        return InlinedPage(text=page)
    wanted = {n: tag for n, tag in enumerate(tags) if tag.name not in _UNSEEN and _is_knowable(tag, marks)}
    faults: list[str] = []
    styles = _styles(_numbered(page, wanted, []))
    if styles is None:
        # One style attribute that is not CSS is the end of the whole page: do without those.
        unread = {
            n: style for n, tag in wanted.items() if (style := tag.attribute("style")) and not _is_css(style)
        }
        faults = [
            f"the style of a <{wanted[n].name}> is not CSS"
            for n in unread
            if not marks.are_in(unread[n].value)
        ]
        wanted = {n: tag for n, tag in wanted.items() if n not in unread}
        styles = _styles(_numbered(page, wanted, list(unread.values())))
    if styles is None:
        return InlinedPage(text=page, faults=("its <style> is not CSS",))
    pieces, reached = [], 0
    for number, tag in wanted.items():
        if number not in styles:
            faults.append(f"a <{tag.name}> stands where mail programs ignore it")
            continue
        start, end, text = _styled(tag, styles[number])
        pieces += [page[reached:start], text]
        reached = end
    return InlinedPage(text="".join([*pieces, page[reached:]]), faults=tuple(dict.fromkeys(faults)))


def _is_knowable(tag: Tag, marks: SlotMarks) -> bool:
    return not any(
        marks.are_in(each.name) or (each.name in ("class", "id") and marks.are_in(each.value))
        for each in tag.attributes
    )


def _is_css(style: Attribute) -> bool:
    return _styles(f'<style>p{{a:b}}</style><p style="{escape(style.meaning)}">') is not None


def _numbered(page: str, tags: dict[int, Tag], without: list[Attribute]) -> str:
    """The page with a number in each of `tags`, and without some attributes."""
    changes = [(tag.name_end, tag.name_end, f' {_NUMBER}="{number}"') for number, tag in tags.items()]
    changes += [(style.start, style.end, "") for style in without]
    pieces, reached = [], 0
    for start, end, text in sorted(changes):
        pieces += [page[reached:start], text]
        reached = end
    return "".join([*pieces, page[reached:]])


def _styles(numbered: str) -> dict[int, str] | None:
    """The style of each numbered tag, rules included; None when a style cannot be read at all."""
    from css_inline import InlineError

    try:
        inlined = _inliner().inline(numbered)
    except InlineError:
        return None
    found: dict[int, str] = {}
    for tag in start_tags(inlined):
        number, style = tag.attribute(_NUMBER), tag.attribute("style")
        # The parser may make several elements of one tag (`<b>` across paragraphs); the first is in its place.
        if number is not None:
            found.setdefault(int(number.value), style.meaning if style else "")
    return found


def _styled(tag: Tag, style: str) -> tuple[int, int, str]:
    """What to put where for the tag to have this style."""
    written = tag.attribute("style")
    if style == (written.meaning if written else ""):
        return tag.end, tag.end, ""
    attribute = f'style="{escape(style, quote=False).replace(chr(34), "&quot;")}"'
    if written:
        return written.start, written.end, attribute
    return tag.attributes_end, tag.attributes_end, f" {attribute}"


@cache
def _inliner() -> "CSSInliner":
    from css_inline import CSSInliner

    return CSSInliner(
        keep_style_tags=True, keep_link_tags=True, keep_at_rules=True, load_remote_stylesheets=False
    )
